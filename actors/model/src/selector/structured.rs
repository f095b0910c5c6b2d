//! The structured label selectors of manifests (`metav1.LabelSelector`).

use super::SelectorError;
use super::label::{LabelSelector, Operator, Requirement};
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Written;

impl TryFrom<&Written> for LabelSelector {
    type Error = SelectorError;

    /// An empty selector selects everything.
    fn try_from(written: &Written) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in written.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, [value.clone()])?);
        }
        for expression in written.match_expressions.iter().flatten() {
            let operator = match expression.operator.as_str() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError(format!(
                        "{other:?} is not a valid label selector operator"
                    )));
                }
            };
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement::new(&expression.key, operator, values)?);
        }
        Ok(Self::of(requirements))
    }
}

impl TryFrom<Option<&Written>> for LabelSelector {
    type Error = SelectorError;

    /// An absent selector selects nothing.
    fn try_from(written: Option<&Written>) -> Result<Self, SelectorError> {
        written.map_or_else(|| Ok(Self::nothing()), Self::try_from)
    }
}

/// Adds everything that is wrong with a structured selector at `path` to `causes`.
pub fn validate_label_selector(written: &Written, path: &str, causes: &mut Vec<Cause>) {
    let labels_path = format!("{path}.matchLabels");
    for (key, value) in written.match_labels.iter().flatten() {
        if let Some(why) = syntax::qualified_name(key) {
            causes.push(Cause::invalid(&labels_path, key, &why));
        }
        if let Some(why) = syntax::label_value(value) {
            causes.push(Cause::invalid(&labels_path, value, &why));
        }
    }
    for (index, expression) in written.match_expressions.iter().flatten().enumerate() {
        let at = format!("{path}.matchExpressions[{index}]");
        let values = expression.values.as_deref().unwrap_or_default();
        match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => causes.push(Cause::required(
                format!("{at}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => causes.push(Cause::forbidden(
                format!("{at}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => causes.push(Cause::invalid(
                format!("{at}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        if let Some(why) = syntax::qualified_name(&expression.key) {
            causes.push(Cause::invalid(format!("{at}.key"), &expression.key, &why));
        }
        for (i, value) in values.iter().enumerate() {
            if let Some(why) = syntax::label_value(value) {
                causes.push(Cause::invalid(format!("{at}.values[{i}]"), value, &why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: serde_json::Value) -> Written {
        serde_json::from_value(value).expect("a selector")
    }

    #[test]
    fn both_parts_become_requirements() {
        let selector = written(json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }));
        let compiled = LabelSelector::try_from(&selector).expect("compiles");
        assert_eq!(compiled.to_string(), "app=web,!old,tier in (a,b)");
    }

    #[test]
    fn absent_selects_nothing_and_empty_everything() {
        let labels = std::collections::BTreeMap::new();
        assert!(
            !LabelSelector::try_from(None)
                .expect("compiles")
                .matches(&labels)
        );
        assert!(
            LabelSelector::try_from(&Written::default())
                .expect("compiles")
                .matches(&labels)
        );
    }

    #[test]
    fn every_fault_is_named_with_its_path() {
        let selector = written(json!({
            "matchLabels": {"-a": "b c"},
            "matchExpressions": [
                {"key": "x", "operator": "In"},
                {"key": "x", "operator": "Exists", "values": ["a"]},
                {"key": "x", "operator": "Near"},
            ],
        }));
        let mut causes = Vec::new();
        validate_label_selector(&selector, "spec.selector", &mut causes);
        let fields: Vec<&str> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "spec.selector.matchLabels",
                "spec.selector.matchLabels",
                "spec.selector.matchExpressions[0].values",
                "spec.selector.matchExpressions[1].values",
                "spec.selector.matchExpressions[2].operator",
            ]
        );
    }
}
