//! `-o custom-columns`.

use super::super::align::Table;
use super::super::failure::{Outcome, fail};
use super::super::out::Out;

use kabuki_model::jsonpath::{self, JsonPath};
use kabuki_model::printing::NONE;
use serde_json::Value;

/// Columns, each with a heading and a path.
#[derive(Debug)]
pub struct CustomColumns(Vec<(String, JsonPath)>);

impl CustomColumns {
    /// Reads `HEADING:PATH,HEADING:PATH`.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut columns = Vec::new();
        for part in split(text) {
            let Some((heading, path)) = part.split_once(':').filter(|(h, _)| !h.is_empty()) else {
                fail!(
                    "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>, \
                     for example NAME:.metadata.name"
                );
            };
            columns.push((heading.to_string(), JsonPath::parse_relaxed(path)?));
        }
        Ok(Self(columns))
    }

    /// Reads a file of two lines: headings, and paths below them.
    pub fn parse_file(text: &str) -> Outcome<Self> {
        let mut lines = text.lines().filter(|l| !l.trim().is_empty());
        let (Some(headings), Some(paths)) = (lines.next(), lines.next()) else {
            fail!("the file of custom columns needs two lines: headings, and paths below them");
        };
        let headings: Vec<&str> = headings.split_whitespace().collect();
        let paths: Vec<&str> = paths.split_whitespace().collect();
        if headings.len() != paths.len() {
            fail!(
                "number of headers ({}) and field specifications ({}) don't match",
                headings.len(),
                paths.len()
            );
        }
        let columns: Outcome<Vec<_>> = headings
            .into_iter()
            .zip(paths)
            .map(|(heading, path)| Ok((heading.to_string(), JsonPath::parse_relaxed(path)?)))
            .collect();
        Ok(Self(columns?))
    }

    /// Prints a row for each item.
    pub fn print(&self, out: &Out, items: &[Value], no_headers: bool) -> Outcome {
        let mut rows = Vec::new();
        if !no_headers {
            rows.push(self.0.iter().map(|(heading, _)| heading.clone()).collect());
        }
        for item in items {
            let cell = |path: &JsonPath| {
                let values: Vec<String> = path
                    .find(item)
                    .unwrap_or_default()
                    .into_iter()
                    .map(jsonpath::shown)
                    .collect();
                match values.is_empty() {
                    true => NONE.to_string(),
                    false => values.join(","),
                }
            };
            rows.push(self.0.iter().map(|(_, path)| cell(path)).collect());
        }
        out.text(&Table::default().rows(&rows))
    }
}

/// Splits at commas that are not inside brackets or quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut depth, mut quote) = (Vec::new(), 0, 0usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}
