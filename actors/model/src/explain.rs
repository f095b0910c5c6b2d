//! What the fields of a kind mean, from its schema, in the shape of `kubectl explain`.

use crate::kind::Kind;
use serde_json::Value;
use std::fmt::Write;

/// The width that descriptions are wrapped to.
const WIDTH: usize = 76;
/// How deep a recursive explanation goes; schemas that contain themselves end here.
const MAX_DEPTH: usize = 20;

/// A path that the kind does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {field:?} does not exist")]
pub struct ExplainError {
    /// The first part of the path that does not exist.
    pub field: String,
}

/// Explains a field of a kind by its dotted path (empty: the kind itself). With `recursive`,
/// the fields below it as a tree without descriptions.
pub fn explain(kind: &Kind, path: &str, recursive: bool) -> Result<String, ExplainError> {
    let root = kind.schema();
    let schema = Schema { root: &root };
    let mut here = &root;
    let mut field = None;
    for part in path.split('.').filter(|p| !p.is_empty()) {
        let name = part.split('[').next().unwrap_or(part);
        let fields = schema.fields(here);
        let found = fields.and_then(|f| f.get(name));
        here = found.ok_or_else(|| ExplainError {
            field: part.to_string(),
        })?;
        field = Some(name);
    }
    let mut out = String::new();
    if !kind.names.group.is_empty() {
        let _ = writeln!(out, "GROUP:      {}", kind.names.group);
    }
    let _ = writeln!(out, "KIND:       {}", kind.names.kind);
    let _ = writeln!(out, "VERSION:    {}\n", kind.names.version);
    if let Some(name) = field {
        let _ = writeln!(out, "FIELD: {name} <{}>\n", schema.type_of(here));
    }
    out.push_str("DESCRIPTION:\n");
    let _ = writeln!(out, "{}", wrapped(&schema.description(here), 4));
    if schema.fields(here).is_some() {
        out.push_str("\nFIELDS:\n");
        schema.list(here, 1, recursive, &mut out);
    }
    Ok(out)
}

struct Schema<'a> {
    root: &'a Value,
}

impl<'a> Schema<'a> {
    /// Follows a reference, also one wrapped in `allOf` or `anyOf`.
    fn resolve(&self, schema: &'a Value) -> (&'a Value, Option<&'a str>) {
        let wrapped = ["allOf", "anyOf"].iter().find_map(|w| {
            schema
                .get(w)?
                .as_array()?
                .iter()
                .find(|s| s.get("$ref").is_some())
        });
        let reference = wrapped
            .unwrap_or(schema)
            .get("$ref")
            .and_then(Value::as_str);
        let target = reference
            .and_then(|r| r.strip_prefix('#'))
            .and_then(|pointer| self.root.pointer(pointer));
        match (target, reference) {
            (Some(target), Some(reference)) => (target, reference.rsplit(['.', '/']).next()),
            _ => (schema, None),
        }
    }

    fn type_of(&self, schema: &'a Value) -> String {
        let (target, name) = self.resolve(schema);
        if let Some(name) = name {
            return name.to_string();
        }
        if let Some(items) = target.get("items") {
            return format!("[]{}", self.type_of(items));
        }
        if let Some(entries) = target.get("additionalProperties").filter(|e| e.is_object()) {
            return format!("map[string]{}", self.type_of(entries));
        }
        let plain = match target.get("type") {
            Some(Value::Array(types)) => {
                types.iter().find(|t| *t != "null").and_then(Value::as_str)
            }
            Some(kind) => kind.as_str(),
            None => None,
        };
        match plain {
            Some("object") | None => "Object".to_string(),
            Some(plain) => plain.to_string(),
        }
    }

