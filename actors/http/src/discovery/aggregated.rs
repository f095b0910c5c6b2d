//! Everything in one answer (`apidiscovery.k8s.io` `APIGroupDiscoveryList`, v2 and v2beta1).

use super::resources::{group_versions, measured_of, of, reviews_of};
use super::tagged;
use crate::request::Context;
use crate::response::Response;
use crate::served::{Part, Served};
use crate::usage::Measured;
use http::header::HeaderValue;
use kabuki_model::StatusError;
use kabuki_model::review::ReviewKind;
use serde_json::{Value, json};

/// Which version of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `v2`
    V2,
    /// `v2beta1`
    V2Beta1,
}

impl Form {
    fn version(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

/// Whether the client asks for this form, as the first thing that is served here among what it
/// accepts.
pub(super) fn wanted(accept: Option<&str>) -> Option<Form> {
    for accepted in accept?.split(',') {
        let mut parts = accepted.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<&str> = parts.collect();
        let has = |text: &str| parameters.contains(&text);
        let list = has("g=apidiscovery.k8s.io") && has("as=APIGroupDiscoveryList");
        match media {
            "application/json" if list && has("v=v2") => return Some(Form::V2),
            "application/json" if list && has("v=v2beta1") => return Some(Form::V2Beta1),
            "application/json" | "*/*" | "application/*"
                if !parameters.iter().any(|p| p.starts_with("as=")) =>
            {
                return None;
            }
            _ => {}
        }
    }
    None
}

pub(super) fn answered(
    context: &Context,
    form: Form,
    groups: &[&str],
) -> Result<Response, StatusError> {
    let version = form.version();
    let value = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": groups.iter().map(|g| group(g)).collect::<Vec<_>>(),
    });
    let media =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let media = HeaderValue::from_str(&media)
        .map_err(|e| StatusError::internal(format!("a media type: {e}")))?;
    Ok(tagged(context, media, value.to_string()))
}

fn group(name: &str) -> Value {
    let versions: Vec<Value> = group_versions()
        .into_iter()
        .filter(|(group, _)| *group == name)
        .map(|(group, version)| {
            let stored = of(group, version).map(whole);
            let reviews = reviews_of(group, version).map(review);
            let measured = measured_of(group, version).iter().map(measured_value);
            json!({
                "version": version, "freshness": "Current",
                "resources": stored.chain(reviews).chain(measured).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !name.is_empty() {
        metadata["name"] = name.into();
    }
    json!({"metadata": metadata, "versions": versions})
}

fn scope(namespaced: bool) -> &'static str {
    match namespaced {
        true => "Namespaced",
        false => "Cluster",
    }
}

fn whole(served: &Served) -> Value {
    let names = &served.kind.names;
    let mut value = json!({
        "resource": names.plural, "singularResource": names.singular,
        "scope": scope(names.namespaced), "verbs": served.verbs().collect::<Vec<_>>(),
        "responseKind": {"group": served.group, "version": served.version, "kind": names.kind},
    });
    if !names.short.is_empty() {
        value["shortNames"] = names.short.into();
    }
    if !names.categories.is_empty() {
        value["categories"] = names.categories.into();
    }
    let parts: Vec<Value> = served.parts().map(|p| part(served, p)).collect();
    if !parts.is_empty() {
        value["subresources"] = parts.into();
    }
    value
}

fn part(served: &Served, part: Part) -> Value {
    let own = (served.group, served.version, served.kind.names.kind);
    let (group, version, kind) = served.kind_of(part).unwrap_or(own);
    json!({
        "subresource": part.name(), "verbs": part.verbs(),
        "responseKind": {"group": group, "version": version, "kind": kind},
    })
}

fn measured_value(measured: &Measured) -> Value {
    json!({
        "resource": measured.plural(), "singularResource": "",
        "scope": scope(measured.namespaced()), "verbs": Measured::VERBS,
        "responseKind": {
            "group": Measured::GROUP, "version": Measured::VERSION, "kind": measured.kind(),
        },
    })
}

fn review(review: ReviewKind) -> Value {
    json!({
        "resource": review.plural(), "singularResource": review.singular(),
        "scope": scope(review.namespaced()), "verbs": ["create"],
        "responseKind": {
            "group": review.group(), "version": review.version(), "kind": review.kind(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_that_the_client_likes_best_is_chosen() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        assert_eq!(
            wanted(Some(&format!("{v2},{beta},application/json"))),
            Some(Form::V2)
        );
        assert_eq!(
            wanted(Some(&format!("{beta},application/json"))),
            Some(Form::V2Beta1)
        );
        assert_eq!(wanted(Some("application/json")), None);
        assert_eq!(wanted(Some(&format!("application/json, {v2}"))), None);
        assert_eq!(wanted(None), None);
    }
}
