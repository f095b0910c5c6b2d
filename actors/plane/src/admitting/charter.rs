//! What a cluster is founded with, in the replicated state, in `kube-system`:
//!
//! | object | what |
//! |---|---|
//! | ConfigMap `kabuki-cluster` | `clusterId`, `podCidr`, `serviceCidr`, `nodePrefix`, `version` |
//! | Secret `kabuki-ca` | `ca.crt` and `ca.key` sign; `bundle.crt` is all that is trusted; `next.crt` and `next.key` while the CA is changed |
//! | Secret `kabuki-seal` | `key`: the servers' key for seals |
//!
//! Everything here reads a view and is pure.

use super::blocks::Block;
use super::node::CaMarks;
use kabuki_cluster::authority::{Authority, PkiError};
use kabuki_cluster::certificate::{hex, sha256_hex};
use kabuki_cluster::seal::KEY_BYTES;
use kabuki_model::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where all of it is.
pub const NAMESPACE: &str = "kube-system";
/// The type of the CA's Secret.
pub const CA_TYPE: &str = "kabuki.dev/ca";
/// The type of the seal key's Secret.
pub const SEAL_TYPE: &str = "kabuki.dev/seal";

/// Why the cluster's own objects cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CharterError {
    /// One is missing.
    #[error(
        "the cluster's state has no {key}: it is written when the first server starts; if it was \
         deleted, restore a backup"
    )]
    Missing {
        /// Which.
        key: ObjectKey,
    },
    /// One is not what it should be.
    #[error("{key} is damaged: {why}; restore a backup")]
    Damaged {
        /// Which.
        key: ObjectKey,
        /// What is wrong.
        why: String,
    },
}

/// What the cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charter {
    /// Which cluster.
    pub cluster_id: String,
    /// The range of all pods.
    pub pod_cidr: Block,
    /// The range of services.
    pub service_cidr: Block,
    /// The length of the prefix of each node's block.
    pub node_prefix: u8,
}

/// The ConfigMap.
pub fn cluster_key() -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, NAMESPACE, "kabuki-cluster")
}

/// The Secret of the CA.
pub fn ca_key() -> ObjectKey {
    ObjectKey::new(Resource::SECRETS, NAMESPACE, "kabuki-ca")
}

/// The Secret of the seal key.
pub fn seal_key_key() -> ObjectKey {
    ObjectKey::new(Resource::SECRETS, NAMESPACE, "kabuki-seal")
}

impl Charter {
    /// Reads it.
    pub fn read(view: &dyn View) -> Result<Self, CharterError> {
        let key = cluster_key();
        let damaged = |why: String| CharterError::Damaged {
            key: key.clone(),
            why,
        };
        let stored = view.get(&key);
        let stored = stored.ok_or_else(|| CharterError::Missing { key: key.clone() })?;
        let map = stored.typed::<ConfigMap>();
        let map = map.map_err(|e| damaged(e.to_string()))?;
        let none = BTreeMap::new();
        let data = map.data.as_ref().unwrap_or(&none);
        let text = |name: &str| {
            let value = data.get(name).filter(|v| !v.is_empty());
            value.ok_or_else(|| damaged(format!("it has no {name}")))
        };
        let block = |name: &str| text(name)?.parse::<Block>().map_err(damaged);
        let node_prefix = text("nodePrefix")?.parse();
        Ok(Self {
            cluster_id: text("clusterId")?.clone(),
            pod_cidr: block("podCidr")?,
            service_cidr: block("serviceCidr")?,
            node_prefix: node_prefix.map_err(|_| damaged("nodePrefix is no number".into()))?,
        })
    }

    /// The ConfigMap of it. `program` is the version that founds.
    pub fn to_value(&self, program: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "kabuki-cluster", "namespace": NAMESPACE},
            "data": {
                "clusterId": self.cluster_id, "podCidr": self.pod_cidr.to_string(),
                "serviceCidr": self.service_cidr.to_string(),
                "nodePrefix": self.node_prefix.to_string(), "version": program,
            },
        })
    }
}

/// The texts of a Secret.
pub(crate) fn secret_texts(stored: &Stored) -> Result<BTreeMap<String, String>, CharterError> {
    let damaged = |why: String| CharterError::Damaged {
        key: stored.key.clone(),
        why,
    };
    let secret = stored.typed::<Secret>();
    let secret = secret.map_err(|e| damaged(e.to_string()))?;
    let text = |(name, value): (&String, &kabuki_model::k8s_openapi::ByteString)| {
        let text = String::from_utf8(value.0.clone());
        let text = text.map_err(|_| damaged(format!("{name} is no text")))?;
        Ok((name.clone(), text))
    };
    secret.data.iter().flatten().map(text).collect()
}

/// The CA that signs, and every CA that is trusted, in PEM.
pub fn authority(view: &dyn View) -> Result<(Authority, String), CharterError> {
    let key = ca_key();
    let stored = view.get(&key);
    let stored = stored.ok_or_else(|| CharterError::Missing { key: key.clone() })?;
    authority_of(stored)
}

/// The same, of the Secret.
pub fn authority_of(secret: &Stored) -> Result<(Authority, String), CharterError> {
    let key = secret.key.clone();
    let texts = secret_texts(secret)?;
    let damaged = |why: String| CharterError::Damaged {
        key: key.clone(),
        why,
    };
    let text = |name: &str| {
        let value = texts.get(name);
        value.ok_or_else(|| damaged(format!("it has no {name}")))
    };
    let authority = Authority::from_pem(text("ca.crt")?, text("ca.key")?);
    let authority = authority.map_err(|e: PkiError| damaged(e.to_string()))?;
    Ok((authority, text("bundle.crt")?.clone()))
}

/// What is noted on the Nodes of those who are signed for by this CA, with this bundle.
pub fn marks(authority: &Authority, bundle_pem: &str) -> CaMarks {
    CaMarks {
        signer: hex(&authority.sha256()),
        bundle: sha256_hex(bundle_pem.as_bytes()),
    }
}

/// The servers' key for seals.
pub fn seal_key(view: &dyn View) -> Result<[u8; KEY_BYTES], CharterError> {
    let key = seal_key_key();
    let damaged = |why: &str| CharterError::Damaged {
        key: key.clone(),
        why: why.to_string(),
    };
    let stored = view.get(&key);
    let stored = stored.ok_or_else(|| CharterError::Missing { key: key.clone() })?;
    let secret = stored.typed::<Secret>();
    let secret = secret.map_err(|e| damaged(&e.to_string()))?;
    let bytes = secret.data.as_ref().and_then(|d| d.get("key"));
    let bytes = bytes.ok_or_else(|| damaged("it has no key"))?;
    let bytes = bytes.0.as_slice().try_into();
    bytes.map_err(|_| damaged("its key has not 32 bytes"))
}
