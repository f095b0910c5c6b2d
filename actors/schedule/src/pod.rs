//! What the scheduler knows of a pod.

use crate::amounts::Amounts;
use crate::resized;
use kabuki_model::k8s_openapi::api::core::v1::{
    NodeSelector, Pod, PodSpec, PreferredSchedulingTerm, Toleration,
};
use kabuki_model::{ObjectKey, Stored};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The scheduler that this is.
const SCHEDULER: &str = "default-scheduler";

/// A pod, as far as placing it goes.
#[derive(Debug)]
pub struct Pending {
    /// Which pod.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: Arc<str>,
    /// Higher goes first.
    pub priority: i32,
    /// What it asks of a node.
    pub class: Arc<Class>,
    /// Its node, when it has one.
    pub node: Option<Arc<str>>,
    /// Whether it is for this scheduler to place: it has no node and nothing that forbids it.
    pub is_ours: bool,
    /// Whether it takes nothing of a node any more.
    pub is_finished: bool,
    /// Why it was last said that it cannot be placed.
    pub complaint: Option<String>,
    /// The stored form that all this was read from.
    pub stored: Arc<Stored>,
}

/// All that a pod asks of a node. Pods of one template have equal ones.
#[derive(Debug)]
pub struct Class {
    /// Equal for equal classes.
    pub(crate) identity: String,
    pub(crate) requests: Amounts,
    pub(crate) assumed: Amounts,
    pub(crate) node_selector: BTreeMap<String, String>,
    pub(crate) required: Option<NodeSelector>,
    pub(crate) preferred: Vec<PreferredSchedulingTerm>,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) images: Vec<String>,
}

/// A port of the node that a pod takes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct HostPort {
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be taken at once. No address is every address.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| matches!(ip, "" | "0.0.0.0");
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

impl Pending {
    /// Reads a stored pod; `None` when it cannot be decoded.
    pub fn read(stored: &Arc<Stored>) -> Option<Self> {
        let pod: Arc<Pod> = stored.typed().ok()?;
        let spec = pod.spec.as_ref()?;
        let status = pod.status.as_ref();
        let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let is_finished = matches!(phase, "Succeeded" | "Failed");
        let node = spec.node_name.as_deref().filter(|n| !n.is_empty());
        let scheduler = spec.scheduler_name.as_deref().unwrap_or(SCHEDULER);
        let gated = spec
            .scheduling_gates
            .as_ref()
            .is_some_and(|g| !g.is_empty());
        let conditions = status.and_then(|s| s.conditions.as_ref());
        let complaint = conditions
            .into_iter()
            .flatten()
            .find(|c| c.type_ == "PodScheduled" && c.status == "False")
            .and_then(|c| c.message.clone());
        Some(Self {
            key: stored.key.clone(),
            uid: stored.uid.clone(),
            priority: spec.priority.unwrap_or(0),
            class: Arc::new(Class::read(&resized::counted(spec, status))),
            is_ours: node.is_none()
                && scheduler == SCHEDULER
                && !gated
                && !is_finished
                && pod.metadata.deletion_timestamp.is_none(),
            node: node.map(Into::into),
            is_finished,
            complaint,
            stored: stored.clone(),
        })
    }
}

impl Class {
    fn read(spec: &PodSpec) -> Self {
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.clone());
        let affinity = affinity.unwrap_or_default();
        let mut images: Vec<String> = spec
            .containers
            .iter()
            .filter_map(|c| c.image.as_deref())
            .map(tagged)
            .collect();
        images.sort();
        let mut class = Self {
            identity: String::new(),
            requests: Amounts::of_pod(spec),
            assumed: Amounts::of_pod_assumed(spec),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required: affinity.required_during_scheduling_ignored_during_execution,
            preferred: affinity
                .preferred_during_scheduling_ignored_during_execution
                .unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            ports: host_ports(spec),
            images,
        };
        let amounts = |a: &Amounts| json!([a.cpu_milli, a.memory, a.ephemeral_storage, a.extended]);
        class.identity = json!([
            amounts(&class.requests),
            amounts(&class.assumed),
            class.node_selector,
            class.required,
            class.preferred,
            class.tolerations,
            class.ports,
            class.images,
        ])
        .to_string();
        class
    }
}

/// An image reference with its tag, as nodes report them.
pub(crate) fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.contains([':', '@']) {
        true => image.to_string(),
        false => format!("{image}:latest"),
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let ports = spec
        .containers
        .iter()
        .flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            let port = p.host_port.filter(|n| *n > 0).or_else(|| {
                // In the node's own network every port is one of the node's.
                (spec.host_network == Some(true)).then_some(p.container_port)
            })?;
            Some(HostPort {
                ip: p.host_ip.clone().unwrap_or_default(),
                protocol: p.protocol.clone().unwrap_or_else(|| "TCP".to_string()),
                port,
            })
        })
        .collect()
}
