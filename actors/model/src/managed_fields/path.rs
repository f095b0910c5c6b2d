//! The parts of a field's path (Kubernetes, "FieldsV1").

use serde::{Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// One part of a field's path. The order is the one in which a set is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// `f:NAME`: a field of a structure, or an entry of a map.
    Field(String),
    /// `k:{...}`: the item of a list with these keys, as the JSON of a sorted object.
    Key(String),
    /// `v:...`: the item of a set with this value, as JSON.
    Value(String),
    /// `i:N`: the item at a position.
    Index(u64),
}

impl PathElement {
    /// A part as it is written; `None` when it cannot be understood.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (form, rest) = text.split_once(':')?;
        match form {
            "f" => Some(Self::Field(rest.to_string())),
            // Read and written anew, so that equal keys are equal text.
            "k" => match serde_json::from_str(rest).ok()? {
                key @ Value::Object(_) => Some(Self::Key(key.to_string())),
                _ => None,
            },
            "v" => {
                let value: Value = serde_json::from_str(rest).ok()?;
                Some(Self::Value(value.to_string()))
            }
            "i" => Some(Self::Index(rest.parse().ok()?)),
            _ => None,
        }
    }
}

/// The part as it is written.
impl Serialize for PathElement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Field(name) => serializer.collect_str(&format_args!("f:{name}")),
            Self::Key(key) => serializer.collect_str(&format_args!("k:{key}")),
            Self::Value(value) => serializer.collect_str(&format_args!("v:{value}")),
            Self::Index(index) => serializer.collect_str(&format_args!("i:{index}")),
        }
    }
}

/// As conflicts show it: `.name`, `[name="web"]`, `[="x"]`, `[3]`.
impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(key) => {
                let key: Value = serde_json::from_str(key).unwrap_or_default();
                let parts = key.as_object().into_iter().flatten();
                let parts: Vec<String> = parts.map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", parts.join(","))
            }
        }
    }
}
