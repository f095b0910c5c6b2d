//! The name of a resource: `plural` or `plural.group`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A resource by its full name: `pods`, `deployments.apps`. Built-in ones are free to clone;
/// others (custom resources) share one allocation.
#[derive(Clone)]
pub struct Resource(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Resource {
    /// `namespaces`
    pub const NAMESPACES: Self = Self(Repr::Static("namespaces"));
    /// `pods`
    pub const PODS: Self = Self(Repr::Static("pods"));
    /// `replicasets.apps`
    pub const REPLICA_SETS: Self = Self(Repr::Static("replicasets.apps"));
    /// `deployments.apps`
    pub const DEPLOYMENTS: Self = Self(Repr::Static("deployments.apps"));
    /// `configmaps`
    pub const CONFIG_MAPS: Self = Self(Repr::Static("configmaps"));
    /// `secrets`
    pub const SECRETS: Self = Self(Repr::Static("secrets"));
    /// `nodes`
    pub const NODES: Self = Self(Repr::Static("nodes"));
    /// `events`
    pub const EVENTS: Self = Self(Repr::Static("events"));
    /// `serviceaccounts`
    pub const SERVICE_ACCOUNTS: Self = Self(Repr::Static("serviceaccounts"));
    /// `services`
    pub const SERVICES: Self = Self(Repr::Static("services"));
    /// `endpoints`
    pub const ENDPOINTS: Self = Self(Repr::Static("endpoints"));
    /// `endpointslices.discovery.k8s.io`
    pub const ENDPOINT_SLICES: Self = Self(Repr::Static("endpointslices.discovery.k8s.io"));
    /// `servicecidrs.networking.k8s.io`
    pub const SERVICE_CIDRS: Self = Self(Repr::Static("servicecidrs.networking.k8s.io"));
    /// `runtimeclasses.node.k8s.io`
    pub const RUNTIME_CLASSES: Self = Self(Repr::Static("runtimeclasses.node.k8s.io"));
    /// `leases.coordination.k8s.io`
    pub const LEASES: Self = Self(Repr::Static("leases.coordination.k8s.io"));
    /// `scales.autoscaling`: never stored, the answer of the `scale` subresource.
    pub const SCALES: Self = Self(Repr::Static("scales.autoscaling"));

    /// Every resource whose name is a constant here.
    pub const BUILT_IN: &[Self] = &[
        Self::NAMESPACES,
        Self::PODS,
        Self::REPLICA_SETS,
        Self::DEPLOYMENTS,
        Self::CONFIG_MAPS,
        Self::SECRETS,
        Self::NODES,
        Self::EVENTS,
        Self::SERVICE_ACCOUNTS,
        Self::SCALES,
        Self::SERVICES,
        Self::ENDPOINTS,
        Self::ENDPOINT_SLICES,
        Self::SERVICE_CIDRS,
        Self::LEASES,
        Self::RUNTIME_CLASSES,
    ];

    /// The resource with this full name (`plural` or `plural.group`).
    pub fn named(name: &str) -> Self {
        Self::BUILT_IN
            .iter()
            .find(|r| r.as_str() == name)
            .cloned()
            .unwrap_or_else(|| Self(Repr::Shared(name.into())))
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Static(name) => name,
            Repr::Shared(name) => name,
        }
    }

    /// The plural alone: `deployments`.
    pub fn plural(&self) -> &str {
        self.as_str().split_once('.').map_or(self.as_str(), |p| p.0)
    }

    /// The group: `apps`, empty for the core group.
    pub fn group(&self) -> &str {
        self.as_str().split_once('.').map_or("", |p| p.1)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        // Mostly they are the same constant.
        std::ptr::eq(self.as_str(), other.as_str()) || self.as_str() == other.as_str()
    }
}

impl Eq for Resource {}

impl PartialOrd for Resource {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Resource {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match std::ptr::eq(self.as_str(), other.as_str()) {
            true => std::cmp::Ordering::Equal,
            false => self.as_str().cmp(other.as_str()),
        }
    }
}

impl Hash for Resource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(Self::named(&name))
    }
}
