//! A text of fields and values in columns, indented by what belongs to what.

use crate::cli::align::tabs;
use jiff::Timestamp;
use kabuki_model::patch::LAST_APPLIED;
use kabuki_model::printing::NONE;
use serde_json::Value;

/// The longest line of an annotation.
const MAX_ANNOTATION: usize = 140;

/// A text that is being written.
#[derive(Debug, Default)]
pub struct Document(String);

impl Document {
    /// A line with tabs between its columns.
    pub fn line(&mut self, level: usize, text: impl AsRef<str>) {
        for _ in 0..level {
            self.0.push_str("  ");
        }
        self.0.push_str(text.as_ref());
        self.0.push('\n');
    }

    /// A field with its value.
    pub fn field(&mut self, level: usize, name: &str, value: impl AsRef<str>) {
        self.line(level, format!("{name}:\t{}", value.as_ref()));
    }

    /// A field whose values stand below each other.
    pub fn lines(&mut self, level: usize, name: &str, values: &[String]) {
        match values.split_first() {
            None => self.field(level, name, NONE),
            Some((first, rest)) => {
                self.field(level, name, first);
                for value in rest {
                    self.line(level, format!("\t{value}"));
                }
            }
        }
    }

    /// A map as `key=value` lines.
    pub fn labels(&mut self, level: usize, name: &str, map: &Value) {
        let pairs: Vec<String> = entries(map).map(|(k, v)| format!("{k}={v}")).collect();
        self.lines(level, name, &pairs);
    }

    /// Annotations, without the one of `apply`.
    pub fn annotations(&mut self, level: usize, map: &Value) {
        let mut shown = Vec::new();
        for (key, value) in entries(map).filter(|(key, _)| *key != LAST_APPLIED) {
            if value.contains('\n') || key.len() + value.len() + 2 > MAX_ANNOTATION {
                shown.push(format!("{key}:"));
                shown.extend(value.lines().map(|line| format!("  {}", shortened(line))));
            } else {
                shown.push(format!("{key}: {value}"));
            }
        }
        self.lines(level, "Annotations", &shown);
    }

    /// Name, namespace (where there is one).
    pub fn heading(&mut self, value: &Value) {
        let metadata = &value["metadata"];
        self.field(0, "Name", text(&metadata["name"]));
        let namespace = text(&metadata["namespace"]);
        if !namespace.is_empty() {
            self.field(0, "Namespace", namespace);
        }
    }

    /// Labels and annotations.
    pub fn metadata(&mut self, value: &Value) {
        self.labels(0, "Labels", &value["metadata"]["labels"]);
        self.annotations(0, &value["metadata"]["annotations"]);
    }

    /// A table of conditions.
    pub fn conditions(&mut self, columns: &[(&str, &str)], conditions: &Value) {
        let Some(conditions) = conditions.as_array().filter(|c| !c.is_empty()) else {
            return;
        };
        self.line(0, "Conditions:");
        let headings: Vec<&str> = columns.iter().map(|c| c.0).collect();
        self.line(1, headings.join("\t"));
        if columns.len() > 2 {
            let rules: Vec<String> = headings.iter().map(|h| "-".repeat(h.len())).collect();
            self.line(1, rules.join("\t"));
        }
        for condition in conditions {
            let cells: Vec<String> = columns
                .iter()
                .map(|(_, field)| match field.ends_with("Time") {
                    true => time(&condition[*field]),
                    false => text(&condition[*field]).to_string(),
                })
                .collect();
            self.line(1, format!("{} ", cells.join("\t")));
        }
    }

    /// An object of a kind that is not known better: every field of it.
    pub fn whole(&mut self, value: &Value) {
        self.heading(value);
        self.metadata(value);
        self.field(0, "API Version", text(&value["apiVersion"]));
        self.field(0, "Kind", text(&value["kind"]));
        for (field, value) in value.as_object().into_iter().flatten() {
            if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
                self.any(0, field, value);
            }
        }
    }

    fn any(&mut self, level: usize, field: &str, value: &Value) {
        let name = titled(field);
        match value {
            Value::Object(fields) => {
                self.line(level, format!("{name}:"));
                for (field, value) in fields {
                    self.any(level + 1, field, value);
                }
            }
            Value::Array(items) => {
                self.line(level, format!("{name}:"));
                for item in items {
                    match item.as_object() {
                        Some(fields) => fields.iter().for_each(|(f, v)| self.any(level + 1, f, v)),
                        None => self.line(level + 1, plain(item)),
                    }
                }
            }
            scalar => self.field(level, &name, plain(scalar)),
        }
    }

    /// The text, aligned.
    pub fn finish(self) -> String {
        tabs(&self.0, 2)
    }
}

/// The text of a value that is text; empty when it is not.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A scalar as it is shown.
pub fn plain(value: &Value) -> String {
    kabuki_model::jsonpath::shown(value)
}

/// The entries of a map of texts.
pub fn entries(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    map.as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), text(value)))
}

/// The items of a list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A time as `describe` shows it: `Mon, 02 Jan 2006 15:04:05 +0000`.
pub fn time(value: &Value) -> String {
    match text(value).parse::<Timestamp>() {
        Ok(time) => time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
        Err(_) => String::new(),
    }
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(MAX_ANNOTATION) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line.to_string(),
    }
}

/// `lastSeenTime` as `Last Seen Time`.
fn titled(field: &str) -> String {
    let mut out = String::new();
    for (index, c) in field.chars().enumerate() {
        if index == 0 {
            out.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && !out.ends_with(|p: char| p.is_uppercase()) {
                out.push(' ');
            }
            out.push(c);
        }
    }
    out
}
