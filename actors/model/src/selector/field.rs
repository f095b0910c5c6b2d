//! Field selectors (Kubernetes, "Field Selectors").

use super::SelectorError;
use std::fmt;
use std::str::FromStr;

const NAME: &str = "metadata.name";
const NAMESPACE: &str = "metadata.namespace";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    equal: bool,
    value: String,
}

/// A conjunction of `field=value` and `field!=value`. The default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

impl FieldSelector {
    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Refuses fields that are neither `metadata.name`, `metadata.namespace` nor among `known`.
    pub fn check(&self, known: &[&str]) -> Result<(), SelectorError> {
        let unknown = self
            .terms
            .iter()
            .find(|t| t.field != NAME && t.field != NAMESPACE && !known.contains(&&*t.field));
        unknown.map_or(Ok(()), |t| {
            Err(SelectorError(format!(
                "field label not supported: {}",
                t.field
            )))
        })
    }

    /// The value that a field must be equal to.
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| t.equal && t.field == field)
            .map(|t| t.value.as_str())
    }

    /// Whether it looks at more than name and namespace.
    pub fn needs_kind(&self) -> bool {
        self.terms
            .iter()
            .any(|t| t.field != NAME && t.field != NAMESPACE)
    }

    /// Whether an object with this name, namespace and fields is selected. A field that is not
    /// given counts as empty.
    pub fn matches(&self, name: &str, namespace: &str, fields: &[(&'static str, String)]) -> bool {
        self.terms.iter().all(|term| {
            let found = match term.field.as_str() {
                NAME => name,
                NAMESPACE => namespace,
                other => fields
                    .iter()
                    .find(|(f, _)| *f == other)
                    .map_or("", |(_, v)| v),
            };
            (found == term.value) == term.equal
        })
    }
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for part in split(text).into_iter().filter(|p| !p.is_empty()) {
            let Some((field, equal, value)) = operator(part) else {
                return Err(SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{part}'"
                )));
            };
            terms.push(Term {
                field: field.to_string(),
                equal,
                value: unescape(value)?,
            });
        }
        Ok(Self { terms })
    }
}

/// Splits at commas that are not escaped.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Field, whether it must be equal, value.
fn operator(part: &str) -> Option<(&str, bool, &str)> {
    let at = part.find(['=', '!'])?;
    let (field, rest) = part.split_at(at);
    let (equal, value) = rest
        .strip_prefix("!=")
        .map(|v| (false, v))
        .or_else(|| rest.strip_prefix("==").map(|v| (true, v)))
        .or_else(|| rest.strip_prefix('=').map(|v| (true, v)))?;
    Some((field, equal, value))
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let shown = other.map(String::from).unwrap_or_default();
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: \\{shown}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {c}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}", term.field)?;
            for c in term.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_with_their_escapes() {
        let selector: FieldSelector = r"a=x\,y\=z,,b!=1,c==\\".parse().expect("parses");
        assert_eq!(selector.required_value("a"), Some("x,y=z"));
        assert_eq!(selector.required_value("c"), Some("\\"));
        assert_eq!(selector.required_value("b"), None);
        let again: FieldSelector = selector.to_string().parse().expect("parses");
        assert_eq!(again, selector);
        assert!(selector.matches("", "", &[("a", "x,y=z".into()), ("c", "\\".into())]));
        assert!(!selector.matches("", "", &[("a", "x,y=z".into()), ("b", "1".into())]));
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        let error = "abc"
            .parse::<FieldSelector>()
            .expect_err("refused")
            .to_string();
        assert_eq!(error, "invalid selector: 'abc'; can't understand 'abc'");
        let error = "a=b=c"
            .parse::<FieldSelector>()
            .expect_err("refused")
            .to_string();
        assert_eq!(
            error,
            "invalid field selector: unescaped character in value: ="
        );
        let error = r"a=\x"
            .parse::<FieldSelector>()
            .expect_err("refused")
            .to_string();
        assert_eq!(
            error,
            r"invalid field selector: invalid escape sequence: \x"
        );
    }

    #[test]
    fn unknown_fields_are_named() {
        let selector: FieldSelector = "metadata.name=a,spec.x=1".parse().expect("parses");
        assert!(selector.check(&["spec.x"]).is_ok());
        let error = selector.check(&[]).expect_err("refused").to_string();
        assert_eq!(error, "field label not supported: spec.x");
    }
}
