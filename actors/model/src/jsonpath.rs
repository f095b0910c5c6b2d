//! JSONPath as `kubectl` has it (Kubernetes, "JSONPath Support"): templates of text and
//! `{expressions}`, with `{range}` and `{end}`, wildcards, slices, unions, filters and recursive
//! descent. A field that is missing gives nothing; a position beyond a list is an error.

mod eval;
mod parse;

use serde_json::Value;

/// Why a template cannot be read or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// It cannot be read.
    #[error("error parsing jsonpath {template}: {why}")]
    Syntax {
        /// The template.
        template: String,
        /// What is wrong.
        why: String,
    },
    /// It does not fit the object.
    #[error("error executing jsonpath: {0}")]
    Evaluate(String),
}

/// A compiled template.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// `$`
    Root,
    /// `.name`, `['name']`
    Field(String),
    /// `.*`, `[*]`
    Wildcard,
    /// `..`
    Descend,
    /// `[1]`, `[-1]`
    Index(i64),
    /// `[a:b:c]`
    Slice(Option<i64>, Option<i64>, i64),
    /// `[0,2]`, `['a','b']`
    Union(Vec<Step>),
    /// `[?(@.a == "b")]`
    Filter(Operand, Option<(Comparison, Operand)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    Path(Vec<Step>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Reads a template: text with expressions in braces.
    pub fn parse(template: &str) -> Result<Self, JsonPathError> {
        parse::template(template)
            .map(|nodes| Self { nodes })
            .map_err(|why| JsonPathError::Syntax {
                template: template.to_string(),
                why,
            })
    }

    /// Reads one path, as columns and `--sort-by` take it: braces and the first dot may be left
    /// out (`metadata.name`, `.metadata.name`, `{.metadata.name}`).
    pub fn parse_relaxed(path: &str) -> Result<Self, JsonPathError> {
        let inner = path.trim();
        let unbraced = match (inner.strip_prefix('{'), inner.strip_suffix('}')) {
            (Some(_), Some(_)) if inner.len() > 1 => &inner[1..inner.len() - 1],
            (None, None) => inner,
            _ => {
                return Err(JsonPathError::Syntax {
                    template: path.to_string(),
                    why: format!(
                        "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}', got {path:?}"
                    ),
                });
            }
        };
        let dot = if unbraced.starts_with(['.', '$', '@', '[']) {
            ""
        } else {
            "."
        };
        Self::parse(&format!("{{{dot}{unbraced}}}"))
    }

    /// The values that the template's paths find, in order.
    pub fn find<'a>(&self, root: &'a Value) -> Result<Vec<&'a Value>, JsonPathError> {
        let mut found = Vec::new();
        eval::find(&self.nodes, root, root, &mut found).map_err(JsonPathError::Evaluate)?;
        Ok(found)
    }

    /// The template with its expressions replaced by what they find; several values are
    /// separated by spaces, and text stands without quotes.
    pub fn render(&self, root: &Value) -> Result<String, JsonPathError> {
        let mut out = String::new();
        eval::render(&self.nodes, root, root, &mut out).map_err(JsonPathError::Evaluate)?;
        Ok(out)
    }
}

/// A value as templates and columns show it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
