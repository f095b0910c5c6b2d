//! Where a kind holds resource quantities, and their canonical form.
//!
//! Kubernetes reads a quantity from a string or a number and writes it canonically (`cpu: 0.5`
//! becomes `500m`); the typed form holds a string. So the JSON is rewritten before it is decoded,
//! at exactly those places where the kind's schema has a quantity.

use crate::quantity::Quantity;
use crate::status::Cause;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where quantities are below some value. Branches without any are left out.
#[derive(Debug, PartialEq)]
pub(super) enum Amounts {
    /// Here.
    Here,
    /// In these fields.
    Fields(BTreeMap<String, Amounts>),
    /// In every item of the list.
    Items(Box<Amounts>),
    /// In every entry of the map.
    Entries(Box<Amounts>),
}

/// No schema that is served nests deeper; recursive ones end here.
const MAX_DEPTH: usize = 24;

impl Amounts {
    /// Finds them in a kind's schema.
    pub(super) fn of_schema(schema: &Value) -> Option<Self> {
        Self::find(schema, schema, 0)
    }

    fn find(root: &Value, schema: &Value, depth: usize) -> Option<Self> {
        if depth > MAX_DEPTH {
            return None;
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            if reference.ends_with(".resource.Quantity") {
                return Some(Self::Here);
            }
            let target = root.pointer(reference.strip_prefix('#')?)?;
            return Self::find(root, target, depth + 1);
        }
        for wrapper in ["allOf", "anyOf"] {
            let wrapped = schema.get(wrapper).and_then(Value::as_array);
            if let Some(found) = wrapped
                .into_iter()
                .flatten()
                .find_map(|s| Self::find(root, s, depth + 1))
            {
                return Some(found);
            }
        }
        if let Some(items) = schema.get("items") {
            return Some(Self::Items(Box::new(Self::find(root, items, depth + 1)?)));
        }
        if let Some(entries) = schema.get("additionalProperties") {
            return Some(Self::Entries(Box::new(Self::find(
                root,
                entries,
                depth + 1,
            )?)));
        }
        let fields: BTreeMap<String, Self> = schema
            .get("properties")?
            .as_object()?
            .iter()
            .filter_map(|(name, field)| Some((name.clone(), Self::find(root, field, depth + 1)?)))
            .collect();
        (!fields.is_empty()).then_some(Self::Fields(fields))
    }

    /// Rewrites the quantities of `value` canonically. Fails at the first that is none.
    pub(super) fn canonicalise(&self, value: &mut Value) -> Result<(), Cause> {
        self.rewrite(value).map_err(|fault| {
            let field = fault
                .path
                .iter()
                .rev()
                .fold(String::new(), |mut path, part| {
                    if !path.is_empty() && !part.starts_with('[') {
                        path.push('.');
                    }
                    path.push_str(part);
                    path
                });
            Cause::invalid(field, &fault.written, &fault.why)
        })
    }

    fn rewrite(&self, value: &mut Value) -> Result<(), Fault> {
        match (self, value) {
            (Self::Here, here) => canonical(here),
            (Self::Fields(fields), Value::Object(object)) => {
                for (name, amounts) in fields {
                    if let Some(value) = object.get_mut(name) {
                        amounts.rewrite(value).map_err(|f| f.below(name.clone()))?;
                    }
                }
                Ok(())
            }
            (Self::Items(amounts), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    amounts
                        .rewrite(item)
                        .map_err(|f| f.below(format!("[{index}]")))?;
                }
                Ok(())
            }
            (Self::Entries(amounts), Value::Object(entries)) => {
                for (key, entry) in entries {
                    amounts
                        .rewrite(entry)
                        .map_err(|f| f.below(format!("[{key}]")))?;
                }
                Ok(())
            }
            // Of another type than the schema has: decoding says so, with its path.
            _ => Ok(()),
        }
    }
}

/// A text that is no quantity, and where, innermost part first.
struct Fault {
    path: Vec<String>,
    written: String,
    why: String,
}

impl Fault {
    fn below(mut self, part: String) -> Self {
        self.path.push(part);
        self
    }
}

fn canonical(value: &mut Value) -> Result<(), Fault> {
    let written = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Ok(()),
    };
    match written.parse::<Quantity>() {
        Ok(quantity) => {
            *value = Value::String(quantity.to_string());
            Ok(())
        }
        Err(error) => Err(Fault {
            path: Vec::new(),
            written,
            why: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::kind;
    use serde_json::json;

    fn decoded(limits: serde_json::Value) -> Result<serde_json::Value, crate::status::Cause> {
        let pods = kind::by_name("deployments").expect("served");
        let value = json!({"metadata": {"name": "web"}, "spec": {"selector": {}, "template": {"spec": {
            "containers": [{"name": "c", "resources": {"limits": limits}}],
        }}}});
        let object = pods.decode(value)?.object.to_value();
        Ok(object["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"].clone())
    }

    #[test]
    fn quantities_are_read_from_numbers_and_kept_canonically() {
        let limits = decoded(json!({"cpu": 0.5, "memory": "1024Mi", "a/b": 2})).expect("decodes");
        assert_eq!(limits, json!({"cpu": "500m", "memory": "1Gi", "a/b": "2"}));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_its_path() {
        let cause = decoded(json!({"cpu": "a lot"})).expect_err("refused");
        assert_eq!(
            cause.field,
            "spec.template.spec.containers[0].resources.limits[cpu]"
        );
        assert!(
            cause
                .message
                .contains("quantities must match the regular expression")
        );
    }
}
