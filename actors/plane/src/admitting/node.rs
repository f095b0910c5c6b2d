//! The Node object of a member, as the servers write it when they admit it.

use kabuki_cluster::facts;
use kabuki_model::request::{PatchType, Request, WriteOptions};
use kabuki_model::taint::{NO_SCHEDULE, NOT_READY};
use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_protocol::join::Role;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Every address of a server's host, for its certificate: joined with commas.
pub const HOST_ADDRESSES: &str = "cluster.kabuki.dev/host-addresses";
/// The SHA-256 of the CA that signed the node's newest certificate, in hex.
pub const CA_SIGNER: &str = "cluster.kabuki.dev/ca-signer";
/// The SHA-256 of the CAs that the node got with its newest certificate, in hex.
pub const CA_BUNDLE: &str = "cluster.kabuki.dev/ca-bundle";
/// The label by which people see the servers.
pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What is written of a member.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// The hash of its key.
    pub key: String,
    /// Its role.
    pub role: Role,
    /// Its number, of servers.
    pub server_id: Option<u64>,
    /// `HOST:PORT` of its port.
    pub address: String,
    /// Every address of its host.
    pub host_addresses: Vec<IpAddr>,
    /// The version of its program.
    pub program: String,
    /// The block of its pods.
    pub pod_cidr: String,
    /// Which CA signed, and which were trusted then.
    pub ca: CaMarks,
    /// Labels that it asked for.
    pub labels: BTreeMap<String, String>,
    /// Taints that it asked for.
    pub taints: Vec<Value>,
}

/// Which CA signed a node's newest certificate, and which the node was told to trust: by these the
/// CA can be changed without leaving a node behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaMarks {
    /// The value of [`CA_SIGNER`].
    pub signer: String,
    /// The value of [`CA_BUNDLE`].
    pub bundle: String,
}

impl CaMarks {
    /// What a Node says; empty where it says nothing.
    pub fn of(node: &Stored) -> Self {
        let text = |name| annotation(node, name).unwrap_or_default().to_string();
        Self {
            signer: text(CA_SIGNER),
            bundle: text(CA_BUNDLE),
        }
    }
}

/// As facts, labels and arguments have it.
pub fn role_text(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Worker => "worker",
    }
}

impl NodeFacts {
    fn annotations(&self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut say = |key: &str, value: String| all.insert(key.to_string(), value.into());
        say(facts::KEY, self.key.clone());
        say(facts::ROLE, role_text(self.role).to_string());
        say(facts::ADDRESS, self.address.clone());
        say(facts::VERSION, self.program.clone());
        say(CA_SIGNER, self.ca.signer.clone());
        say(CA_BUNDLE, self.ca.bundle.clone());
        if let Some(id) = self.server_id {
            say(facts::SERVER_ID, id.to_string());
            say(HOST_ADDRESSES, joined(&self.host_addresses));
        }
        all
    }

    fn labels(&self) -> Map<String, Value> {
        let mut labels: Map<String, Value> = Map::new();
        let asked = self.labels.iter();
        labels.extend(asked.map(|(k, v)| (k.clone(), v.as_str().into())));
        labels.insert("kubernetes.io/hostname".into(), self.name.as_str().into());
        labels.insert("kubernetes.io/os".into(), "linux".into());
        if self.role == Role::Server {
            labels.insert(CONTROL_PLANE.into(), "".into());
        }
        labels
    }

    /// The request that makes the Node.
    pub fn create(&self) -> Request {
        let mut taints = self.taints.clone();
        let is_new = |t: &Value| t["key"] == NOT_READY && t["effect"] == NO_SCHEDULE;
        if !taints.iter().any(is_new) {
            taints.push(json!({"key": NOT_READY, "effect": NO_SCHEDULE}));
        }
        let mut object = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": self.name, "labels": self.labels(), "annotations": self.annotations(),
            },
            "spec": {"podCIDR": self.pod_cidr, "podCIDRs": [self.pod_cidr], "taints": taints},
        });
        if self.role == Role::Server {
            object["metadata"]["finalizers"] = json!([facts::VOTE_FINALIZER]);
        }
        Request::Create {
            resource: Resource::NODES,
            namespace: "".into(),
            object: object.to_string().into(),
            options: WriteOptions::default(),
        }
    }

    /// The request that makes a Node that is there, as it is, that of this member. Its taints
    /// stay as they are.
    pub fn adopt(&self, node: &Stored) -> Request {
        let kept = node.meta().finalizers.clone().unwrap_or_default();
        let others = kept.into_iter().filter(|f| f != facts::VOTE_FINALIZER);
        let mut finalizers: Vec<String> = others.collect();
        if self.role == Role::Server {
            finalizers.push(facts::VOTE_FINALIZER.to_string());
        }
        let mut annotations = self.annotations();
        if self.server_id.is_none() {
            annotations.insert(facts::SERVER_ID.to_string(), Value::Null);
            annotations.insert(HOST_ADDRESSES.to_string(), Value::Null);
        }
        let mut labels = self.labels();
        if self.role == Role::Worker {
            labels.insert(CONTROL_PLANE.to_string(), Value::Null);
        }
        let mut patch = json!({
            "metadata": {
                "labels": labels, "annotations": annotations, "finalizers": finalizers,
                "resourceVersion": node.revision.to_string(),
            },
        });
        if !self.pod_cidr.is_empty() {
            patch["spec"] = json!({"podCIDR": self.pod_cidr, "podCIDRs": [self.pod_cidr]});
        }
        merge(&node.key, &patch)
    }
}

/// A merge patch of an object.
pub(crate) fn merge(key: &ObjectKey, patch: &Value) -> Request {
    Request::Patch {
        key: key.clone(),
        subresource: None,
        patch_type: PatchType::Merge,
        patch: patch.to_string().into(),
        options: WriteOptions::default(),
    }
}

/// The key of a Node.
pub(super) fn node_key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::NODES, "", name)
}

/// An annotation of a Node.
pub(super) fn annotation<'a>(node: &'a Stored, name: &str) -> Option<&'a str> {
    let annotations = node.meta().annotations.as_ref()?;
    annotations.get(name).map(String::as_str)
}

/// Addresses as an annotation has them.
pub(super) fn joined(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}

/// The addresses of an annotation; what is none is left out.
pub(super) fn split(text: &str) -> Vec<IpAddr> {
    text.split(',').filter_map(|a| a.parse().ok()).collect()
}
