//! `WWW-Authenticate`: how a registry wants to be asked (RFC 9110, section 11.6.1).

/// One challenge of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// Lower case.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A header may carry several challenges, and commas part both parameters and challenges.
    pub fn parse_all(header: &str) -> Vec<Self> {
        let mut challenges: Vec<Self> = Vec::new();
        for item in split_outside_quotes(header) {
            let item = item.trim();
            let (before_equals, value) = match item.split_once('=') {
                Some((before, value)) => (before.trim(), Some(value)),
                None => (item, None),
            };
            let key = match before_equals.split_once(' ') {
                Some((scheme, key)) => {
                    challenges.push(Self::new(scheme));
                    key.trim()
                }
                None if value.is_none() && !item.is_empty() => {
                    challenges.push(Self::new(item));
                    continue;
                }
                None => before_equals,
            };
            if let (Some(current), Some(value)) = (challenges.last_mut(), value) {
                current
                    .parameters
                    .push((key.to_ascii_lowercase(), unquote(value.trim())));
            }
        }
        challenges
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == key);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn new(scheme: &str) -> Self {
        Self {
            scheme: scheme.to_ascii_lowercase(),
            parameters: Vec::new(),
        }
    }
}

fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut items = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_challenges_in_one_header_are_told_apart() {
        let header =
            r#"Basic realm="a, b", Bearer realm="https://h.com/t",service="s\"1",scope="x""#;
        let challenges = Challenge::parse_all(header);
        assert_eq!(challenges.len(), 2);
        assert_eq!(challenges[0].scheme, "basic");
        assert_eq!(challenges[0].get("realm"), Some("a, b"));
        assert_eq!(challenges[1].get("realm"), Some("https://h.com/t"));
        assert_eq!(challenges[1].get("service"), Some("s\"1"));
        assert_eq!(challenges[1].get("missing"), None);
    }

    #[test]
    fn a_bare_scheme_is_a_challenge() {
        assert_eq!(Challenge::parse_all("Negotiate")[0].scheme, "negotiate");
        assert!(Challenge::parse_all("").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_survived(header in "\\PC{0,100}") {
            Challenge::parse_all(&header);
        }
    }
}
