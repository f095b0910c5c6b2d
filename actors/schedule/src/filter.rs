//! Which nodes take a pod: Kubernetes' filter plugins, in their order and with their words. The
//! first plugin that refuses a node says why.

use crate::amounts::Amounts;
use crate::node::Node;
use crate::pod::Class;
use crate::selection;
use kabuki_model::k8s_openapi::api::core::v1::{Taint, Toleration};
use kabuki_model::taint::{NO_EXECUTE, NO_SCHEDULE, UNSCHEDULABLE, tolerating};
use std::fmt;

/// A filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plugin {
    /// The node takes no new pods.
    NodeUnschedulable,
    /// The node repels pods that do not tolerate its taints.
    TaintToleration,
    /// The pod chooses nodes by their labels.
    NodeAffinity,
    /// Ports of the node that are taken.
    NodePorts,
    /// What the node has left.
    NodeResourcesFit,
}

/// Why a node does not take a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It takes no new pods.
    Unschedulable,
    /// A taint.
    Taint,
    /// Its labels or name.
    Affinity,
    /// A port.
    Ports,
    /// It has as many pods as it may have.
    TooManyPods,
    /// It has too little of a resource.
    Insufficient(String),
}

impl Reason {
    /// The filter that gives this reason.
    pub fn plugin(&self) -> Plugin {
        match self {
            Self::Unschedulable => Plugin::NodeUnschedulable,
            Self::Taint => Plugin::TaintToleration,
            Self::Affinity => Plugin::NodeAffinity,
            Self::Ports => Plugin::NodePorts,
            Self::TooManyPods | Self::Insufficient(_) => Plugin::NodeResourcesFit,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::Taint => f.write_str("node(s) had untolerated taint(s)"),
            Self::Affinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::Ports => {
                f.write_str("node(s) didn't have free ports for the requested pod ports")
            }
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
        }
    }
}

/// Why the node does not take pods of the class; nothing when it does.
pub(crate) fn refusals(class: &Class, node: &Node) -> Vec<Reason> {
    if node.unschedulable && !tolerates(&class.tolerations, &unschedulable_taint()) {
        return vec![Reason::Unschedulable];
    }
    let repels = |taint: &&Taint| matches!(taint.effect.as_str(), NO_SCHEDULE | NO_EXECUTE);
    if !node
        .taints
        .iter()
        .filter(repels)
        .all(|t| tolerates(&class.tolerations, t))
    {
        return vec![Reason::Taint];
    }
    if !chosen(class, node) {
        return vec![Reason::Affinity];
    }
    let taken = |port| node.ports.iter().any(|p| p.conflicts(port));
    if class.ports.iter().any(taken) {
        return vec![Reason::Ports];
    }
    lacks(class, node)
}

fn unschedulable_taint() -> Taint {
    Taint {
        key: UNSCHEDULABLE.to_string(),
        effect: NO_SCHEDULE.to_string(),
        ..Taint::default()
    }
}

/// Whether the pod's own choice of nodes includes this one.
fn chosen(class: &Class, node: &Node) -> bool {
    let labelled = class
        .node_selector
        .iter()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    labelled
        && class
            .required
            .as_ref()
            .is_none_or(|s| selection::selects(s, node))
}

pub(crate) fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerating(tolerations, taint).is_some()
}

/// What the node has too little of.
fn lacks(class: &Class, node: &Node) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let (have, used, want) = (&node.allocatable, &node.requested, &class.requests);
    if used.pods.saturating_add(1) > have.pods {
        reasons.push(Reason::TooManyPods);
    }
    if want.is_place_only() {
        return reasons;
    }
    let figures = |a: &Amounts| [a.cpu_milli, a.memory, a.ephemeral_storage];
    let names = ["cpu", "memory", "ephemeral-storage"];
    let (have3, used3, want3) = (figures(have), figures(used), figures(want));
    for (index, name) in names.iter().enumerate() {
        if want3[index] > 0 && want3[index] > have3[index].saturating_sub(used3[index]) {
            reasons.push(Reason::Insufficient((*name).to_string()));
        }
    }
    for (name, amount) in want.extended.iter().filter(|(_, n)| **n > 0) {
        let of = |a: &Amounts| a.extended.get(name).copied().unwrap_or(0);
        if *amount > of(have).saturating_sub(of(used)) {
            reasons.push(Reason::Insufficient(name.clone()));
        }
    }
    reasons
}
