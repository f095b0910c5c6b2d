//! Which labels a node may give itself (Kubernetes, "NodeRestriction"): none by which somebody
//! else decides what may run on it.

/// Labels of Kubernetes' own that a node knows best.
const OWN: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
];
/// Prefixes that are the nodes' own, with everything below them.
const OWN_PREFIXES: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The prefix of labels that keep nodes from attracting what is not theirs.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// Whether a node may set, change and remove this label of itself.
pub fn may_label_itself(key: &str) -> bool {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    if is_below(prefix, RESTRICTED) {
        return false;
    }
    let reserved = is_below(prefix, "kubernetes.io") || is_below(prefix, "k8s.io");
    !reserved || OWN.contains(&key) || OWN_PREFIXES.iter().any(|own| is_below(prefix, own))
}

fn is_below(prefix: &str, domain: &str) -> bool {
    match prefix.strip_suffix(domain) {
        Some(rest) => rest.is_empty() || rest.ends_with('.'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_gives_itself_its_own_labels_only() {
        for key in [
            "disk",
            "example.com/disk",
            "kubernetes.io/hostname",
            "topology.kubernetes.io/zone",
            "node.kubernetes.io/pool",
            "a.kubelet.kubernetes.io/b",
            "notkubernetes.io/a",
        ] {
            assert!(may_label_itself(key), "{key}");
        }
        for key in [
            "node-restriction.kubernetes.io/fips",
            "x.node-restriction.kubernetes.io/fips",
            "node-role.kubernetes.io/worker",
            "kubernetes.io/role",
            "k8s.io/a",
        ] {
            assert!(!may_label_itself(key), "{key}");
        }
    }
}