    /// What a list or map holds is explained in place of the list or map.
    fn inner(&self, schema: &'a Value) -> &'a Value {
        let (mut target, _) = self.resolve(schema);
        for _ in 0..MAX_DEPTH {
            let entries = target.get("additionalProperties").filter(|e| e.is_object());
            match target.get("items").or(entries) {
                Some(items) => target = self.resolve(items).0,
                None => break,
            }
        }
        target
    }

    fn fields(&self, schema: &'a Value) -> Option<&'a serde_json::Map<String, Value>> {
        self.inner(schema).get("properties")?.as_object()
    }

    fn description(&self, schema: &'a Value) -> String {
        let text = |s: &Value| {
            s.get("description")
                .and_then(Value::as_str)
                .map(str::to_string)
        };
        let own = text(schema).or_else(|| text(self.inner(schema)));
        own.unwrap_or_else(|| "<empty>".to_string())
    }

    fn list(&self, schema: &'a Value, depth: usize, recursive: bool, out: &mut String) {
        let Some(fields) = self.fields(schema).filter(|_| depth <= MAX_DEPTH) else {
            return;
        };
        let required = self.inner(schema).get("required").and_then(Value::as_array);
        let mut names: Vec<&String> = fields.keys().collect();
        names.sort();
        for name in names {
            let field = &fields[name];
            let needed = required.is_some_and(|r| r.iter().any(|n| n == name));
            let mark = if needed { " -required-" } else { "" };
            let indent = "  ".repeat(depth);
            let _ = writeln!(out, "{indent}{name}\t<{}>{mark}", self.type_of(field));
            if recursive {
                self.list(field, depth + 1, true, out);
            } else {
                let _ = writeln!(out, "{}\n", wrapped(&self.description(field), 4));
            }
        }
    }
}

/// Text in lines of at most [`WIDTH`] characters, each indented.
fn wrapped(text: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = pad.clone();
        for word in paragraph.split_whitespace() {
            if line.len() > indent && line.len() + 1 + word.len() > WIDTH {
                lines.push(std::mem::replace(&mut line, pad.clone()));
            }
            if line.len() > indent {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line.trim_end().to_string());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::by_name;

    fn explained(kind: &str, path: &str, recursive: bool) -> String {
        explain(by_name(kind).expect("served"), path, recursive).expect("explained")
    }

    #[test]
    fn a_field_is_explained_with_its_type_and_fields() {
        let text = explained("pods", "spec.containers", false);
        assert!(text.starts_with("KIND:       Pod\nVERSION:    v1\n\nFIELD: containers <[]Container>\n\nDESCRIPTION:\n    List of containers"), "{text}");
        assert!(
            text.contains("\n  name\t<string> -required-\n    Name of the container"),
            "{text}"
        );
        assert!(text.contains("\n  env\t<[]EnvVar>\n"));
        assert!(text.contains("\n  resources\t<ResourceRequirements>\n"));
        let wraps = |l: &str| l.len() <= WIDTH || !l.trim().contains(' ');
        assert!(text.lines().all(wraps), "{text}");
    }

    #[test]
    fn the_group_is_named_and_a_tree_has_every_level() {
        let text = explained("deploy", "", true);
        assert!(
            text.starts_with(
                "GROUP:      apps\nKIND:       Deployment\nVERSION:    v1\n\nDESCRIPTION:\n"
            ),
            "{text}"
        );
        assert!(text.contains("\n  spec\t<DeploymentSpec>"));
        assert!(text.contains("\n      spec\t<PodSpec>"));
        assert!(text.contains("limits\t<map[string]Quantity>"));
    }

    #[test]
    fn a_plain_field_has_no_fields() {
        let text = explained("deployments", "spec.replicas", false);
        assert!(
            text.contains("FIELD: replicas <integer>") && !text.contains("FIELDS"),
            "{text}"
        );
    }

    #[test]
    fn a_field_that_does_not_exist_is_named() {
        let error =
            explain(by_name("po").expect("served"), "spec.conts.x", false).expect_err("refused");
        assert_eq!(error.to_string(), "field \"conts\" does not exist");
    }
}
