//! What a node does not run although the API took it, because it depends on the node's settings:
//! kernel parameters that others may feel (Kubernetes, "Using sysctls in a Kubernetes Cluster").

use k8s_openapi::api::core::v1::Pod;

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

/// Why a node does not run a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `SysctlForbidden`.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Whether a node that allows these unsafe parameters refuses the pod. A pattern may end with
/// `*`.
pub fn refuse(pod: &Pod, unsafe_sysctls: &[String]) -> Option<Refusal> {
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
    Some(Refusal {
        reason: "SysctlForbidden",
        message: format!(
            "Pod was rejected: forbidden sysctl: {:?} not allowlisted",
            bad.name
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unsafe_parameters_need_the_nodes_leave() {
        let pod = |name: &str| {
            let sysctls = json!([{"name": name, "value": "1"}]);
            serde_json::from_value::<Pod>(json!({"spec": {
                "containers": [], "securityContext": {"sysctls": sysctls}}}))
            .expect("a pod")
        };
        let allowed = ["net.core.somaxconn".to_string(), "kernel.msg*".to_string()];
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
