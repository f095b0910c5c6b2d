//! The definitions: the schemas of the registry's kinds and of what is read and written beside
//! them, with what Kubernetes says of lists, maps and patches.

use super::document::Dialect;
use crate::served::Served;
use crate::usage::Measured;
use kabuki_model::k8s_openapi;
use kabuki_model::review::ReviewKind;
use kabuki_model::schema::{self, Arity, Field, ListType, Message};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A quantity, and a number or a string: their schemas say what no JSON schema can.
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
/// See [`QUANTITY`].
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
/// The metadata of lists.
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
/// The answer to what has no object to show.
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
/// The options of a deletion.
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
/// A patch of any form.
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
/// The kinds of parts.
pub(super) const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
/// See [`SCALE`].
pub(super) const BINDING: &str = "io.k8s.api.core.v1.Binding";
/// See [`SCALE`].
pub(super) const EVICTION: &str = "io.k8s.api.policy.v1.Eviction";
/// See [`SCALE`].
pub(super) const TOKEN_REQUEST: &str = "io.k8s.api.authentication.v1.TokenRequest";

/// What the definitions of figures begin with.
const METRICS: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1.";

/// Definitions by name.
pub(super) struct Definitions {
    dialect: Dialect,
    by_name: BTreeMap<String, Value>,
    /// What is known of structures, by the last parts of their definitions' names.
    shapes: BTreeMap<String, &'static Message>,
}

