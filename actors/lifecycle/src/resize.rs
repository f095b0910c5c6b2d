//! What a pod has of its node, and whether it may have more (Kubernetes, "Resize CPU and Memory
//! Resources assigned to Containers"): what the manifest asks for is *wanted*, what the node has
//! agreed to is *granted*, what cgroups say is *actual*. The machine asks, the node answers by
//! [`decide`], and the machine has the difference between granted and actual applied.

use crate::containers::{Role, containers};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use kabuki_model::kind::pod::{Qos, Totals, qos, requests};
use kabuki_model::quantity::Quantity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What containers may use, by name.
pub type Shares = BTreeMap<String, ResourceRequirements>;

/// What a node makes of the wish for other resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The pod has them from now on.
    Granted,
    /// There is no room now, but there may be later.
    Deferred(String),
    /// This node never has as much.
    Infeasible(String),
}

/// The containers that can be resized, and what the manifest wants for them.
pub fn wanted(spec: &PodSpec) -> Shares {
    let resizable = |role: &Role| matches!(role, Role::Main | Role::Sidecar);
    let all = containers(spec).filter(|(role, _)| resizable(role));
    all.map(|(_, c)| (c.name.clone(), c.resources.clone().unwrap_or_default()))
        .collect()
}

/// The manifest with what was granted in place of what is wanted.
pub fn granted(pod: &Arc<Pod>, shares: &Shares) -> Arc<Pod> {
    let differs = |c: &Container| {
        let held = shares.get(&c.name);
        held.is_some_and(|held| *held != c.resources.clone().unwrap_or_default())
    };
    let Some(spec) = &pod.spec else {
        return pod.clone();
    };
    let init = spec.init_containers.iter().flatten();
    if !spec.containers.iter().chain(init).any(differs) {
        return pod.clone();
    }
    let mut pod = (**pod).clone();
    if let Some(spec) = &mut pod.spec {
        let init = spec.init_containers.iter_mut().flatten();
        for container in spec.containers.iter_mut().chain(init) {
            if let Some(held) = shares.get(&container.name) {
                container.resources = Some(held.clone());
            }
        }
    }
    Arc::new(pod)
}

/// What the pod takes of its node when its containers have these shares.
pub fn taken(pod: &Arc<Pod>, shares: &Shares) -> Totals {
    let pod = granted(pod, shares);
    pod.spec.as_ref().map(requests).unwrap_or_default()
}

/// Whether a pod that is to take `wanted` finds room on a node that gives pods `allocatable`, of
/// which the other pods take `others`. What is not asked for anew is never refused.
pub fn decide(had: Totals, wanted: Totals, others: Totals, allocatable: Totals) -> Verdict {
    let figures = |of: fn(&Totals) -> i64| {
        let each = [had, wanted, others, allocatable];
        each.map(|totals| of(&totals))
    };
    let resources = [
        ("memory", figures(|t| t.memory_bytes)),
        ("cpu", figures(|t| t.cpu_milli)),
    ];
    for (name, [had, wanted, _, capacity]) in resources {
        if wanted > had && wanted > capacity {
            return Verdict::Infeasible(format!(
                "Node didn't have enough capacity: {name}, requested: {wanted}, capacity: {capacity}"
            ));
        }
    }
    for (name, [had, wanted, used, capacity]) in resources {
        if wanted > had && used.saturating_add(wanted) > capacity {
            return Verdict::Deferred(format!(
                "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, \
                 capacity: {capacity}"
            ));
        }
    }
    Verdict::Granted
}

/// Who gets room first among those that wait for it: the higher priority, then the better class
/// of service, then who has waited longer. Greater is earlier.
pub fn precedence(spec: &PodSpec, arrival: u64) -> (i32, u8, std::cmp::Reverse<u64>) {
    let class = match qos(spec) {
        Qos::Guaranteed => 2,
        Qos::Burstable => 1,
        Qos::BestEffort => 0,
    };
    let priority = spec.priority.unwrap_or(0);
    (priority, class, std::cmp::Reverse(arrival))
}

/// Whether the step from one share to the other restarts the container.
pub fn restarts(
    container: &Container,
    from: &ResourceRequirements,
    to: &ResourceRequirements,
) -> bool {
    let policies = container.resize_policy.iter().flatten();
    let mut restarting = policies.filter(|p| p.restart_policy == "RestartContainer");
    restarting.any(|p| {
        let name = &p.resource_name;
        amount(&from.requests, name) != amount(&to.requests, name)
            || amount(&from.limits, name) != amount(&to.limits, name)
    })
}

/// The limit of memory of a share in bytes.
pub fn memory_limit(share: &ResourceRequirements) -> Option<i64> {
    amount(&share.limits, "memory").map(|q| q.value_ceil())
}

type Amounts = Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>;

fn amount(amounts: &Amounts, name: &str) -> Option<Quantity> {
    Quantity::try_from(amounts.as_ref()?.get(name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn totals(cpu_milli: i64, memory_bytes: i64) -> Totals {
        Totals {
            cpu_milli,
            memory_bytes,
            pods: 1,
        }
    }

    #[test]
    fn room_is_granted_deferred_or_never_there() {
        let (node, others) = (totals(2000, 1000), totals(1450, 500));
        let ask = |wanted| decide(totals(100, 100), wanted, others, node);
        assert_eq!(ask(totals(550, 500)), Verdict::Granted);
        let full =
            "Node didn't have enough resource: cpu, requested: 600, used: 1450, capacity: 2000";
        assert_eq!(ask(totals(600, 100)), Verdict::Deferred(full.to_string()));
        let never = "Node didn't have enough capacity: cpu, requested: 2001, capacity: 2000";
        assert_eq!(
            ask(totals(2001, 100)),
            Verdict::Infeasible(never.to_string())
        );
        let Verdict::Infeasible(both) = ask(totals(3000, 3000)) else {
            panic!("it is granted");
        };
        assert!(both.contains("memory"), "{both}");
        // Less of one resource is always granted, however full the node is.
        let crowded = decide(totals(600, 600), totals(500, 600), totals(1900, 900), node);
        assert_eq!(crowded, Verdict::Granted);
    }

    #[test]
    fn who_matters_more_gets_room_first_and_then_who_waited_longer() {
        let spec = |priority: i32, resources: Value| {
            let spec = json!({"priority": priority,
                "containers": [{"name": "a", "resources": resources}]});
            serde_json::from_value::<PodSpec>(spec).expect("a spec")
        };
        let full = json!({"limits": {"cpu": "1", "memory": "1"}});
        let mut order = [
            ("late", precedence(&spec(0, json!({})), 3)),
            ("early", precedence(&spec(0, json!({})), 1)),
            ("guaranteed", precedence(&spec(0, full), 4)),
            ("high", precedence(&spec(9, json!({})), 5)),
        ];
        order.sort_by_key(|(_, p)| std::cmp::Reverse(*p));
        let names = order.map(|(name, _)| name);
        assert_eq!(names, ["high", "guaranteed", "early", "late"]);
    }
}
