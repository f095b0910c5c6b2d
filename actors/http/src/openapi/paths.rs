//! The paths: which methods each takes, with which parameters, bodies and answers.

use super::definitions::{DELETE_OPTIONS, PATCH, STATUS};
use super::document::Dialect;
use crate::served::{Part, Served};
use crate::usage::Measured;
use kabuki_model::review::ReviewKind;
use serde_json::{Map, Value, json};

/// The forms of a patch.
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
/// The forms of everything else.
const FORMS: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// Parameters of lists and watches: name, type, description.
const LIST: &[(&str, &str, &str)] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Whether bookmarks may be sent.",
    ),
    ("continue", "string", "Where an earlier list ended."),
    ("fieldSelector", "string", "Only objects with these fields."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "At most so many objects."),
    (
        "resourceVersion",
        "string",
        "How fresh the answer must be, or where a watch begins.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "How resourceVersion is meant.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "Whether a watch begins with what there is.",
    ),
    ("timeoutSeconds", "integer", "How long a watch lasts."),
    ("watch", "boolean", "Watch for changes, instead of a list."),
];
/// Parameters of writes.
const WRITE: &[(&str, &str, &str)] = &[
    ("dryRun", "string", "All: everything but the write itself."),
    (
        "fieldManager",
        "string",
        "Who manages the fields that are written.",
    ),
    (
        "fieldValidation",
        "string",
        "What happens with unknown fields: Ignore, Warn, Strict.",
    ),
];
/// Parameters of deletions.
const DELETE: &[(&str, &str, &str)] = &[
    ("dryRun", "string", "All: everything but the write itself."),
    (
        "gracePeriodSeconds",
        "integer",
        "How long the object may take to end.",
    ),
    (
        "orphanDependents",
        "boolean",
        "Deprecated: use propagationPolicy.",
    ),
    (
        "propagationPolicy",
        "string",
        "What happens with dependents: Orphan, Background, Foreground.",
    ),
];
/// Parameters of patches beyond those of writes.
const FORCE: &[(&str, &str, &str)] = &[(
    "force",
    "boolean",
    "Whether fields that others own are taken from them; only for apply.",
)];
/// Parameters of every method.
const ALWAYS: &[(&str, &str, &str)] = &[("pretty", "string", "If true, the answer is indented.")];

/// The group, version and kind that an operation is about.
type About<'a> = (&'a str, &'a str, &'a str);

/// What an operation takes and gives.
struct Operation<'a> {
    method: &'static str,
    action: &'static str,
    parameters: Vec<&'static [(&'static str, &'static str, &'static str)]>,
    takes: Option<&'a str>,
    gives: &'a str,
}

/// The paths of a kind and its parts. `name` is its definition's, `parts` come with their own.
pub(super) fn of_kind(
    dialect: Dialect,
    served: &Served,
    name: &str,
    parts: &[(Part, Option<&'static str>)],
    paths: &mut Map<String, Value>,
) {
    let names = &served.kind.names;
    let root = root(served.group, served.version);
    let about = (served.group, served.version, names.kind);
    let collection = match served.namespaced() {
        true => format!("{root}/namespaces/{{namespace}}/{}", names.plural),
        false => format!("{root}/{}", names.plural),
    };
    let list = format!("{name}List");
    let mut many = vec![get(&list, "list"), write("post", "post", name)];
    if served.verbs().any(|verb| verb == "deletecollection") {
        many.push(delete("deletecollection", STATUS, &[LIST, DELETE]));
    }
    let one = [
        get(name, "get"),
        write("put", "put", name),
        patch(name),
        delete("delete", STATUS, &[DELETE]),
    ];
    add(dialect, paths, &collection, about, &many);
    let object = format!("{collection}/{{name}}");
    add(dialect, paths, &object, about, &one);
    if served.namespaced() {
        let everywhere = format!("{root}/{}", names.plural);
        add(dialect, paths, &everywhere, about, &[get(&list, "list")]);
    }
    for (part, own) in parts {
        let path = format!("{object}/{}", part.name());
        let about = served.kind_of(*part).unwrap_or(about);
        let name = own.unwrap_or(name);
        let operations: Vec<Operation> = part
            .verbs()
            .iter()
            .filter_map(|verb| match *verb {
                "get" => Some(get(name, "get")),
                "update" => Some(write("put", "put", name)),
                "patch" => Some(patch(name)),
                // Streams have no schema.
                "create" if own.is_some() => Some(write("post", "post", name)),
                _ => None,
            })
            .collect();
        if !operations.is_empty() {
            add(dialect, paths, &path, about, &operations);
        }
    }
}

/// The paths of figures.
pub(super) fn of_measured(
    dialect: Dialect,
    measured: Measured,
    name: &str,
    paths: &mut Map<String, Value>,
) {
    let root = root(Measured::GROUP, Measured::VERSION);
    let about = (Measured::GROUP, Measured::VERSION, measured.kind());
    let list = format!("{name}List");
    let everywhere = format!("{root}/{}", measured.plural());
    let collection = match measured.namespaced() {
        true => format!("{root}/namespaces/{{namespace}}/{}", measured.plural()),
        false => everywhere.clone(),
    };
    for path in [&everywhere, &collection] {
        add(dialect, paths, path, about, &[get(&list, "list")]);
    }
    let object = format!("{collection}/{{name}}");
    add(dialect, paths, &object, about, &[get(name, "get")]);
}

/// The path of an object that is answered and never stored.
pub(super) fn of_review(
    dialect: Dialect,
    review: ReviewKind,
    name: &str,
    paths: &mut Map<String, Value>,
) {
    let root = root(review.group(), review.version());
    let path = match review.namespaced() {
        true => format!("{root}/namespaces/{{namespace}}/{}", review.plural()),
        false => format!("{root}/{}", review.plural()),
    };
    let about = (review.group(), review.version(), review.kind());
    add(dialect, paths, &path, about, &[write("post", "post", name)]);
}

fn root(group: &str, version: &str) -> String {
    match group {
        "" => format!("/api/{version}"),
        group => format!("/apis/{group}/{version}"),
    }
}

fn get<'a>(gives: &'a str, action: &'static str) -> Operation<'a> {
    let parameters = match action {
        "list" => vec![LIST, ALWAYS],
        _ => vec![ALWAYS],
    };
    Operation {
        method: "get",
        action,
        parameters,
        takes: None,
        gives,
    }
}

fn write<'a>(method: &'static str, action: &'static str, name: &'a str) -> Operation<'a> {
    Operation {
        method,
        action,
        parameters: vec![WRITE, ALWAYS],
        takes: Some(name),
        gives: name,
    }
}

