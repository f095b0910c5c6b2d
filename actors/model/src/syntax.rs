//! The syntaxes of names and keys, each with the reason why a text does not have it, in
//! Kubernetes' words (Kubernetes, "Object Names and IDs" and "Labels and Selectors").
//! A function answers `None` when the text is fine.

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn lower_label(text: &str) -> bool {
    let edge = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|c| edge(c) || *c == b'-')
}

fn wide_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// An RFC 1123 label: at most 63 lower case alphanumeric characters or `-`.
pub fn dns_label(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some(too_long(63));
    }
    (!lower_label(text)).then(|| match dns_subdomain(text) {
        None => "must not contain dots".to_string(),
        Some(_) => LABEL.to_string(),
    })
}

/// An RFC 1123 subdomain: labels joined by `.`, at most 253 bytes.
pub fn dns_subdomain(text: &str) -> Option<String> {
    if text.len() > 253 {
        return Some(too_long(253));
    }
    (!text.split('.').all(lower_label)).then(|| SUBDOMAIN.to_string())
}

/// A qualified name, as the keys of labels and annotations are: `[subdomain/]name`.
pub fn qualified_name(text: &str) -> Option<String> {
    let mut parts = text.split('/');
    let (prefix, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => (None, name),
        (Some(prefix), Some(name), None) => (Some(prefix), name),
        _ => {
            return Some(format!(
                "a qualified name {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
        }
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Some("prefix part must be non-empty".to_string());
        }
        if let Some(why) = dns_subdomain(prefix) {
            return Some(format!("prefix part {why}"));
        }
    }
    if name.is_empty() {
        return Some("name part must be non-empty".to_string());
    }
    if name.len() > 63 {
        return Some(format!("name part {}", too_long(63)));
    }
    (!wide_name(name)).then(|| format!("name part {QUALIFIED}"))
}

/// The value of a label.
pub fn label_value(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some(too_long(63));
    }
    (!text.is_empty() && !wide_name(text)).then(|| LABEL_VALUE.to_string())
}

/// A key of a ConfigMap or Secret: also a file name, so never `.` or `..`-anything.
pub fn config_key(text: &str) -> Option<String> {
    if text.len() > 253 {
        return Some(too_long(253));
    }
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    if text.is_empty() || !text.bytes().all(fits) {
        return Some(CONFIG_KEY.to_string());
    }
    match text {
        "." => Some("must not be '.'".to_string()),
        ".." => Some("must not be '..'".to_string()),
        _ => text
            .starts_with("..")
            .then(|| "must not start with '..'".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_names_pass() {
        assert_eq!(dns_label("a-1"), None);
        assert_eq!(dns_subdomain("a.b-c.d"), None);
        assert_eq!(qualified_name("example.com/My_Name.x"), None);
        assert_eq!(label_value(""), None);
        assert_eq!(config_key(".hidden_File-1"), None);
    }

    #[test]
    fn the_reason_names_the_part() {
        let says = |found: Option<String>, part: &str| {
            assert!(
                found.as_deref().is_some_and(|w| w.starts_with(part)),
                "{found:?} {part}"
            );
        };
        says(dns_label("A"), "a lowercase RFC 1123 label");
        says(dns_label(&"a".repeat(64)), "must be no more than 63");
        says(dns_subdomain("a..b"), "a lowercase RFC 1123 subdomain");
        says(qualified_name("/a"), "prefix part must be non-empty");
        says(qualified_name("A/a"), "prefix part a lowercase");
        says(qualified_name("a/"), "name part must be non-empty");
        says(qualified_name("a/b/c"), "a qualified name must consist");
        says(label_value("-a"), "a valid label must be");
        says(config_key("..x"), "must not start with '..'");
        says(config_key("a b"), "a valid config key");
    }
}
