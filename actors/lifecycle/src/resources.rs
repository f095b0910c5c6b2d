//! What a pod may use: its QoS class, the limits of its cgroups, and the score by which the
//! kernel chooses whom to kill when memory runs out (Kubernetes, "Pod Quality of Service
//! Classes" and "Resource Management for Pods and Containers").

use k8s_openapi::api::core::v1::{Container, Pod};
use kabuki_model::kind::pod::{Qos, overhead, pod_limit, pod_request, qos, together};
use kabuki_model::quantity::Quantity;

/// `status.qosClass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container has equal requests and limits of CPU and memory.
    Guaranteed,
    /// Some container has some request or limit.
    Burstable,
    /// None has any.
    BestEffort,
}

/// Limits of one cgroup; `None` leaves the kernel's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Relative weight on the scale of cgroup v1.
    pub cpu_shares: u64,
    /// Microseconds of CPU time in each period.
    pub cpu_quota_us: Option<i64>,
    /// Bytes.
    pub memory: Option<i64>,
}

/// The period that quotas refer to, in microseconds: the kernel's own default.
pub const CPU_PERIOD_US: u64 = 100_000;
/// The kernel refuses smaller quotas.
const MIN_QUOTA_US: i64 = 1_000;
/// The kernel's bounds of a weight.
const SHARES: (i64, i64) = (2, 262_144);
/// Pods of at least this priority belong to the system.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;

impl QosClass {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// The name of its cgroup below the node's.
    pub fn cgroup(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "besteffort",
        }
    }
}

fn amount(container: &Container, limits: bool, name: &str) -> Option<Quantity> {
    let resources = container.resources.as_ref()?;
    let list = if limits {
        &resources.limits
    } else {
        &resources.requests
    };
    let quantity: Quantity = list.as_ref()?.get(name)?.0.parse().ok()?;
    Some(quantity).filter(|q| !q.is_zero())
}

/// A request; a limit alone is also the request.
fn request(container: &Container, name: &str) -> Option<Quantity> {
    amount(container, false, name).or_else(|| amount(container, true, name))
}

/// The QoS class that follows from the containers' requests and limits.
pub fn qos_class(pod: &Pod) -> QosClass {
    match pod.spec.as_ref().map(qos) {
        Some(Qos::Guaranteed) => QosClass::Guaranteed,
        Some(Qos::Burstable) => QosClass::Burstable,
        Some(Qos::BestEffort) | None => QosClass::BestEffort,
    }
}

/// The absolute path of the cgroup that holds the pod's, below the node's.
pub fn cgroup_parent(root: &str, class: QosClass) -> String {
    format!("{}/{}", root.trim_end_matches('/'), class.cgroup())
}

fn shares(milli: i64) -> u64 {
    let shares = (milli.saturating_mul(1024) / 1000).clamp(SHARES.0, SHARES.1);
    shares.unsigned_abs()
}

fn quota_us(milli: i64) -> i64 {
    milli.saturating_mul(100).max(MIN_QUOTA_US)
}

/// The limits of one container.
pub fn container_limits(container: &Container) -> Limits {
    let cpu = request(container, "cpu").map_or(0, |q| q.milli_ceil());
    Limits {
        cpu_shares: shares(cpu),
        cpu_quota_us: amount(container, true, "cpu").map(|q| quota_us(q.milli_ceil())),
        memory: amount(container, true, "memory").map(|q| q.value_ceil()),
    }
}

/// The limits of the pod as a whole: its own, or what its containers need together as far as
/// every one of them has a limit.
pub fn pod_limits(pod: &Pod) -> Limits {
    let Some(spec) = &pod.spec else {
        return Limits::default();
    };
    let asked = together(spec, |c| Some(request(c, "cpu").unwrap_or(Quantity::ZERO)));
    let cpu = pod_request(spec, "cpu").or(asked).unwrap_or(Quantity::ZERO);
    let cpu: Quantity = [cpu, overhead(spec, "cpu")].into_iter().sum();
    let limit = |name: &str| {
        let own = pod_limit(spec, name).filter(|q| !q.is_zero());
        let limit = own.or_else(|| together(spec, |c| amount(c, true, name)))?;
        let limit: Quantity = [limit, overhead(spec, name)].into_iter().sum();
        Some(limit)
    };
    let some = |q: &Quantity| !q.is_zero();
    Limits {
        cpu_shares: shares(cpu.milli_ceil()),
        cpu_quota_us: limit("cpu").filter(some).map(|q| quota_us(q.milli_ceil())),
        memory: limit("memory").filter(some).map(|q| q.value_ceil()),
    }
}

/// What a container was promised of memory: its request, and an equal part of what the pod as a
/// whole asks for beyond those.
fn promised_memory(pod: &Pod, container: &Container) -> i64 {
    let own = request(container, "memory").map_or(0, |q| q.value_ceil());
    let Some(spec) = &pod.spec else {
        return own;
    };
    let Some(whole) = pod_request(spec, "memory") else {
        return own;
    };
    let asked = spec.containers.iter().filter_map(|c| request(c, "memory"));
    let rest = whole
        .value_ceil()
        .saturating_sub(asked.sum::<Quantity>().value_ceil());
    let count = i64::try_from(spec.containers.len())
        .unwrap_or(i64::MAX)
        .max(1);
    own.saturating_add(rest.max(0) / count)
}