impl Definitions {
    pub(super) fn new(dialect: Dialect) -> Self {
        let shapes = schema::all().map(|(section, message)| {
            let name = format!("{}.{}", package(section), message.name);
            (name, message)
        });
        let mut definitions = Self {
            dialect,
            by_name: BTreeMap::new(),
            shapes: shapes.collect(),
        };
        use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Status};
        definitions.add(schemars::schema_for!(Status).to_value());
        definitions.add(schemars::schema_for!(DeleteOptions).to_value());
        let meta = schemars::schema_for!(k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta);
        definitions.add(meta.to_value());
        let patch = json!({
            "description": "Patch is provided to give a concrete name and type to the Kubernetes \
                            PATCH request body.",
            "type": "object",
        });
        definitions.by_name.insert(PATCH.to_string(), patch);
        definitions.mark(STATUS, "", "v1", "Status");
        definitions.mark(DELETE_OPTIONS, "", "v1", "DeleteOptions");
        definitions
    }

    /// A kind, its list and the kinds of its parts; gives the name of its definition.
    pub(super) fn kind(&mut self, served: &Served) -> String {
        let names = &served.kind.names;
        let name = self.add(served.schema());
        self.mark(&name, served.group, served.version, names.kind);
        self.list(
            &name,
            (served.group, served.version, names.kind),
            names.plural,
        );
        name
    }

    /// The list of a kind.
    fn list(&mut self, name: &str, about: (&str, &str, &str), plural: &str) {
        let (group, version, kind) = about;
        let list = format!("{name}List");
        let kind = format!("{kind}List");
        let list_schema = json!({
            "description": format!("{kind} is a list of {plural}."),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string", "description": "The version of the schema."},
                "kind": {"type": "string", "description": "The kind of the object."},
                "items": {
                    "type": "array", "description": format!("The {plural}."),
                    "items": {"$ref": format!("#/$defs/{name}")},
                },
                "metadata": {"$ref": format!("#/$defs/{LIST_META}")},
            },
        });
        self.insert(&list, list_schema);
        self.mark(&list, group, version, &kind);
    }

    /// The kind of a part with its own: `Scale`, `Binding`.
    pub(super) fn part(&mut self, kind: (&str, &str, &str)) -> Option<&'static str> {
        use k8s_openapi::api::{authentication, autoscaling, core, policy};
        let (name, schema) = match kind.2 {
            "Scale" => (SCALE, schemars::schema_for!(autoscaling::v1::Scale)),
            "Binding" => (BINDING, schemars::schema_for!(core::v1::Binding)),
            "Eviction" => (EVICTION, schemars::schema_for!(policy::v1::Eviction)),
            "TokenRequest" => (
                TOKEN_REQUEST,
                schemars::schema_for!(authentication::v1::TokenRequest),
            ),
            _ => return None,
        };
        self.add(schema.to_value());
        self.mark(name, kind.0, kind.1, kind.2);
        Some(name)
    }

    /// Figures, and their list; gives the name of their definition.
    pub(super) fn measured(&mut self, measured: Measured) -> String {
        let meta =
            schemars::schema_for!(k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta);
        let meta = self.add(meta.to_value());
        let quantity =
            schemars::schema_for!(k8s_openapi::apimachinery::pkg::api::resource::Quantity);
        let quantity = self.add(quantity.to_value());
        let text = |about: &str| json!({"type": "string", "description": about});
        let refer = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
        let usage = json!({
            "type": "object", "description": "What is used, by resource.",
            "additionalProperties": refer(&quantity),
        });
        let (own, value) = match measured {
            Measured::Nodes => ("usage", usage),
            Measured::Pods => {
                let container = format!("{METRICS}ContainerMetrics");
                let schema = json!({
                    "description": "What a container uses.", "type": "object",
                    "required": ["name", "usage"],
                    "properties": {"name": text("The container."), "usage": usage},
                });
                self.insert(&container, schema);
                let about = "What each of its containers uses.";
                let list =
                    json!({"type": "array", "description": about, "items": refer(&container)});
                ("containers", list)
            }
        };
        let kind = measured.kind();
        let name = format!("{METRICS}{kind}");
        let mut schema = json!({
            "description": format!("{kind} is what one of the {} uses.", measured.plural()),
            "type": "object", "required": ["timestamp", "window", own],
            "properties": {
                "apiVersion": text("The version of the schema."),
                "kind": text("The kind of the object."),
                "metadata": refer(&meta),
                "timestamp": {
                    "type": "string", "format": "date-time", "description": "When it was measured.",
                },
                "window": text("Over which time it was measured, up to the timestamp."),
            },
        });
        schema["properties"][own] = value;
        self.insert(&name, schema);
        self.mark(&name, Measured::GROUP, Measured::VERSION, kind);
        self.list(
            &name,
            (Measured::GROUP, Measured::VERSION, kind),
            measured.plural(),
        );
        name
    }

    /// An object that is answered and never stored.
    pub(super) fn review(&mut self, review: ReviewKind) -> String {
        use k8s_openapi::api::authentication::v1 as who;
        use k8s_openapi::api::authorization::v1 as may;
        let schema = match review {
            ReviewKind::Token => schemars::schema_for!(who::TokenReview),
            ReviewKind::SelfSubject => schemars::schema_for!(who::SelfSubjectReview),
            ReviewKind::SubjectAccess => schemars::schema_for!(may::SubjectAccessReview),
            ReviewKind::LocalSubjectAccess => {
                schemars::schema_for!(may::LocalSubjectAccessReview)
            }
            ReviewKind::SelfSubjectAccess => schemars::schema_for!(may::SelfSubjectAccessReview),
            ReviewKind::SelfSubjectRules => schemars::schema_for!(may::SelfSubjectRulesReview),
        };
        let name = self.add(schema.to_value());
        self.mark(&name, review.group(), review.version(), review.kind());
        name
    }

    pub(super) fn into_value(self) -> Value {
        Value::Object(self.by_name.into_iter().collect())
    }

    /// Takes a schema with all that it refers to; gives its name.
    fn add(&mut self, mut schema: Value) -> String {
        let Some(root) = schema.as_object_mut() else {
            return String::new();
        };
        root.remove("$schema");
        let name = match root.remove("title") {
            Some(Value::String(name)) => name,
            _ => String::new(),
        };
        if let Some(Value::Object(others)) = root.remove("$defs") {
            for (other, schema) in others {
                self.insert(&other, schema);
            }
        }
        self.insert(&name, schema);
        name
    }

    fn insert(&mut self, name: &str, mut schema: Value) {
        if self.by_name.contains_key(name) {
            return;
        }
        match name {
            QUANTITY => schema = self.either(&schema, "number", None),
            INT_OR_STRING => schema = self.either(&schema, "integer", Some("int-or-string")),
            _ => {
                if let Some(message) = self.shape(name) {
                    describe(message, &mut schema);
                }
                self.refer(&mut schema);
            }
        }
        self.by_name.insert(name.to_string(), schema);
    }

    /// The schema of what is a string or something else.
    fn either(&self, schema: &Value, other: &str, format: Option<&str>) -> Value {
        let mut either = Map::new();
        if let Some(description) = schema.get("description") {
            either.insert("description".to_string(), description.clone());
        }
        if let Some(format) = format {
            either.insert("format".to_string(), format.into());
        }
        match self.dialect {
            Dialect::V2 => either.insert("type".to_string(), "string".into()),
            Dialect::V3 => {
                let both = json!([{"type": "string"}, {"type": other}]);
                either.insert("oneOf".to_string(), both)
            }
        };
        Value::Object(either)
    }

    fn shape(&self, name: &str) -> Option<&'static Message> {
        let tail = name.strip_prefix("io.k8s.")?;
        let tail = tail
            .strip_prefix("api.")
            .or_else(|| tail.strip_prefix("apimachinery.pkg.apis."))?;
        self.shapes.get(tail).copied()
    }

    /// References as the dialect has them.
    fn refer(&self, schema: &mut Value) {
        match schema {
            Value::Array(items) => items.iter_mut().for_each(|item| self.refer(item)),
            Value::Object(fields) => {
                let target = fields.get("$ref").and_then(Value::as_str);
                let target = target.and_then(|t| t.strip_prefix("#/$defs/"));
                if let Some(target) = target.map(|t| self.dialect.reference(t)) {
                    fields.remove("$ref");
                    match (self.dialect, fields.is_empty()) {
                        // Version 3.0 takes nothing beside a reference.
                        (Dialect::V3, false) => {
                            fields.insert("allOf".to_string(), json!([{"$ref": target}]))
                        }
                        _ => fields.insert("$ref".to_string(), target.into()),
                    };
                    self.unwrap_one(fields);
                    return;
                }
                fields.values_mut().for_each(|value| self.refer(value));
                self.unwrap_one(fields);
            }
            _ => {}
        }
    }

    /// Version 2 has no `allOf` around a single reference.
    fn unwrap_one(&self, fields: &mut Map<String, Value>) {
        if self.dialect == Dialect::V2
            && let Some(Value::Array(all)) = fields.get("allOf")
            && let [one] = all.as_slice()
            && let Some(target) = one.get("$ref").cloned()
        {
            fields.remove("allOf");
            fields.insert("$ref".to_string(), target);
        }
    }

    /// Which kind a definition is.
    fn mark(&mut self, name: &str, group: &str, version: &str, kind: &str) {
        let Some(Value::Object(schema)) = self.by_name.get_mut(name) else {
            return;
        };
        let kinds = json!([{"group": group, "version": version, "kind": kind}]);
        schema.insert("x-kubernetes-group-version-kind".to_string(), kinds);
    }
}

