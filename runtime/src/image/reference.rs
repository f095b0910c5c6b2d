//! Image references: `nginx`, `host:5000/team/app:v1`, `app@sha256:…`.
//!
//! The grammar and the defaults are those of Docker's and containerd's reference package,
//! which Kubernetes uses: a first component without a dot, a colon or the name `localhost`
//! is a path of the default registry, and a missing tag is `latest`.

use std::{fmt, str::FromStr};

use super::{
    digest::Digest,
    error::{ImageError, Result},
};

/// The registry meant by a name without one; users expect it by this name.
pub(crate) const DEFAULT_REGISTRY: &str = "docker.io";
/// Where that registry's API answers.
pub(crate) const DEFAULT_REGISTRY_API: &str = "registry-1.docker.io";
/// Its historic name, still used as a key in credential files.
pub(crate) const DEFAULT_REGISTRY_LEGACY: &str = "index.docker.io";

const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME_LEN: usize = 255;
const MAX_TAG_LEN: usize = 128;

/// A normalised image reference. It always has a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses and normalises `text`.
    ///
    /// # Errors
    /// [`ImageError::InvalidReference`], which Kubernetes reports as `InvalidImageName`.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text).map_err(|reason| ImageError::InvalidReference {
            reference: text.chars().take(300).collect(),
            reason,
        })
    }

    /// The registry's host with its port, if any.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// `registry/repository:tag`, unless the reference has no tag.
    pub fn tagged(&self) -> Option<String> {
        let tag = self.tag.as_ref()?;
        Some(format!("{}:{tag}", self.name()))
    }

    /// `registry/repository@digest` for the given manifest digest.
    pub fn digested(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

fn parse(text: &str) -> Result<Reference, String> {
    if text.is_empty() {
        return Err("the name is empty".into());
    }
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hexadecimal digits are an image id, not a name".into());
    }
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => {
            let digest = digest.parse::<Digest>().map_err(|e| e.to_string())?;
            (rest, Some(digest))
        }
    };
    let (name, tag) = split_tag(rest);
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let (registry, path) = split_registry(name);
    check_registry(registry)?;
    let repository = match (registry, path.contains('/')) {
        (DEFAULT_REGISTRY, false) => format!("{DEFAULT_NAMESPACE}/{path}"),
        _ => path.to_owned(),
    };
    check_repository(&repository)?;
    if registry.len() + 1 + repository.len() > MAX_NAME_LEN {
        return Err(format!("the name is longer than {MAX_NAME_LEN} characters"));
    }
    let tag = match (tag, digest) {
        (None, None) => Some(DEFAULT_TAG.to_owned()),
        (tag, _) => tag.map(str::to_owned),
    };
    Ok(Reference {
        registry: registry.to_owned(),
        repository,
        tag,
        digest,
    })
}

/// A colon after the last slash starts the tag; one before it is a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    let last_component = text.rfind('/').map_or(0, |slash| slash + 1);
    match text[last_component..].find(':') {
        None => (text, None),
        Some(colon) => {
            let colon = last_component + colon;
            (&text[..colon], Some(&text[colon + 1..]))
        }
    }
}

fn split_registry(name: &str) -> (&str, &str) {
    let Some((first, rest)) = name.split_once('/') else {
        return (DEFAULT_REGISTRY, name);
    };
    let is_host = first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase());
    match (is_host, first) {
        (true, DEFAULT_REGISTRY_LEGACY) => (DEFAULT_REGISTRY, rest),
        (true, host) => (host, rest),
        (false, _) => (DEFAULT_REGISTRY, name),
    }
}

