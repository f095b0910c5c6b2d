//! `--sort-by`.

use crate::cli::failure::Outcome;
use crate::cli::resolver::Found;
use jiff::Timestamp;
use kabuki_model::Quantity;
use kabuki_model::jsonpath::JsonPath;
use serde_json::Value;
use std::cmp::Ordering;

/// The field that objects are sorted by.
#[derive(Debug)]
pub struct SortKey(JsonPath);

impl SortKey {
    /// Reads a path: `.metadata.name` or `{.metadata.name}`.
    pub fn parse(path: &str) -> Outcome<Self> {
        Ok(Self(JsonPath::parse_relaxed(path)?))
    }

    /// Sorts; objects without the field come first, equals stay in their order.
    pub fn sort(&self, found: &mut Vec<Found>) -> Outcome {
        let mut keyed = Vec::with_capacity(found.len());
        for entry in found.drain(..) {
            let value = entry.object.to_value()?;
            let key = self
                .0
                .find(&value)
                .unwrap_or_default()
                .into_iter()
                .next()
                .cloned();
            keyed.push((key, entry));
        }
        keyed.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref()));
        found.extend(keyed.into_iter().map(|(_, entry)| entry));
        Ok(())
    }
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(Value::Number(a)), Some(Value::Number(b))) => a
            .as_f64()
            .partial_cmp(&b.as_f64())
            .unwrap_or(Ordering::Equal),
        (Some(Value::String(a)), Some(Value::String(b))) => compare_text(a, b),
        (Some(a), Some(b)) => a.to_string().cmp(&b.to_string()),
    }
}

/// Times and quantities by what they mean, everything else letter by letter.
fn compare_text(a: &str, b: &str) -> Ordering {
    if let (Ok(a), Ok(b)) = (a.parse::<Timestamp>(), b.parse::<Timestamp>()) {
        return a.cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (a.parse::<Quantity>(), b.parse::<Quantity>()) {
        return a.cmp(&b);
    }
    a.cmp(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_compared_by_what_they_mean() {
        let order = |a: Value, b: Value| compare(Some(&a), Some(&b));
        assert_eq!(order(json!(9), json!(10)), Ordering::Less);
        assert_eq!(order(json!("1Gi"), json!("900Mi")), Ordering::Greater);
        assert_eq!(order(json!("b"), json!("a")), Ordering::Greater);
        assert_eq!(
            order(json!("2026-01-01T00:00:00Z"), json!("2025-12-31T23:00:00Z")),
            Ordering::Greater
        );
        assert_eq!(compare(None, Some(&json!(1))), Ordering::Less);
    }
}
