//! Label selectors: a conjunction of requirements.

use super::{SelectorError, parse};
use crate::syntax;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// What a requirement asks of the label's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// It is one of the values.
    In,
    /// It is none of the values, or the label is absent.
    NotIn,
    /// `key = value`: it is the value.
    Equals,
    /// `key != value`: it is not the value, or the label is absent.
    NotEquals,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// It is an integer greater than the value.
    GreaterThan,
    /// It is an integer less than the value.
    LessThan,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
}

impl Requirement {
    /// Checks key, operator and values against each other.
    pub fn new(
        key: &str,
        operator: Operator,
        values: impl IntoIterator<Item = String>,
    ) -> Result<Self, SelectorError> {
        if let Some(why) = syntax::qualified_name(key) {
            return Err(SelectorError(format!("key: Invalid value: {key:?}: {why}")));
        }
        let given: Vec<String> = values.into_iter().collect();
        let complain = |why: &str| {
            let shown = serde_json::to_string(&given).unwrap_or_default();
            Err(SelectorError(format!(
                "values: Invalid value: {shown}: {why}"
            )))
        };
        match operator {
            Operator::In | Operator::NotIn if given.is_empty() => {
                return complain("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::NotEquals if given.len() != 1 => {
                return complain("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !given.is_empty() => {
                return complain("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan if given.len() != 1 => {
                return complain("for 'Gt', 'Lt' operators, exactly one value is required");
            }
            Operator::GreaterThan | Operator::LessThan if given[0].parse::<i64>().is_err() => {
                return Err(SelectorError(format!(
                    "values[0]: Invalid value: {:?}: for 'Gt', 'Lt' operators, the value must be an integer",
                    given[0]
                )));
            }
            _ => {}
        }
        for (index, value) in given.iter().enumerate() {
            if let Some(why) = syntax::label_value(value) {
                return Err(SelectorError(format!(
                    "values[{index}][{key}]: Invalid value: {value:?}: {why}"
                )));
            }
        }
        Ok(Self {
            key: key.to_string(),
            operator,
            values: given.into_iter().collect(),
        })
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is asked of the value.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }

    /// Whether labels meet the requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let among = || value.is_some_and(|v| self.values.contains(v));
        match self.operator {
            Operator::In | Operator::Equals => among(),
            Operator::NotIn | Operator::NotEquals => !among(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |found, bound| found > bound),
            Operator::LessThan => self.compare(value, |found, bound| found < bound),
        }
    }

    fn compare(&self, value: Option<&String>, holds: fn(i64, i64) -> bool) -> bool {
        let found = value.and_then(|v| v.parse().ok());
        let bound = self.values.first().and_then(|v| v.parse().ok());
        matches!((found, bound), (Some(found), Some(bound)) if holds(found, bound))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.values().collect();
        let (key, joined) = (&self.key, values.join(","));
        match self.operator {
            Operator::In => write!(f, "{key} in ({joined})"),
            Operator::NotIn => write!(f, "{key} notin ({joined})"),
            Operator::Equals => write!(f, "{key}={joined}"),
            Operator::NotEquals => write!(f, "{key}!={joined}"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{joined}"),
            Operator::LessThan => write!(f, "{key}<{joined}"),
        }
    }
}

/// A conjunction of requirements. The default selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Selects everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects nothing: what a structured selector that is absent means.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// The conjunction of `requirements`.
    pub fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements,
            nothing: false,
        }
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// The requirements, by key.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether labels meet every requirement.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels))
    }

    /// Whether the labels of an object meet every requirement.
    pub fn matches_meta(&self, meta: &ObjectMeta) -> bool {
        match &meta.labels {
            Some(labels) => self.matches(labels),
            None => self.matches(&BTreeMap::new()),
        }
    }
}

impl FromStr for LabelSelector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Ok(Self::of(parse::requirements(text)?))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self
            .requirements
            .iter()
            .map(Requirement::to_string)
            .collect();
        f.write_str(&shown.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect()
    }

    #[test]
    fn each_operator_matches_as_documented() {
        let web = labels(&[("app", "web"), ("size", "7")]);
        let yes = [
            "",
            "app",
            "app=web",
            "app==web",
            "app!=db",
            "tier!=db",
            "!tier",
            "app in (web,db)",
            "app notin (db)",
            "tier notin (db)",
            "size>6",
            "size<8",
            "app=web,size=7",
        ];
        for text in yes {
            assert!(
                text.parse::<LabelSelector>().expect(text).matches(&web),
                "{text}"
            );
        }
        let no = [
            "tier",
            "app=db",
            "app!=web",
            "!app",
            "app in (db)",
            "app notin (web,x)",
            "size>7",
            "size<7",
            "app>1",
            "app=web,size=8",
            "app=",
            "tier=",
        ];
        for text in no {
            assert!(
                !text.parse::<LabelSelector>().expect(text).matches(&web),
                "{text}"
            );
        }
        assert!(!LabelSelector::nothing().matches(&web));
    }

    #[test]
    fn the_text_form_is_sorted_and_stable() {
        let selector: LabelSelector = "z , b in (y,x),a!=1".parse().expect("parses");
        assert_eq!(selector.to_string(), "a!=1,b in (x,y),z");
        let again: LabelSelector = selector.to_string().parse().expect("parses");
        assert_eq!(again, selector);
    }
}
