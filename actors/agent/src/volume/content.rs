//! The files of `configMap` and `secret` volumes.

use super::VolumeError;
use crate::api;
use crate::services::Services;
use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Pod, Secret, Volume};
use kabuki_model::Resource;
use std::collections::BTreeMap;

/// A file to be written: its path in the volume, its bytes and its mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VolumeFile {
    pub path: String,
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// What files have when nothing says otherwise.
const DEFAULT_MODE: i32 = 0o644;

/// Reads the object that the volume names and picks its files.
pub(super) async fn fetch(
    services: &Services,
    pod: &Pod,
    volume: &Volume,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(source) = &volume.config_map {
        let held = api::get::<ConfigMap>(
            &services.api,
            Resource::CONFIG_MAPS,
            namespace,
            &source.name,
        )
        .await?;
        let optional = source.optional == Some(true);
        let Some(held) = held else {
            return absent(optional, "configmap", &source.name);
        };
        let text = held
            .data
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.clone().into_bytes()));
        let binary = held
            .binary_data
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.0.clone()));
        let items = source.items.as_deref();
        return pick(
            "config",
            text.chain(binary).collect(),
            items,
            source.default_mode,
            optional,
        );
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let held = api::get::<Secret>(&services.api, Resource::SECRETS, namespace, name).await?;
        let optional = source.optional == Some(true);
        let Some(held) = held else {
            return absent(optional, "secret", name);
        };
        let data = held
            .data
            .iter()
            .flatten()
            .map(|(k, v)| (k.clone(), v.0.clone()))
            .collect();
        return pick(
            "secret",
            data,
            source.items.as_deref(),
            source.default_mode,
            optional,
        );
    }
    Ok(Vec::new())
}

fn absent(optional: bool, kind: &str, name: &str) -> Result<Vec<VolumeFile>, VolumeError> {
    match optional {
        true => Ok(Vec::new()),
        false => Err(VolumeError::Refused(format!("{kind} {name:?} not found"))),
    }
}

fn pick(
    kind: &str,
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    default_mode: Option<i32>,
    optional: bool,
) -> Result<Vec<VolumeFile>, VolumeError> {
    let mode = |own: Option<i32>| {
        let mode = own.or(default_mode).unwrap_or(DEFAULT_MODE);
        u32::try_from(mode).unwrap_or(DEFAULT_MODE as u32) & 0o7777
    };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all = data.into_iter().map(|(path, bytes)| VolumeFile {
            path,
            bytes,
            mode: mode(None),
        });
        return Ok(all.collect());
    };
    let mut files = Vec::new();
    for item in items {
        if item.user.is_some() {
            let text = format!("items[].user of key {} is not supported", item.key);
            return Err(VolumeError::Refused(text));
        }
        match data.get(&item.key) {
            Some(bytes) => files.push(VolumeFile {
                path: item.path.clone(),
                bytes: bytes.clone(),
                mode: mode(item.mode),
            }),
            None if optional => {}
            None => {
                let text = format!("references non-existent {kind} key: {}", item.key);
                return Err(VolumeError::Refused(text));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> BTreeMap<String, Vec<u8>> {
        [
            ("a".to_string(), b"1".to_vec()),
            ("b".to_string(), b"2".to_vec()),
        ]
        .into()
    }

    #[test]
    fn items_choose_paths_and_modes() {
        let items = [KeyToPath {
            key: "b".to_string(),
            path: "x/y".to_string(),
            mode: Some(0o400),
            ..KeyToPath::default()
        }];
        let files = pick("secret", data(), Some(&items), None, false).expect("files");
        let expected = VolumeFile {
            path: "x/y".to_string(),
            bytes: b"2".to_vec(),
            mode: 0o400,
        };
        assert_eq!(files, [expected]);
        let all = pick("secret", data(), None, Some(0o600), false).expect("files");
        assert_eq!(
            all.iter().map(|f| f.mode).collect::<Vec<_>>(),
            [0o600, 0o600]
        );
    }

    #[test]
    fn a_key_that_is_missing_is_named_unless_it_is_optional() {
        let items = [KeyToPath {
            key: "no".to_string(),
            path: "x".to_string(),
            ..KeyToPath::default()
        }];
        let refused = pick("config", data(), Some(&items), None, false);
        let text = refused.expect_err("refused").to_string();
        assert_eq!(text, "references non-existent config key: no");
        assert!(
            pick("config", data(), Some(&items), None, true)
                .expect("none")
                .is_empty()
        );
    }
}
