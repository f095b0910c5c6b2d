//! The image configuration: what the image says of how to run it.
//!
//! Written by OCI tools and by Docker alike (OCI image specification, "Image Configuration");
//! both write `null` for what is not set, and Docker writes more fields, which do not matter
//! for running.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    digest::Digest,
    error::{ImageError, Result},
};

/// The part of an image's configuration that a container inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    #[serde(
        deserialize_with = "keys",
        serialize_with = "as_keys",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exposed_ports: Vec<String>,
    /// `NAME=value`, in the image's order.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(
        deserialize_with = "keys",
        serialize_with = "as_keys",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub volumes: Vec<String>,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// A signal's name or number; empty means `SIGTERM`.
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub stop_signal: String,
}

/// The whole configuration document.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    #[serde(default, deserialize_with = "nullable")]
    pub config: ImageConfig,
    pub rootfs: RootFs,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

impl ConfigFile {
    pub fn parse(bytes: &[u8], id: &Digest) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| ImageError::BadManifest {
            what: format!("image configuration {id}"),
            reason: error.to_string(),
        })
    }

    /// The chain identity of each layer, lowest first.
    pub fn chains(&self) -> Vec<Digest> {
        let mut chains: Vec<Digest> = Vec::with_capacity(self.rootfs.diff_ids.len());
        for diff in &self.rootfs.diff_ids {
            chains.push(Digest::chain(chains.last(), diff));
        }
        chains
    }
}

fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Sets are written as objects with empty values.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let set = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(set.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: serde::Serializer>(keys: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(keys.iter().map(|key| (key, BTreeMap::<(), ()>::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_unknown_fields_of_other_tools_are_accepted() {
        let json = br#"{"architecture":"amd64","os":"linux","container":"x","config":{
            "Cmd":null,"Entrypoint":["/app"],"Env":["A=1"],"ExposedPorts":{"80/tcp":{}},
            "Volumes":null,"Labels":null,"OnBuild":null,"User":"app","StopSignal":"SIGQUIT"},
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let file = ConfigFile::parse(json, &Digest::of(json)).unwrap();
        assert_eq!(file.config.entrypoint, ["/app"]);
        assert_eq!(file.config.exposed_ports, ["80/tcp"]);
        assert_eq!(file.config.user, "app");
        assert!(file.config.cmd.is_empty() && file.chains().is_empty());
    }

    #[test]
    fn a_configuration_survives_writing_and_reading() {
        let config = ImageConfig {
            exposed_ports: vec!["80/tcp".into()],
            volumes: vec!["/data".into()],
            env: vec!["A=1".into()],
            ..ImageConfig::default()
        };
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ImageConfig>(&json).unwrap(), config);
    }
}
