//! What a node does not run although the API took it, because it depends on the node: it is short
//! of something (Kubernetes, "Node-pressure Eviction"), a kernel parameter may be felt by others
//! ("Using sysctls in a Kubernetes Cluster"), or there is no AppArmor ("Restrict a Container's
//! Access to Resources with AppArmor").

use crate::eviction::{self, Pressure};
use crate::resources::{QosClass, qos_class};
use k8s_openapi::api::core::v1::{AppArmorProfile, Pod, SecurityContext, Taint};
use kabuki_model::taint::{MEMORY_PRESSURE, tolerating};

/// Parameters that concern nobody but the pod.
const SAFE: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What a node goes by.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The unsafe parameters that it allows. A pattern may end with `*`.
    pub unsafe_sysctls: &'a [String],
    /// Whether its kernel enforces AppArmor's profiles.
    pub app_armor: bool,
    /// What it is short of, or was lately.
    pub pressure: Pressure,
}

/// Why a node does not run a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `SysctlForbidden`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    fn new(reason: &'static str, why: &str) -> Self {
        Self {
            reason,
            message: format!("Pod was rejected: {why}"),
        }
    }
}

/// Whether a node refuses the pod.
pub fn refuse(pod: &Pod, rules: &Rules) -> Option<Refusal> {
    short(pod, rules.pressure)
        .or_else(|| sysctls(pod, rules.unsafe_sysctls))
        .or_else(|| app_armor(pod, rules.app_armor))
}

/// A node that is short takes nobody but the critical. When it is memory alone, those who asked
/// for some are let in, and those who tolerate it.
fn short(pod: &Pod, pressure: Pressure) -> Option<Refusal> {
    let named = [
        ("MemoryPressure", pressure.memory),
        ("DiskPressure", pressure.disk),
        ("PIDPressure", pressure.pids),
    ];
    let named: Vec<&str> = named
        .iter()
        .filter(|(_, is)| *is)
        .map(|(n, _)| *n)
        .collect();
    if named.is_empty() || eviction::is_critical(pod) {
        return None;
    }
    if named == ["MemoryPressure"] {
        let taint = Taint {
            key: MEMORY_PRESSURE.to_string(),
            effect: "NoSchedule".to_string(),
            ..Taint::default()
        };
        let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref());
        let tolerates = tolerating(tolerations.unwrap_or_default(), &taint).is_some();
        if tolerates || qos_class(pod) != QosClass::BestEffort {
            return None;
        }
    }
    let why = format!("The node had condition: [{}]. ", named.join(" "));
    Some(Refusal::new(eviction::REASON, &why))
}

fn sysctls(pod: &Pod, unsafe_sysctls: &[String]) -> Option<Refusal> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    let allowed = |name: &str| {
        SAFE.contains(&name)
            || unsafe_sysctls.iter().any(|p| match p.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => p == name,
            })
    };
    let mut wanted = context.sysctls.iter().flatten();
    let bad = wanted.find(|s| !allowed(&s.name.replace('/', ".")))?;
    let why = format!("forbidden sysctl: {:?} not allowlisted", bad.name);
    Some(Refusal::new("SysctlForbidden", &why))
}