fn patch(name: &str) -> Operation<'_> {
    Operation {
        method: "patch",
        action: "patch",
        parameters: vec![WRITE, FORCE, ALWAYS],
        takes: Some(PATCH),
        gives: name,
    }
}

fn delete<'a>(
    action: &'static str,
    gives: &'a str,
    parameters: &[&'static [(&'static str, &'static str, &'static str)]],
) -> Operation<'a> {
    Operation {
        method: "delete",
        action,
        parameters: parameters.iter().copied().chain([ALWAYS]).collect(),
        takes: Some(DELETE_OPTIONS),
        gives,
    }
}

fn add(
    dialect: Dialect,
    paths: &mut Map<String, Value>,
    path: &str,
    about: About,
    operations: &[Operation],
) {
    let mut item = Map::new();
    for operation in operations {
        let value = operation.value(dialect, path, about);
        item.insert(operation.method.to_string(), value);
    }
    let variables = ["namespace", "name"].into_iter();
    let variables = variables.filter(|v| path.contains(&format!("{{{v}}}")));
    let parameters: Vec<Value> = variables
        .map(|name| {
            let mut value = json!({"name": name, "in": "path", "required": true});
            typed(dialect, &mut value, "string");
            value
        })
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_string(), parameters.into());
    }
    paths.insert(path.to_string(), Value::Object(item));
}

/// A parameter's type, where the dialect has it.
fn typed(dialect: Dialect, parameter: &mut Value, kind: &str) {
    match dialect {
        Dialect::V2 => {
            parameter["type"] = kind.into();
            parameter["uniqueItems"] = true.into();
        }
        Dialect::V3 => parameter["schema"] = json!({"type": kind, "uniqueItems": true}),
    }
}

impl Operation<'_> {
    fn value(&self, dialect: Dialect, path: &str, about: About) -> Value {
        let (group, version, kind) = about;
        let gives = json!({"$ref": dialect.reference(self.gives)});
        let takes = self
            .takes
            .map(|name| json!({"$ref": dialect.reference(name)}));
        let mut parameters: Vec<Value> = self
            .parameters
            .iter()
            .copied()
            .flatten()
            .map(|(name, kind, description)| {
                let mut value = json!({"name": name, "in": "query", "description": description});
                typed(dialect, &mut value, kind);
                value
            })
            .collect();
        let forms: &[&str] = match self.method {
            "patch" => &PATCHES,
            _ => &FORMS,
        };
        let mut value = json!({
            "operationId": format!("{}{}", self.action, identifier(path)),
            "description": format!("{} {kind}", self.action),
            "tags": [tag(group, version)],
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": {
                "group": group, "version": version, "kind": kind,
            },
        });
        let unauthorized = json!({"description": "Unauthorized"});
        match dialect {
            Dialect::V3 => {
                let content = |schema: &Value, forms: &[&str]| -> Value {
                    let content: Map<String, Value> = forms
                        .iter()
                        .map(|form| (form.to_string(), json!({"schema": schema})))
                        .collect();
                    content.into()
                };
                if let Some(takes) = takes {
                    let required = self.method != "delete";
                    value["requestBody"] =
                        json!({"content": content(&takes, forms), "required": required});
                }
                value["responses"] = json!({
                    "200": {"description": "OK", "content": content(&gives, &FORMS)},
                    "401": unauthorized,
                });
            }
            Dialect::V2 => {
                if let Some(takes) = takes {
                    let required = self.method != "delete";
                    parameters.push(json!({
                        "name": "body", "in": "body", "required": required, "schema": takes,
                    }));
                }
                value["consumes"] = forms.into();
                value["produces"] = FORMS.as_slice().into();
                value["schemes"] = json!(["https"]);
                value["responses"] = json!({
                    "200": {"description": "OK", "schema": gives}, "401": unauthorized,
                });
            }
        }
        value["parameters"] = parameters.into();
        value
    }
}

/// A path as a part of an identifier, so that every operation has one of its own.
fn identifier(path: &str) -> String {
    let parts = path.split(['/', '.']).filter(|p| !p.is_empty());
    parts
        .map(|part| {
            let part = part.trim_matches(['{', '}']);
            let mut letters = part.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

fn tag(group: &str, version: &str) -> String {
    let first = group.split('.').next().unwrap_or_default();
    match first {
        "" => format!("core_{version}"),
        group => format!("{group}_{version}"),
    }
}
