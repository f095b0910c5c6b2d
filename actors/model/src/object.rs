//! Resources, keys, and the stored object: its JSON as admitted, with the decoded form made
//! once, lazily, and shared by every reader.

mod body;
mod resource;

pub(crate) use body::may_have_owners;
pub use body::{DecodeError, Stored, canonical_json, with_managed_fields};
pub use resource::Resource;

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Where an object lives: resource, namespace (empty for cluster-scoped kinds) and name.
/// The order is the order of lists: by resource, namespace, name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectKey {
    /// The resource, for example `pods`.
    pub resource: Resource,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// The key of `name` in `namespace` (empty for cluster-scoped kinds).
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        Self {
            resource,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            "" => write!(f, "{}/{}", self.resource, self.name),
            namespace => write!(f, "{}/{}/{}", self.resource, namespace, self.name),
        }
    }
}