/// `oom_score_adj`: the more memory a container was promised, the later it is killed.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i32 {
    let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
    let class = qos_class(pod);
    if priority >= SYSTEM_CRITICAL || class == QosClass::Guaranteed {
        return -997;
    }
    if class == QosClass::BestEffort {
        return 1000;
    }
    let promised = i128::from(promised_memory(pod, container));
    let score = 1000 - 1000 * promised / i128::from(node_memory.max(1));
    // Above every guaranteed one, below every best-effort one.
    i32::try_from(score.clamp(3, 999)).unwrap_or(999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(resources: &[Value]) -> Pod {
        let containers: Vec<Value> = resources
            .iter()
            .enumerate()
            .map(|(i, r)| json!({"name": format!("c{i}"), "resources": r}))
            .collect();
        serde_json::from_value(json!({"spec": {"containers": containers}})).expect("a pod")
    }

    #[test]
    fn the_class_follows_the_containers() {
        let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        let equal = json!({"limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "1000m", "memory": "1024Mi"}});
        let half = json!({"requests": {"cpu": "100m"}});
        assert_eq!(qos_class(&pod(&[json!({})])), QosClass::BestEffort);
        assert_eq!(
            qos_class(&pod(&[full.clone(), equal.clone()])),
            QosClass::Guaranteed
        );
        assert_eq!(qos_class(&pod(&[full, json!({})])), QosClass::Burstable);
        assert_eq!(qos_class(&pod(&[half])), QosClass::Burstable);
        assert_eq!(
            qos_class(&pod(&[json!({"requests": {"cpu": "0"}})])),
            QosClass::BestEffort
        );
    }

    #[test]
    fn limits_become_shares_quotas_and_bytes() {
        let pod = pod(&[
            json!({"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"cpu": "1500m"}}),
            json!({"limits": {"cpu": "5m", "memory": "64Mi"}}),
        ]);
        let spec = pod.spec.as_ref().expect("a spec");
        let first = container_limits(&spec.containers[0]);
        assert_eq!(first.cpu_shares, 512);
        assert_eq!(first.cpu_quota_us, Some(150_000));
        assert_eq!(first.memory, None);
        let second = container_limits(&spec.containers[1]);
        assert_eq!((second.cpu_shares, second.cpu_quota_us), (5, Some(1_000)));
        let all = pod_limits(&pod);
        assert_eq!(
            (all.cpu_shares, all.cpu_quota_us, all.memory),
            (517, Some(150_500), None)
        );
        assert_eq!(oom_score_adj(&pod, &spec.containers[0], 1 << 30), 750);
        assert_eq!(oom_score_adj(&pod, &spec.containers[1], 1), 3);
    }

    #[test]
    fn a_pod_has_room_for_its_start_and_its_own_limits_count_first() {
        let limit = |memory: &str| json!({"limits": {"memory": memory}});
        let mut pod = pod(&[limit("100Mi")]);
        let spec = pod.spec.as_mut().expect("a spec");
        let init = json!([{"name": "i", "resources": limit("1Gi")}]);
        spec.init_containers = serde_json::from_value(init).expect("containers");
        assert_eq!(pod_limits(&pod).memory, Some(1 << 30));
        let spec = pod.spec.as_mut().expect("a spec");
        let whole = json!({"limits": {"memory": "2Gi", "cpu": "2"}, "requests": {"memory": "1Gi"}});
        spec.resources = serde_json::from_value(whole).expect("resources");
        let limits = pod_limits(&pod);
        assert_eq!(
            (limits.memory, limits.cpu_quota_us),
            (Some(2 << 30), Some(200_000))
        );
        let spec = pod.spec.as_ref().expect("a spec");
        // A half of the node's memory is promised.
        assert_eq!(oom_score_adj(&pod, &spec.containers[0], 2 << 30), 500);
    }

    #[test]
    fn overhead_counts_beside_the_containers() {
        let mut pod = pod(&[json!({"requests": {"cpu": "500m"}, "limits": {"memory": "100Mi"}})]);
        let spec = pod.spec.as_mut().expect("a spec");
        let overhead = json!({"cpu": "250m", "memory": "20Mi"});
        spec.overhead = serde_json::from_value(overhead).expect("amounts");
        let limits = pod_limits(&pod);
        assert_eq!((limits.cpu_shares, limits.memory), (768, Some(120 << 20)));
        assert_eq!(limits.cpu_quota_us, None, "what has no limit gets none");
        let spec = pod.spec.as_ref().expect("a spec");
        assert_eq!(kabuki_model::kind::pod::requests(spec).cpu_milli, 750);
        assert_eq!(
            container_limits(&spec.containers[0]).memory,
            Some(100 << 20)
        );
    }
}