fn check_registry(registry: &str) -> Result<(), String> {
    let invalid = || format!("\"{registry}\" is not a registry host");
    let (host, port) = if registry.starts_with('[') {
        let end = registry.find(']').ok_or_else(invalid)?;
        let address = &registry[1..end];
        address
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| invalid())?;
        match &registry[end + 1..] {
            "" => return Ok(()),
            port => ("", Some(port.strip_prefix(':').ok_or_else(invalid)?)),
        }
    } else {
        match registry.split_once(':') {
            None => (registry, None),
            Some((host, port)) => (host, Some(port)),
        }
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err(format!("\"{registry}\" has an invalid port"));
    }
    let label_ok = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if registry.starts_with('[') || host.split('.').all(label_ok) {
        Ok(())
    } else {
        Err(invalid())
    }
}

fn check_repository(repository: &str) -> Result<(), String> {
    for component in repository.split('/') {
        check_component(component)?;
    }
    Ok(())
}

/// Lower-case letters and digits, joined by one dot, one or two underscores or any dashes.
fn check_component(component: &str) -> Result<(), String> {
    if component.is_empty() {
        return Err("a component of the repository is empty".into());
    }
    if component.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!("repository \"{component}\" must be lower case"));
    }
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let invalid = || format!("repository component \"{component}\" has an invalid format");
    let bytes = component.as_bytes();
    if !alphanumeric(bytes[0]) || !alphanumeric(bytes[bytes.len() - 1]) {
        return Err(invalid());
    }
    let separators = component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let separator_ok = |s: &str| matches!(s, "" | "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    separators
        .into_iter()
        .all(separator_ok)
        .then_some(())
        .ok_or_else(invalid)
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = tag.len() <= MAX_TAG_LEN
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    valid
        .then_some(())
        .ok_or_else(|| format!("tag \"{tag}\" has an invalid format"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_get_the_defaults_that_users_expect() {
        for (text, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("team/app", "docker.io/team/app:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("example.com/a/b/c:v1", "example.com/a/b/c:v1"),
            ("UPPER/app", "UPPER/app:latest"),
            ("[::1]:5000/app:x", "[::1]:5000/app:x"),
            ("a__b/c--d.e:T_1.x-y", "docker.io/a__b/c--d.e:T_1.x-y"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), full, "{text}");
        }
    }

    #[test]
    fn a_digest_needs_no_tag_and_keeps_one_that_is_there() {
        let digest = Digest::of(b"x");
        let plain = Reference::parse(&format!("app@{digest}")).unwrap();
        assert_eq!(plain.tag(), None);
        assert_eq!(plain.digest(), Some(&digest));
        let both = Reference::parse(&format!("app:v1@{digest}")).unwrap();
        assert_eq!(
            both.to_string(),
            format!("docker.io/library/app:v1@{digest}")
        );
    }

    #[test]
    fn what_no_registry_could_hold_is_refused_with_a_reason() {
        let hex = "0123456789abcdef".repeat(4);
        let long = "a/".repeat(130) + "b";
        for text in [
            "",
            "/",
            "App",
            "app:",
            "app:-x",
            "a//b",
            ":tag",
            "app@sha256:12",
            "a___b",
            "a..b",
            "-host.com/app",
            "host:port/app",
            "host.com:70000/app",
            "a b",
            "app@",
            "https://h.com/a",
            "[::x]/app",
            "app:ta/g:",
            "é/app",
            &hex,
            &long,
        ] {
            let error = Reference::parse(text).unwrap_err();
            assert_eq!(error.waiting_reason(), "InvalidImageName", "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_a_normal_form_is_stable(text in ".{0,80}") {
            if let Ok(reference) = Reference::parse(&text) {
                let normal = reference.to_string();
                proptest::prop_assert_eq!(Reference::parse(&normal).unwrap(), reference);
            }
        }

        #[test]
        fn plausible_names_have_a_stable_normal_form(
            text in "([a-z]{1,5}(\\.[a-z]{2})?(:[0-9]{1,4})?/)?[a-z]{1,4}([._-][a-z0-9]{1,3})?(:[a-zA-Z0-9_.-]{1,6})?"
        ) {
            if let Ok(reference) = Reference::parse(&text) {
                let normal = reference.to_string();
                proptest::prop_assert_eq!(Reference::parse(&normal).unwrap(), reference);
            }
        }
    }
}
