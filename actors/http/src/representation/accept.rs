//! What a client accepts (RFC 9110, "Accept"), with Kubernetes' parameters `as`, `v`, `g` and
//! `stream`.

use super::{Encoding, Purpose, Transform};
use http::HeaderMap;
use http::header::ACCEPT;

/// More alternatives than this are not looked at.
const MAX_ALTERNATIVES: usize = 64;
const META: &str = "meta.k8s.io";

/// The best that is offered of what is accepted; `None` when nothing is.
pub(super) fn choose(headers: &HeaderMap, purpose: Purpose) -> Option<(Encoding, Transform)> {
    let values: Vec<&str> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    let mut alternatives: Vec<Alternative> = values
        .iter()
        .flat_map(|v| v.split(','))
        .filter_map(Alternative::parse)
        .take(MAX_ALTERNATIVES)
        .collect();
    if alternatives.is_empty() {
        let silent = values.iter().all(|v| v.trim().is_empty());
        return silent.then_some((Encoding::Json, Transform::None));
    }
    // Stable: what is liked equally comes in the client's order.
    alternatives.sort_by_key(|a| std::cmp::Reverse(a.quality));
    let wanted = alternatives.iter().filter(|a| a.quality > 0);
    wanted.into_iter().find_map(|a| a.offered(purpose))
}

/// One alternative.
struct Alternative<'a> {
    media: String,
    parameters: Vec<(&'a str, &'a str)>,
    /// In thousandths.
    quality: u16,
}

impl<'a> Alternative<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next()?.to_ascii_lowercase();
        if !media.contains('/') {
            return None;
        }
        let parameters: Vec<(&str, &str)> = parts
            .filter_map(|p| p.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = match parameters.iter().find(|(name, _)| *name == "q") {
            None => 1000,
            Some((_, value)) => thousandths(value)?,
        };
        Some(Self {
            media,
            parameters,
            quality,
        })
    }

    fn parameter(&self, name: &str) -> &'a str {
        let found = self.parameters.iter().find(|(n, _)| *n == name);
        found.map_or("", |(_, value)| value)
    }

    fn offered(&self, purpose: Purpose) -> Option<(Encoding, Transform)> {
        let encoding = match &*self.media {
            "*/*" | "application/*" | "application/json" => Encoding::Json,
            "application/yaml" if purpose != Purpose::Watch => Encoding::Yaml,
            "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
            _ => return None,
        };
        let version = match self.parameter("v") {
            "v1" => "v1",
            "v1beta1" => "v1beta1",
            _ => "",
        };
        let transform = match self.parameter("as") {
            "" => return Some((encoding, Transform::None)),
            _ if purpose == Purpose::Plain => return None,
            _ if self.parameter("g") != META || version.is_empty() => return None,
            // Tables have no form in protobuf.
            "Table" if encoding == Encoding::Protobuf => return None,
            "Table" => Transform::Table(version),
            "PartialObjectMetadata" | "PartialObjectMetadataList" => Transform::Metadata(version),
            _ => return None,
        };
        Some((encoding, transform))
    }
}

/// A quality of 0 to 1 in thousandths.
fn thousandths(text: &str) -> Option<u16> {
    let value: f32 = text.parse().ok()?;
    (0.0..=1.0)
        .contains(&value)
        .then_some((value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str, purpose: Purpose) -> Option<(Encoding, Transform)> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header"));
        choose(&headers, purpose)
    }

    #[test]
    fn the_best_of_what_is_offered_is_chosen() {
        use Encoding::{Json, Protobuf, Yaml};
        let objects = Purpose::Objects;
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                     application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;\
                       g=meta.k8s.io;v=v1,application/json;q=0.5";
        let cases = [
            ("", objects, Some((Json, Transform::None))),
            ("*/*", objects, Some((Json, Transform::None))),
            ("application/yaml", objects, Some((Yaml, Transform::None))),
            ("application/yaml", Purpose::Watch, None),
            ("text/html", objects, None),
            (
                "text/html, */*;q=0.1",
                objects,
                Some((Json, Transform::None)),
            ),
            ("application/json;q=0", objects, None),
            (
                "application/json;q=0.5, application/vnd.kubernetes.protobuf",
                objects,
                Some((Protobuf, Transform::None)),
            ),
            (table, objects, Some((Json, Transform::Table("v1")))),
            (table, Purpose::Plain, Some((Json, Transform::None))),
            (
                partial,
                objects,
                Some((Protobuf, Transform::Metadata("v1"))),
            ),
            (
                "application/json;as=Table;v=v2;g=meta.k8s.io",
                objects,
                None,
            ),
            (
                "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io",
                objects,
                None,
            ),
            (
                "application/vnd.kubernetes.protobuf;stream=watch",
                Purpose::Watch,
                Some((Protobuf, Transform::None)),
            ),
            ("application/json;q=2", objects, None),
        ];
        for (accept, purpose, expected) in cases {
            assert_eq!(chosen(accept, purpose), expected, "{accept:?}");
        }
    }
}
