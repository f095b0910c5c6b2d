//! The files of the volumes that show what the API holds: `configMap`, `secret`, `downwardAPI` and
//! `projected` (Kubernetes, "Volumes" and "Projected Volumes"). What they are made from is an
//! argument; who fetches it, and how files reach a disk, is the agent's business.

mod token;

pub use token::{TokenWish, rotate_after, token_wishes};

use crate::process::{ConfigError, PodFacts, References, field, resource};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapProjection, DownwardAPIVolumeFile, KeyToPath, Pod, Secret,
    SecretProjection, Volume, VolumeProjection,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFile {
    /// Its path in the volume.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Its owner; `None` is root.
    pub owner: Option<u32>,
}

/// What volumes are made from. An object that is not here does not exist.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Config maps by name.
    pub config_maps: HashMap<String, Arc<ConfigMap>>,
    /// Secrets by name.
    pub secrets: HashMap<String, Arc<Secret>>,
    /// Tokens of the pod's account.
    pub tokens: HashMap<TokenWish, String>,
}

/// What files have when nothing says otherwise.
const DEFAULT_MODE: u32 = 0o644;
/// A token that a group or one user is to read is nobody else's business.
const TOKEN_MODE: u32 = 0o600;

/// Whether the volume shows what the API holds.
pub fn shows_api(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// Whether the volume shows something of its pod, which may change.
pub fn shows_pod(volume: &Volume) -> bool {
    let projected = volume.projected.iter().flat_map(|p| p.sources.iter());
    volume.downward_api.is_some() || projected.flatten().any(|s| s.downward_api.is_some())
}

/// The objects that the volume names.
pub fn references(volume: &Volume) -> References {
    let mut all = References::default();
    let config_maps = volume.config_map.iter().map(|c| c.name.clone());
    all.config_maps.extend(config_maps);
    let secrets = volume.secret.iter().filter_map(|s| s.secret_name.clone());
    all.secrets.extend(secrets);
    for source in sources(volume) {
        all.config_maps
            .extend(source.config_map.as_ref().map(|c| c.name.clone()));
        all.secrets
            .extend(source.secret.as_ref().map(|s| s.name.clone()));
    }
    all
}

fn sources(volume: &Volume) -> impl Iterator<Item = &VolumeProjection> {
    let projected = volume.projected.iter();
    projected.flat_map(|p| p.sources.iter().flatten())
}

/// The files of a volume.
///
/// # Errors
/// In Kubernetes' words, naming the object or key that is not there.
pub fn files(
    pod: &Pod,
    facts: &PodFacts,
    volume: &Volume,
    from: &Contents,
) -> Result<Vec<VolumeFile>, ConfigError> {
    let mut made = Made {
        pod,
        facts,
        from,
        mode: DEFAULT_MODE,
        files: BTreeMap::new(),
    };
    if let Some(source) = &volume.config_map {
        made.mode = mode_of(source.default_mode, DEFAULT_MODE);
        let (items, optional) = (source.items.as_deref(), source.optional);
        made.config_map(&source.name, items, optional)?;
    } else if let Some(source) = &volume.secret {
        made.mode = mode_of(source.default_mode, DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        made.secret(name, source.items.as_deref(), source.optional)?;
    } else if let Some(source) = &volume.downward_api {
        made.mode = mode_of(source.default_mode, DEFAULT_MODE);
        made.downward(source.items.as_deref().unwrap_or_default())?;
    } else if let Some(source) = &volume.projected {
        made.mode = mode_of(source.default_mode, DEFAULT_MODE);
        for source in source.sources.iter().flatten() {
            made.projection(source)?;
        }
    }
    Ok(made.files.into_values().collect())
}

fn mode_of(own: Option<i32>, default: u32) -> u32 {
    own.and_then(|m| u32::try_from(m).ok()).unwrap_or(default) & 0o7777
}

/// The files so far; of two with one path the later counts.
struct Made<'a> {
    pod: &'a Pod,
    facts: &'a PodFacts,
    from: &'a Contents,
    mode: u32,
    files: BTreeMap<String, VolumeFile>,
}

impl Made<'_> {
    fn add(&mut self, path: &str, bytes: Vec<u8>, mode: u32, owner: Option<u32>) {
        let path = path.to_string();
        let file = VolumeFile {
            path: path.clone(),
            bytes,
            mode,
            owner,
        };
        self.files.insert(path, file);
    }

    fn projection(&mut self, source: &VolumeProjection) -> Result<(), ConfigError> {
        if let Some(ConfigMapProjection {
            name,
            items,
            optional,
        }) = &source.config_map
        {
            self.config_map(name, items.as_deref(), *optional)?;
        }
        if let Some(SecretProjection {
            name,
            items,
            optional,
        }) = &source.secret
        {
            self.secret(name, items.as_deref(), *optional)?;
        }
        if let Some(downward) = &source.downward_api {
            self.downward(downward.items.as_deref().unwrap_or_default())?;
        }
        if let Some(wanted) = &source.service_account_token {
            let wish = TokenWish::of(wanted);
            let token = self.from.tokens.get(&wish).cloned().ok_or_else(|| {
                ConfigError::new(format!("failed to fetch token for {:?}", wanted.path))
            })?;
            let owner = token::only_user(self.pod);
            let group = self.pod.spec.as_ref().and_then(|s| {
                let shared = s.security_context.as_ref()?;
                shared.fs_group
            });
            let mode = match owner.is_some() || group.is_some() {
                true => TOKEN_MODE,
                false => self.mode,
            };
            self.add(&wanted.path, token.into_bytes(), mode, owner);
        }
        for (name, there) in [
            ("clusterTrustBundle", source.cluster_trust_bundle.is_some()),
            ("podCertificate", source.pod_certificate.is_some()),
        ] {
            if there {
                let text = format!("projected source {name} is not supported");
                return Err(ConfigError::new(text));
            }
        }
        Ok(())
    }

    fn config_map(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<(), ConfigError> {
        let optional = optional == Some(true);
        let Some(held) = self.from.config_maps.get(name) else {
            return absent(optional, "configmap", name);
        };
        let text = held.data.iter().flatten().map(|(k, v)| (k, v.as_bytes()));
        let binary = held.binary_data.iter().flatten();
        let binary = binary.map(|(k, v)| (k, v.0.as_slice()));
        self.keys("config", text.chain(binary).collect(), items, optional)
    }

    fn secret(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<(), ConfigError> {
        let optional = optional == Some(true);
        let Some(held) = self.from.secrets.get(name) else {
            return absent(optional, "secret", name);
        };
        let data = held.data.iter().flatten();
        let data = data.map(|(k, v)| (k, v.0.as_slice())).collect();
        self.keys("secret", data, items, optional)
    }

    fn keys(
        &mut self,
        kind: &str,
        data: BTreeMap<&String, &[u8]>,
        items: Option<&[KeyToPath]>,
        optional: bool,
    ) -> Result<(), ConfigError> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            for (path, bytes) in data {
                self.add(path, bytes.to_vec(), self.mode, None);
            }
            return Ok(());
        };
        for item in items {
            if item.user.is_some() {
                let text = format!("items[].user of key {} is not supported", item.key);
                return Err(ConfigError::new(text));
            }
            match data.get(&item.key) {
                Some(bytes) => {
                    let mode = mode_of(item.mode, self.mode);
                    self.add(&item.path, bytes.to_vec(), mode, None);
                }
                None if optional => {}
                None => {
                    let text = format!("references non-existent {kind} key: {}", item.key);
                    return Err(ConfigError::new(text));
                }
            }
        }
        Ok(())
    }

    fn downward(&mut self, items: &[DownwardAPIVolumeFile]) -> Result<(), ConfigError> {
        for item in items {
            let value = if let Some(selector) = &item.field_ref {
                field(self.pod, self.facts, &selector.field_path)?
            } else if let Some(selector) = &item.resource_field_ref {
                let name = selector.container_name.as_deref().unwrap_or_default();
                let spec = self.pod.spec.as_ref();
                let mut all = spec.into_iter().flat_map(|s| {
                    let first = s.init_containers.iter().flatten();
                    s.containers.iter().chain(first)
                });
                let own = all.find(|c| c.name == name);
                let own =
                    own.ok_or_else(|| ConfigError::new(format!("container {name} not found")))?;
                resource(self.pod, own, &self.facts.node, selector)?
            } else {
                let text = format!("item {} has neither field nor resource", item.path);
                return Err(ConfigError::new(text));
            };
            let mode = mode_of(item.mode, self.mode);
            self.add(&item.path, value.into_bytes(), mode, None);
        }
        Ok(())
    }
}

fn absent(optional: bool, kind: &str, name: &str) -> Result<(), ConfigError> {
    match optional {
        true => Ok(()),
        false => Err(ConfigError::new(format!("{kind} {name:?} not found"))),
    }
}

#[cfg(test)]
mod tests;
