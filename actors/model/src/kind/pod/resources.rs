//! What a pod asks of a node, and its class of service (Kubernetes, "Pod Quality of Service
//! Classes").

use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec};
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
    let init_containers = spec.init_containers.iter().flatten();
    for container in spec.containers.iter().chain(init_containers) {
        for name in COMPUTE {
            let limit = amount(container, Bound::Limit, name);
            // An absent request is the limit; a request of nothing is another one.
            let request = amount(container, Bound::Request, name).or(limit);
            let some = |amount: Option<Quantity>| amount.is_some_and(|a| !a.is_zero());
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

/// What a pod with this spec takes of its node: the sum of its containers' requests, or that of
/// the largest init container, which run before them and one by one.
pub fn requests(spec: &PodSpec) -> Totals {
    let total = |name| {
        let sum: Quantity = spec.containers.iter().map(|c| request(c, name)).sum();
        let init = spec.init_containers.iter().flatten();
        init.map(|c| request(c, name)).fold(sum, Quantity::max)
    };
    Totals {
        cpu_milli: total("cpu").milli_ceil(),
        memory_bytes: total("memory").value_ceil(),
        pods: 1,
    }
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
    let resources = container.resources.as_ref()?;
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
}