/// The package that a section of the table is in: `apps.v1` of `apps/v1`.
fn package(section: &str) -> String {
    match section.split_once('/') {
        None => format!("core.{section}"),
        Some((group, version)) => {
            let first = group.split('.').next().unwrap_or_default();
            format!("{first}.{version}")
        }
    }
}

/// What Kubernetes says of a structure beyond its schema.
fn describe(message: &Message, schema: &mut Value) {
    if message.atomic
        && let Some(schema) = schema.as_object_mut()
    {
        schema.insert("x-kubernetes-map-type".to_string(), "atomic".into());
    }
    let Some(Value::Object(properties)) = schema.get_mut("properties") else {
        return;
    };
    for (name, property) in properties {
        if let (Some(field), Some(property)) = (message.field(name), property.as_object_mut()) {
            describe_field(field, property);
        }
    }
}

fn describe_field(field: &Field, property: &mut Map<String, Value>) {
    let mut say = |key: &str, value: Value| property.insert(format!("x-kubernetes-{key}"), value);
    match (field.arity, &field.list) {
        (Arity::List, ListType::Atomic) => {
            say("list-type", "atomic".into());
        }
        (Arity::List, ListType::Set) => {
            say("list-type", "set".into());
        }
        (Arity::List, ListType::Map(keys)) => {
            say("list-type", "map".into());
            say("list-map-keys", keys.as_slice().into());
        }
        (Arity::One | Arity::Map, _) if field.atomic => {
            say("map-type", "atomic".into());
        }
        _ => {}
    }
    let strategy = match (field.patch.merge, field.patch.retain_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => return,
    };
    say("patch-strategy", strategy.into());
    if let Some(key) = field.patch.key {
        say("patch-merge-key", key.into());
    }
}
