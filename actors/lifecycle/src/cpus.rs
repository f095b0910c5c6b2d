//! Processors of one's own (Kubernetes, "CPU Management Policies", `static`): a container of a
//! Guaranteed pod that asks for whole processors has them to itself; all others share the rest.
//! What the system keeps is never given away, but belongs to the shared ones.
//!
//! Known here: who has which processor, and which are taken next. Not known here: cgroups.

mod set;
mod take;

pub use set::CpuSet;
pub use take::{Place, Topology};

use k8s_openapi::api::core::v1::{Container, Pod};
use kabuki_model::kind::pod::{Qos, qos, request};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of the policy in the file.
const POLICY: &str = "static";

/// Why processors are not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// Too few are left.
    #[error(
        "not enough cpus available to satisfy request: requested={requested}, available={available}"
    )]
    TooFew {
        /// So many were asked for.
        requested: usize,
        /// So many are free.
        available: usize,
    },
    /// What was written down does not fit this machine or these settings.
    #[error("{0}: drain the node, then remove the file and start again")]
    BadState(String),
}

/// Who has which processors, in the form in which it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuState {
    policy_name: String,
    /// What everybody shares.
    default_cpu_set: CpuSet,
    /// What containers have to themselves, by the pod's uid and the container's name.
    entries: BTreeMap<String, BTreeMap<String, CpuSet>>,
}

/// Gives processors away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuPool {
    topology: Topology,
    reserved: CpuSet,
    state: CpuState,
}

impl CpuPool {
    /// Nobody has anything yet.
    pub fn new(topology: Topology, reserved: CpuSet) -> Self {
        let state = CpuState {
            policy_name: POLICY.to_string(),
            default_cpu_set: topology.all(),
            entries: BTreeMap::new(),
        };
        Self {
            topology,
            reserved,
            state,
        }
    }

    /// Goes on with what was written down.
    ///
    /// # Errors
    /// When it is of another policy, another machine, or contradicts itself.
    pub fn resume(topology: Topology, reserved: CpuSet, state: CpuState) -> Result<Self, CpuError> {
        let bad = |why: String| Err(CpuError::BadState(why));
        if state.policy_name != POLICY {
            return bad(format!(
                "configured policy {POLICY:?} differs from state checkpoint policy {:?}",
                state.policy_name
            ));
        }
        let mut seen = state.default_cpu_set.clone();
        for set in state.entries.values().flat_map(BTreeMap::values) {
            if !seen.is_disjoint(set) {
                return bad(format!("processors {set} are given away twice"));
            }
            seen.extend(set);
        }
        if seen != topology.all() {
            return bad(format!(
                "the state knows processors {seen}, the machine has {}",
                topology.all()
            ));
        }
        if !reserved.is_subset(&state.default_cpu_set) {
            return bad(format!(
                "not all reserved processors {reserved} are among the shared ones {}",
                state.default_cpu_set
            ));
        }
        Ok(Self {
            topology,
            reserved,
            state,
        })
    }

    /// What is to be kept.
    pub fn state(&self) -> &CpuState {
        &self.state
    }

    /// What everybody shares.
    pub fn shared(&self) -> &CpuSet {
        &self.state.default_cpu_set
    }

    /// What a container may run on.
    pub fn of(&self, uid: &str, container: &str) -> &CpuSet {
        let own = self.state.entries.get(uid).and_then(|c| c.get(container));
        own.unwrap_or(&self.state.default_cpu_set)
    }

    /// Whether a container has processors to itself.
    pub fn is_exclusive(&self, uid: &str, container: &str) -> bool {
        let own = self.state.entries.get(uid);
        own.is_some_and(|c| c.contains_key(container))
    }

    /// Gives the containers of a pod what they are to have to themselves; all or nothing. Asked
    /// again, it changes nothing. Says whether anything changed.
    ///
    /// # Errors
    /// When too few are left.
    pub fn admit(&mut self, uid: &str, pod: &Pod) -> Result<bool, CpuError> {
        let before = self.state.clone();
        for (name, count) in exclusive(pod) {
            if self.is_exclusive(uid, &name) {
                continue;
            }
            let free = self.state.default_cpu_set.without(&self.reserved);
            if free.len() < count {
                let available = free.len();
                self.state = before;
                return Err(CpuError::TooFew {
                    requested: count,
                    available,
                });
            }
            let taken = self.topology.take(&free, count);
            self.state.default_cpu_set = self.state.default_cpu_set.without(&taken);
            let of_pod = self.state.entries.entry(uid.to_string()).or_default();
            of_pod.insert(name, taken);
        }
        Ok(self.state != before)
    }

    /// Takes back what a pod had. Says whether that was anything.
    pub fn release(&mut self, uid: &str) -> bool {
        let Some(had) = self.state.entries.remove(uid) else {
            return false;
        };
        for set in had.values() {
            self.state.default_cpu_set.extend(set);
        }
        true
    }

    /// Takes back what pods had that are no more. Says whether that was anything.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) -> bool {
        let uids = self.state.entries.keys();
        let gone: Vec<String> = uids.filter(|uid| !exists(uid)).cloned().collect();
        gone.iter().filter(|uid| self.release(uid)).count() > 0
    }
}

/// The containers of a pod that are to have processors to themselves, and how many. Init
/// containers that run to their end share; those that stay count like the others.
pub fn exclusive(pod: &Pod) -> Vec<(String, usize)> {
    let Some(spec) = pod
        .spec
        .as_ref()
        .filter(|spec| qos(spec) == Qos::Guaranteed)
    else {
        return Vec::new();
    };
    let stays = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(stays);
    let all = sidecars.chain(&spec.containers);
    let whole = |c: &Container| {
        let milli = request(c, "cpu").milli_ceil();
        let count = usize::try_from(milli / 1000).ok()?;
        (milli > 0 && milli % 1000 == 0).then(|| (c.name.clone(), count))
    };
    all.filter_map(whole).collect()
}

#[cfg(test)]
mod tests;