fn app_armor(pod: &Pod, is_enforced: bool) -> Option<Refusal> {
    let spec = pod.spec.as_ref()?;
    let asks = |p: Option<&AppArmorProfile>| p.is_some_and(|p| p.type_ != "Unconfined");
    let context = spec.security_context.as_ref();
    let of_pod = context.and_then(|c| c.app_armor_profile.as_ref());
    let init = spec.init_containers.iter().flatten();
    let mut own = init.chain(&spec.containers).map(|c| &c.security_context);
    let of =
        |c: &Option<SecurityContext>| asks(c.as_ref().and_then(|c| c.app_armor_profile.as_ref()));
    if is_enforced || !(asks(of_pod) || own.any(of)) {
        return None;
    }
    let why = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
    Some(Refusal::new("AppArmor", why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const RULES: Rules = Rules {
        unsafe_sysctls: &[],
        app_armor: false,
        pressure: Pressure {
            memory: false,
            disk: false,
            pids: false,
        },
    };

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).expect("a pod")
    }

    #[test]
    fn a_node_that_is_short_refuses_those_whom_it_would_evict() {
        let asks =
            json!({"containers": [{"name": "a", "resources": {"requests": {"memory": "1Mi"}}}]});
        let best_effort = json!({"containers": [{"name": "a"}]});
        let bears = json!({"containers": [{"name": "a"}], "tolerations": [
            {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]});
        let critical = json!({"containers": [{"name": "a"}], "priority": 2_000_000_000});
        let under = |spec: &Value, memory: bool, disk: bool| {
            let pressure = Pressure {
                memory,
                disk,
                pids: false,
            };
            super::refuse(&pod(spec.clone()), &Rules { pressure, ..RULES }).map(|r| r.message)
        };
        let memory = "Pod was rejected: The node had condition: [MemoryPressure]. ";
        assert_eq!(under(&best_effort, true, false).as_deref(), Some(memory));
        let disk = "Pod was rejected: The node had condition: [DiskPressure]. ";
        assert_eq!(under(&asks, false, true).as_deref(), Some(disk));
        let both = "Pod was rejected: The node had condition: [MemoryPressure DiskPressure]. ";
        assert_eq!(under(&bears, true, true).as_deref(), Some(both));
        assert_eq!(under(&asks, true, false), None);
        assert_eq!(under(&bears, true, false), None);
        assert_eq!(under(&critical, true, true), None);
        assert_eq!(under(&best_effort, false, false), None);
    }

    #[test]
    fn a_profile_needs_a_kernel_that_enforces_it() {
        let profile = |kind: &str| json!({"appArmorProfile": {"type": kind}});
        let of_pod = |kind: &str| json!({"containers": [], "securityContext": profile(kind)});
        let own =
            json!({"containers": [{"name": "a", "securityContext": profile("RuntimeDefault")}]});
        for spec in [of_pod("RuntimeDefault"), own] {
            let refused = super::refuse(&pod(spec.clone()), &RULES).expect("refused");
            assert_eq!(refused.reason, "AppArmor");
            assert_eq!(
                refused.message,
                "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
            );
            let rules = Rules {
                app_armor: true,
                ..RULES
            };
            assert_eq!(super::refuse(&pod(spec), &rules), None);
        }
        assert_eq!(super::refuse(&pod(of_pod("Unconfined")), &RULES), None);
    }

    #[test]
    fn unsafe_parameters_need_the_nodes_leave() {
        let pod = |name: &str| {
            let sysctls = json!([{"name": name, "value": "1"}]);
            serde_json::from_value::<Pod>(json!({"spec": {
                "containers": [], "securityContext": {"sysctls": sysctls}}}))
            .expect("a pod")
        };
        let allowed = ["net.core.somaxconn".to_string(), "kernel.msg*".to_string()];
        let refuse = |pod: &Pod, unsafe_sysctls: &[String]| {
            super::refuse(
                pod,
                &Rules {
                    unsafe_sysctls,
                    ..RULES
                },
            )
        };
        for name in [
            "kernel.shm_rmid_forced",
            "net/ipv4/tcp_rmem",
            "net.core.somaxconn",
            "kernel.msgmax",
        ] {
            assert_eq!(refuse(&pod(name), &allowed), None, "{name}");
        }
        let refused = refuse(&pod("net.core.somaxconn"), &[]).expect("refused");
        assert_eq!(
            refused.message,
            "Pod was rejected: forbidden sysctl: \"net.core.somaxconn\" not allowlisted"
        );
        assert!(refuse(&pod("kernel.sem"), &allowed).is_some());
    }
}
