//! Binding: the only way in which a pod gets its node after its creation.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

/// Why a pod cannot be bound. The words are Kubernetes'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// It is being deleted.
    #[error("pod {0} is being deleted, cannot be assigned to a host")]
    Deleting(String),
    /// It has a node.
    #[error("pod {pod} is already assigned to node {node:?}")]
    Assigned {
        /// The pod's name.
        pod: String,
        /// Its node.
        node: String,
    },
}

/// Assigns a pod to a node, and says so in its condition `PodScheduled`.
pub fn bind(pod: &mut Pod, node: &str, now: Timestamp) -> Result<(), BindError> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return Err(BindError::Deleting(name));
    }
    let spec = pod.spec.get_or_insert_default();
    if let Some(node) = spec.node_name.clone().filter(|n| !n.is_empty()) {
        return Err(BindError::Assigned { pod: name, node });
    }
    spec.node_name = Some(node.to_string());
    let status = pod.status.get_or_insert_default();
    // The scheduler's nomination has served its purpose.
    status.nominated_node_name = None;
    let scheduled = PodCondition {
        type_: "PodScheduled".to_string(),
        status: "True".to_string(),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|c| c.type_ == scheduled.type_) {
        Some(held) => *held = scheduled,
        None => conditions.push(scheduled),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_bound_once() {
        let now = Timestamp::UNIX_EPOCH;
        let mut pod = Pod::default();
        pod.metadata.name = Some("web".to_string());
        assert_eq!(bind(&mut pod, "a", now), Ok(()));
        let status = pod.status.clone().expect("a status");
        let conditions = status.conditions.expect("conditions");
        assert_eq!(
            (&*conditions[0].type_, &*conditions[0].status),
            ("PodScheduled", "True")
        );
        let error = bind(&mut pod, "b", now).expect_err("bound");
        assert_eq!(
            error.to_string(),
            "pod web is already assigned to node \"a\""
        );
    }

    #[test]
    fn a_dying_pod_is_not_bound() {
        let mut pod = Pod::default();
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let error = bind(&mut pod, "a", Timestamp::UNIX_EPOCH).expect_err("dying");
        assert_eq!(error, BindError::Deleting(String::new()));
        assert_eq!(pod.spec, None);
    }
}
