//! What the scheduler knows of a node, and what is on it.

use crate::amounts::Amounts;
use crate::pod::{Class, HostPort, tagged};
use kabuki_model::k8s_openapi::api::core::v1::{Node as ApiNode, Taint};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node. One that is not `present` is only known from the pods that are bound to it.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub name: Arc<str>,
    pub present: bool,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Amounts,
    /// Sizes of images by name.
    pub images: BTreeMap<String, i64>,
    /// What the pods on it ask for.
    pub requested: Amounts,
    /// The same, with something for those that do not say.
    pub assumed: Amounts,
    /// The ports that the pods on it take.
    pub ports: Vec<HostPort>,
    /// How many pods are on it, with those that it is told of only in advance.
    pub pods: usize,
}

/// What is different in a new form of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NodeChange {
    /// Something that decides whether pods fit.
    pub fit: bool,
    /// Its images.
    pub images: bool,
}

impl Node {
    pub(crate) fn named(name: Arc<str>) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Takes over a new form of the node.
    pub(crate) fn update(&mut self, node: &ApiNode) -> NodeChange {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let taints = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
        let unschedulable = spec.and_then(|s| s.unschedulable) == Some(true);
        // What a node can give is what it has, when it keeps nothing for itself.
        let allocatable = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let allocatable = Amounts::read(allocatable);
        let mut images = BTreeMap::new();
        for image in status.and_then(|s| s.images.as_ref()).into_iter().flatten() {
            for name in image.names.iter().flatten() {
                images.insert(tagged(name), image.size_bytes.unwrap_or(0));
            }
        }
        let change = NodeChange {
            fit: !self.present
                || self.labels != labels
                || self.taints != taints
                || self.unschedulable != unschedulable
                || self.allocatable != allocatable,
            images: self.images != images,
        };
        self.present = true;
        self.labels = labels;
        self.taints = taints;
        self.unschedulable = unschedulable;
        self.allocatable = allocatable;
        self.images = images;
        change
    }

    pub(crate) fn put(&mut self, class: &Class) {
        self.requested.add(&class.requests);
        self.assumed.add(&class.assumed);
        self.ports.extend(class.ports.iter().cloned());
        self.pods += 1;
    }

    pub(crate) fn take(&mut self, class: &Class) {
        self.requested.subtract(&class.requests);
        self.assumed.subtract(&class.assumed);
        for port in &class.ports {
            if let Some(at) = self.ports.iter().position(|p| p == port) {
                self.ports.swap_remove(at);
            }
        }
        self.pods = self.pods.saturating_sub(1);
    }
}
