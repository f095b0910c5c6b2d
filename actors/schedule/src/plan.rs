//! Places a batch of pods, one after the other, each on the best node that takes it.

use crate::cluster::Cluster;
use crate::filter::{Plugin, Reason};
use crate::pod::Pending;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What was decided of a pod.
#[derive(Debug)]
pub struct Decision {
    /// The pod.
    pub pod: Arc<Pending>,
    /// Its node, on which it is assumed from now on; or why there is none.
    pub outcome: Result<Arc<str>, Arc<Failure>>,
}

/// Why no node takes a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// In Kubernetes' words: `0/3 nodes are available: 1 Insufficient cpu, ...`.
    pub message: String,
    /// How many nodes give each reason.
    pub reasons: BTreeMap<Reason, usize>,
    /// The filters that gave a reason: only what changes their minds can help.
    pub plugins: BTreeSet<Plugin>,
}

impl Failure {
    pub(crate) fn of(nodes: usize, reasons: BTreeMap<Reason, usize>) -> Self {
        let mut texts: Vec<String> = reasons.iter().map(|(r, n)| format!("{n} {r}")).collect();
        texts.sort();
        let message = match nodes {
            0 => "no nodes available to schedule pods".to_string(),
            _ => format!("0/{nodes} nodes are available: {}.", texts.join(", ")),
        };
        Self {
            message,
            plugins: reasons.keys().map(Reason::plugin).collect(),
            reasons,
        }
    }
}

/// Decides where each of `pending` goes, in their order. `seed` breaks ties: the same arguments
/// give the same plan.
///
/// A pod that fits nowhere fails here; taking the place of less important pods would come
/// between that and the decision.
pub fn plan(cluster: &mut Cluster, pending: &[Arc<Pending>], seed: u64) -> Vec<Decision> {
    let mut decisions = Vec::with_capacity(pending.len());
    for pod in pending {
        let candidates = cluster.candidates(&pod.class, seed);
        let outcome = match candidates.best() {
            Some(index) => Ok(index),
            None => Err(candidates.failure()),
        };
        let outcome = outcome.map(|index| {
            let node = cluster.nodes()[index].name.clone();
            cluster.assume(pod, &node);
            node
        });
        decisions.push(Decision {
            pod: pod.clone(),
            outcome,
        });
    }
    decisions
}
