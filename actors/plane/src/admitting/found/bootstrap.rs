//! What the founder writes into the state once it serves; done again until all of it is there.

use super::plan::remove;
use super::{FoundError, Founding};
use crate::admitting::blocks::Block;
use crate::admitting::charter::{self, CA_TYPE, Charter, NAMESPACE, SEAL_TYPE, marks};
use crate::admitting::decide::{host_addresses, pod_cidr};
use crate::admitting::ground::Ground;
use crate::admitting::node::{annotation, merge, node_key};
use crate::token::{keys_key, new_secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use kabuki_cluster::Credentials;
use kabuki_cluster::authority::{Authority, PkiError};
use kabuki_cluster::facts::{ADDRESS, VOTE_FINALIZER, member};
use kabuki_model::request::{DeleteOptions, Request, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::ApiHandle;
use serde_json::{Value, json};
use std::path::Path;

/// Why the state could not be given what a cluster needs.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] PkiError),
    /// What was founded cannot be.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// The state refused, or has no leader.
    #[error(transparent)]
    Refused(#[from] StatusError),
}

/// Writes what the founder of a cluster owes to the state, and lets go of its own copy of the CA's
/// key: from then on the state is the truth. On other servers it only makes sure that there are keys
/// for tokens, which clusters of earlier versions lack. The namespace
/// `kube-system` must exist.
pub async fn bootstrap_cluster(
    ground: &dyn Ground,
    data_dir: &Path,
    credentials: &Credentials,
) -> Result<(), BootstrapError> {
    let Some(founding) = Founding::load(data_dir)? else {
        token_keys(ground).await?;
        // The last step may have been interrupted.
        return Ok(remove_ca_key(data_dir, &*ground.newest().await?)?);
    };
    let api = ground.api(None);
    let view = ground.newest().await?;
    if founding.alone {
        // It comes from a cluster that had all of it.
        Charter::read(&*view).map_err(FoundError::from)?;
        charter::authority(&*view).map_err(FoundError::from)?;
    }
    if view.get(&charter::ca_key()).is_none() {
        create(&api, ca_secret(&Authority::open(data_dir)?)).await?;
    }
    if view.get(&charter::seal_key_key()).is_none() {
        create(&api, seal_secret(credentials)).await?;
    }
    if view.get(&charter::cluster_key()).is_none() {
        let charter = founding.charter()?;
        create(&api, charter.to_value(&founding.program)).await?;
    }
    token_keys(ground).await?;
    let view = ground.newest().await?;
    own_node(&api, &*view, &founding).await?;
    if founding.alone {
        forget_others(&api, &*view, &founding.name).await?;
    }
    remove_ca_key(data_dir, &*ground.newest().await?)?;
    Ok(Founding::done(data_dir)?)
}

/// The keys that sign tokens of service accounts, if the cluster has none yet.
async fn token_keys(ground: &dyn Ground) -> Result<(), BootstrapError> {
    let view = ground.newest().await?;
    if view.get(&keys_key()).is_some() {
        return Ok(());
    }
    let secret = new_secret().map_err(|source| PkiError::Sign {
        subject: "the tokens of service accounts".to_string(),
        source,
    })?;
    Ok(create(&ground.api(None), secret).await?)
}

impl Founding {
    fn charter(&self) -> Result<Charter, FoundError> {
        let range = |what: &'static str, text: &str| {
            let block = text.parse::<Block>();
            block.map_err(|why| FoundError::Range { what, why })
        };
        Ok(Charter {
            cluster_id: self.cluster_id.clone(),
            pod_cidr: range("range of pods", &self.pod_cidr)?,
            service_cidr: range("range of services", &self.service_cidr)?,
            node_prefix: self.node_prefix,
        })
    }
}

/// The file goes once the state has the CA.
fn remove_ca_key(data_dir: &Path, view: &dyn View) -> Result<(), PkiError> {
    match charter::authority(view) {
        Ok(_) => remove(&data_dir.join("pki").join("ca.key")),
        Err(_) => Ok(()),
    }
}

fn secret(name: &str, kind: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind,
        "metadata": {"name": name, "namespace": NAMESPACE}, "data": data,
    })
}

fn ca_secret(authority: &Authority) -> Value {
    let certificate = STANDARD.encode(authority.certificate_pem());
    let data = json!({
        "ca.crt": certificate, "ca.key": STANDARD.encode(authority.key_pem()),
        "bundle.crt": certificate,
    });
    secret("kabuki-ca", CA_TYPE, data)
}

fn seal_secret(credentials: &Credentials) -> Value {
    let key = STANDARD.encode(credentials.seal_key());
    secret("kabuki-seal", SEAL_TYPE, json!({"key": key}))
}

async fn create(api: &ApiHandle, object: Value) -> Result<(), StatusError> {
    let resource = match object["kind"] == "Secret" {
        true => Resource::SECRETS,
        false => Resource::CONFIG_MAPS,
    };
    let request = Request::Create {
        resource,
        namespace: NAMESPACE.into(),
        object: Bytes::from(object.to_string()),
        options: WriteOptions::default(),
    };
    match api.request(request).await {
        // An attempt whose answer was lost.
        Err(error) if error.reason == Reason::AlreadyExists => Ok(()),
        other => other.map(drop),
    }
}

/// The founder's own Node says who it is. The agent may have made it already.
async fn own_node(
    api: &ApiHandle,
    view: &dyn View,
    founding: &Founding,
) -> Result<(), BootstrapError> {
    let (authority, bundle) = charter::authority(view).map_err(FoundError::from)?;
    let mut facts = founding.facts(marks(&authority, &bundle));
    let key = node_key(&facts.name);
    for _ in 0..16 {
        let request = match api.request(get(&key)).await {
            Ok(answer) => {
                let node = answer.into_object();
                let node = node.ok_or_else(|| StatusError::internal("a Node is no object"))?;
                // A block never changes once a Node has one.
                if let Some(held) = pod_cidr(&node) {
                    facts.pod_cidr = held.to_string();
                }
                if facts.address.is_empty() {
                    let told = annotation(&node, ADDRESS);
                    facts.address = told.unwrap_or_default().to_string();
                }
                if facts.host_addresses.is_empty() {
                    facts.host_addresses = host_addresses(&node);
                }
                facts.adopt(&node)
            }
            Err(error) if error.reason == Reason::NotFound => facts.create(),
            Err(error) => return Err(error.into()),
        };
        match api.request(request).await {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.reason, Reason::Conflict | Reason::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let why = "this node's own object is being changed by others all the time";
    Err(StatusError::too_many_requests(why).into())
}

fn get(key: &ObjectKey) -> Request {
    Request::Get {
        key: key.clone(),
        subresource: None,
    }
}

/// Removes the Nodes of the servers that are gone for good: they must not be waited for.
async fn forget_others(
    api: &ApiHandle,
    view: &dyn View,
    own_name: &str,
) -> Result<(), StatusError> {
    let nodes = view.scan(&Resource::NODES, None, None);
    let others = nodes.filter(|n| {
        let known = member(n);
        known.is_some_and(|m| m.server_id.is_some() && m.name != own_name)
    });
    for node in others {
        let kept = node.meta().finalizers.iter().flatten();
        let kept: Vec<&String> = kept.filter(|f| *f != VOTE_FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": kept}});
        let delete = Request::Delete {
            key: node.key.clone(),
            options: DeleteOptions::default(),
        };
        for request in [merge(&node.key, &patch), delete] {
            match api.request(request).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
