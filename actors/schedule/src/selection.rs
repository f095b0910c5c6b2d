//! Node selectors (Kubernetes, "Assigning Pods to Nodes").

use crate::node::Node;
use kabuki_model::k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
};

/// Whether any term matches.
pub(crate) fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector
        .node_selector_terms
        .iter()
        .any(|term| term_matches(term, node))
}

/// Whether every requirement of the term is met. A term without any matches nothing.
pub(crate) fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |r: &NodeSelectorRequirement| meets(r, node.labels.get(&r.key).map(String::as_str));
    // The name is the only field that nodes can be selected by.
    let field =
        |r: &NodeSelectorRequirement| meets(r, (r.key == "metadata.name").then_some(&*node.name));
    expressions.iter().all(label) && fields.iter().all(field)
}

fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let among = || value.is_some_and(|v| values.iter().any(|w| w == v));
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = || Some((number(value?)?, number(values.first()?)?));
    match requirement.operator.as_str() {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(have, want)| have > want),
        "Lt" => compared().is_some_and(|(have, want)| have < want),
        _ => false,
    }
}
