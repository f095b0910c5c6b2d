//! What a pod asks of a node, and its class of service (Kubernetes, "Pod Quality of Service
//! Classes").

use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// A pod's class of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qos {
    /// Every container's limits are its requests, for processor and memory both.
    Guaranteed,
    /// Some container asks for something.
    Burstable,
    /// No container asks for anything.
    BestEffort,
}

impl Qos {
    /// The text in `status.qosClass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// What a pod takes of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Processor time in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Places for pods.
    pub pods: i64,
}

impl Add for Totals {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            pods: self.pods.saturating_add(other.pods),
        }
    }
}

impl Sub for Totals {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(other.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            pods: self.pods.saturating_sub(other.pods),
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Totals {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

const COMPUTE: [&str; 2] = ["cpu", "memory"];

/// The class of service of a pod with this spec.
pub fn qos(spec: &PodSpec) -> Qos {
    let mut asks = false;
    let mut guaranteed = true;
    let some = |amount: Option<Quantity>| amount.is_some_and(|a| !a.is_zero());
    // What is said of the pod as a whole counts alone.
    let whole = COMPUTE.map(|name| {
        let limit = of_pod(spec, Bound::Limit, name);
        (of_pod(spec, Bound::Request, name).or(limit), limit)
    });
    if whole
        .iter()
        .any(|(request, limit)| some(*request) || some(*limit))
    {
        let equal = whole.iter().all(|(r, l)| some(*l) && r == l);
        return if equal {
            Qos::Guaranteed
        } else {
            Qos::Burstable
        };
    }
    let init_containers = spec.init_containers.iter().flatten();
    for container in spec.containers.iter().chain(init_containers) {
        for name in COMPUTE {
            let limit = amount(container, Bound::Limit, name);
            // An absent request is the limit; a request of nothing is another one.
            let request = amount(container, Bound::Request, name).or(limit);
            asks |= some(request) || some(limit);
            guaranteed &= some(limit) && request == limit;
        }
    }
    match (asks, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// What a pod with this spec takes of its node: what it asks for as a whole, or what its
/// containers need together.
pub fn requests(spec: &PodSpec) -> Totals {
    let total = |name| -> Quantity {
        let whole = of_pod(spec, Bound::Request, name);
        let sum = || together(spec, |c| Some(request(c, name))).unwrap_or_default();
        let own = whole.unwrap_or_else(sum);
        [own, overhead(spec, name)].into_iter().sum()
    };
    Totals {
        cpu_milli: total("cpu").milli_ceil(),
        memory_bytes: total("memory").value_ceil(),
        pods: 1,
    }
}

/// What the containers of a pod need together: those that run beside each other, or the most that
/// its start needs, where one init container follows the other and some stay. `None` when `of`
/// gives none for one of them.
pub fn together(spec: &PodSpec, of: impl Fn(&Container) -> Option<Quantity>) -> Option<Quantity> {
    let (mut running, mut peak) = (Quantity::ZERO, Quantity::ZERO);
    for container in spec.init_containers.iter().flatten() {
        let at_start = [running, of(container)?].into_iter().sum();
        peak = peak.max(at_start);
        if container.restart_policy.as_deref() == Some("Always") {
            running = at_start;
        }
    }
    for container in &spec.containers {
        running = [running, of(container)?].into_iter().sum();
    }
    Some(running.max(peak))
}

/// What the pod as a whole requests of a resource, if it says so.
pub fn pod_request(spec: &PodSpec, name: &str) -> Option<Quantity> {
    of_pod(spec, Bound::Request, name)
}

/// The limit of the pod as a whole, if it has one of its own.
pub fn pod_limit(spec: &PodSpec, name: &str) -> Option<Quantity> {
    of_pod(spec, Bound::Limit, name)
}

/// What a pod costs beside its containers; nothing when its RuntimeClass does not say.
pub fn overhead(spec: &PodSpec, name: &str) -> Quantity {
    let written = spec.overhead.as_ref().and_then(|o| o.get(name));
    let amount = written.and_then(|w| Quantity::try_from(w).ok());
    amount.unwrap_or_default()
}

/// What a container requests of a resource; zero when it says nothing.
pub fn request(container: &Container, name: &str) -> Quantity {
    amount(container, Bound::Request, name).unwrap_or_default()
}

/// A container's limit of a resource; zero when it has none.
pub fn limit(container: &Container, name: &str) -> Quantity {
    amount(container, Bound::Limit, name).unwrap_or_default()
}

enum Bound {
    Request,
    Limit,
}

/// What a container says of a resource; what is no quantity says nothing.
fn amount(container: &Container, bound: Bound, name: &str) -> Option<Quantity> {
    said(container.resources.as_ref()?, bound, name)
}

fn of_pod(spec: &PodSpec, bound: Bound, name: &str) -> Option<Quantity> {
    said(spec.resources.as_ref()?, bound, name)
}

fn said(resources: &ResourceRequirements, bound: Bound, name: &str) -> Option<Quantity> {
    let amounts = match bound {
        Bound::Request => &resources.requests,
        Bound::Limit => &resources.limits,
    };
    Quantity::try_from(amounts.as_ref()?.get(name)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(containers: &[Value]) -> PodSpec {
        let containers: Vec<Value> = containers
            .iter()
            .map(|resources| json!({"name": "a", "resources": resources}))
            .collect();
        serde_json::from_value(json!({"containers": containers})).expect("a spec")
    }

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let equal = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        let less = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}});
        let half = json!({"limits": {"cpu": "1"}});
        let only_request = json!({"requests": {"memory": "1Mi"}});
        let none = json!({});
        let zero = json!({"requests": {"cpu": "0"}});
        let nothing = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0"}});
        let cases = [
            (vec![full.clone()], Qos::Guaranteed),
            (vec![full.clone(), equal], Qos::Guaranteed),
            (vec![less], Qos::Burstable),
            (vec![nothing], Qos::Burstable),
            (vec![half], Qos::Burstable),
            (vec![full, none.clone()], Qos::Burstable),
            (vec![only_request], Qos::Burstable),
            (vec![none.clone()], Qos::BestEffort),
            (vec![none, zero], Qos::BestEffort),
        ];
        for (containers, class) in cases {
            assert_eq!(qos(&spec(&containers)), class, "{containers:?}");
        }
    }

    #[test]
    fn requests_are_added_up() {
        let spec = spec(&[
            json!({"requests": {"cpu": "250m", "memory": "64Mi"}}),
            json!({"requests": {"cpu": "0.5"}}),
            json!({}),
        ]);
        let totals = requests(&spec);
        assert_eq!(
            totals,
            Totals {
                cpu_milli: 750,
                memory_bytes: 64 << 20,
                pods: 1
            }
        );
        assert_eq!(totals + totals - totals, totals);
    }

    fn whole(resources: Value, more: Value) -> PodSpec {
        let mut spec = json!({"containers": [{"name": "a"}], "resources": resources});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn what_is_said_of_the_pod_as_a_whole_counts_before_its_containers() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "1", "memory": "1Gi"}});
        assert_eq!(qos(&whole(full, json!({}))), Qos::Guaranteed);
        let half = whole(json!({"requests": {"cpu": "2"}}), json!({}));
        assert_eq!(qos(&half), Qos::Burstable);
        assert_eq!(requests(&half).cpu_milli, 2000);
        assert_eq!(qos(&whole(json!({}), json!({}))), Qos::BestEffort);
    }

    #[test]
    fn containers_that_stay_from_the_start_count_with_those_after_them() {
        let asks = |cpu: &str, stays: bool| {
            let policy = stays.then_some("Always");
            json!({"name": "i", "restartPolicy": policy,
                "resources": {"requests": {"cpu": cpu}}})
        };
        let spec = whole(
            Value::Null,
            json!({"initContainers": [asks("1", true), asks("3", false)],
                "containers": [asks("2", false)]}),
        );
        assert_eq!(requests(&spec).cpu_milli, 4000);
        assert_eq!(together(&spec, |_| None), None);
    }
}
