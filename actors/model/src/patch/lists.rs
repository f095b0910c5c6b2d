//! How strategic patches treat each list (API reference, `patch strategy` and `patch merge key`):
//! as the table of types says of an object that says what it is.
//!
//! Of values that do not say what they are a list is known by the names of its field and of the
//! field that holds it, because the same field (`ports`, `conditions`) merges differently in
//! different types. A list that is nowhere known is replaced whole.

use crate::schema::{self, Arity, Field, FieldType, Message};
use serde_json::Value;

/// How a list of objects or of plain values is patched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListRule {
    /// The field by which items are told apart; `None` for lists of plain values.
    pub(super) key: Option<&'static str>,
    /// Items may use `$retainKeys`.
    pub(super) retain_keys: bool,
}

/// The place where a value is: the names of its field and of the ones around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    field: &'a str,
    typed: Typed,
}

/// What the table of types says of a place.
#[derive(Debug, Clone, Copy)]
enum Typed {
    /// Nothing: the object does not say what it is.
    Unknown,
    /// That it has no field of this name, or that nothing below merges.
    Nothing,
    /// The object itself.
    Object(&'static Message),
    /// A field.
    Field(&'static Field),
}

impl Typed {
    fn child(self, name: &str) -> Self {
        let message = match self {
            Self::Unknown => return Self::Unknown,
            Self::Nothing => return Self::Nothing,
            Self::Object(message) => message,
            Self::Field(field) => match (field.arity, field.kind) {
                (Arity::One | Arity::List, FieldType::Message(index)) => schema::message(index),
                _ => return Self::Nothing,
            },
        };
        message.field(name).map_or(Self::Nothing, Self::Field)
    }
}

impl<'a> Place<'a> {
    /// A whole object: the first of these that says what it is.
    pub(super) fn root(values: &[&Value]) -> Place<'static> {
        let message = values.iter().find_map(|value| {
            let text = |field: &str| value.get(field).and_then(Value::as_str);
            schema::find(text("apiVersion")?, text("kind")?)
        });
        Place {
            parent: None,
            field: "",
            typed: message.map_or(Typed::Unknown, Typed::Object),
        }
    }

    pub(super) fn child(&'a self, field: &'a str) -> Place<'a> {
        Place {
            parent: Some(self),
            field,
            typed: self.typed.child(field),
        }
    }

    fn parent_field(&self) -> &str {
        self.parent.map_or("", |p| p.field)
    }

    pub(super) fn path(&self) -> String {
        match self.parent.map(Place::path) {
            Some(path) if !path.is_empty() => format!("{path}.{}", self.field),
            _ => self.field.to_string(),
        }
    }

    /// Whether the structure here is one of several (a Deployment's strategy): fields that the
    /// manifest does not have go, whoever set them.
    pub(super) fn retains_keys(&self) -> bool {
        match self.typed {
            Typed::Field(field) => field.patch.retain_keys && field.arity == Arity::One,
            Typed::Unknown => self.path() == "spec.strategy",
            Typed::Nothing | Typed::Object(_) => false,
        }
    }

    /// The rule of the list here; `None` when it is replaced whole.
    pub(super) fn list(&self) -> Option<ListRule> {
        match self.typed {
            Typed::Field(field) => {
                return field.patch.merge.then_some(ListRule {
                    key: field.patch.key,
                    retain_keys: field.patch.retain_keys,
                });
            }
            Typed::Nothing | Typed::Object(_) => return None,
            Typed::Unknown => {}
        }
        let (field, parent) = (self.field, self.parent_field());
        let fits = |rule: &&(&str, &[&str], &'static str)| {
            rule.0 == field && (rule.1.is_empty() || rule.1.contains(&parent))
        };
        if let Some((_, _, key)) = MERGED.iter().find(fits) {
            return Some(ListRule {
                key: Some(key),
                retain_keys: field == "volumes",
            });
        }
        let plain = PLAIN.iter().any(|(f, p)| *f == field && *p == parent);
        plain.then_some(ListRule {
            key: None,
            retain_keys: false,
        })
    }
}

const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// Lists of objects: field, the fields that may hold it (any when empty), merge key.
const MERGED: &[(&str, &[&str], &str)] = &[
    ("ownerReferences", &["metadata"], "uid"),
    ("containers", &["spec"], "name"),
    ("initContainers", &["spec"], "name"),
    ("ephemeralContainers", &["spec"], "name"),
    ("volumes", &["spec"], "name"),
    ("imagePullSecrets", &[], "name"),
    ("hostAliases", &["spec"], "ip"),
    ("topologySpreadConstraints", &["spec"], "topologyKey"),
    ("schedulingGates", &["spec"], "name"),
    ("resourceClaims", &["spec"], "name"),
    ("env", CONTAINERS, "name"),
    ("volumeMounts", CONTAINERS, "mountPath"),
    ("volumeDevices", CONTAINERS, "devicePath"),
    ("ports", CONTAINERS, "containerPort"),
    ("ports", &["spec"], "port"),
    ("conditions", &["status"], "type"),
    ("addresses", &["status"], "type"),
    ("podIPs", &["status"], "ip"),
    ("hostIPs", &["status"], "ip"),
    ("resourceClaimStatuses", &["status"], "name"),
    ("secrets", &[""], "name"),
];

/// Lists of plain values that merge: field, the field that holds it.
const PLAIN: &[(&str, &str)] = &[("finalizers", "metadata"), ("podCIDRs", "spec")];
