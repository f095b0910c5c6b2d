//! Who this node is in its cluster: `<data-dir>/member.json`, written once when it founds or joins,
//! and again when the servers change.

use crate::authority::PkiError;
use crate::files;
use kabuki_protocol::join::{Role, ServerAddress};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of the file that this program writes.
pub const VERSION: u32 = 1;

/// A node's membership.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// The version of this file.
    pub version: u32,
    /// Which cluster.
    pub cluster_id: String,
    /// This node's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its number among the servers.
    #[serde(with = "decimal")]
    pub server_id: Option<u64>,
    /// The block of its pods.
    pub pod_cidr: String,
    /// The range of all pods.
    pub cluster_cidr: String,
    /// The range of services.
    pub service_cidr: String,
    /// The servers, as last known.
    #[serde(with = "servers")]
    pub servers: Vec<ServerAddress>,
}

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] PkiError),
    /// It is not what it should be.
    #[error(
        "{path} is damaged: {why}; restore it from a backup, or remove this node from the \
         cluster, reset it, and let it join again"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another program wrote it.
    #[error("{path} has version {found}; this kabuki knows {VERSION}: use a newer one")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

impl Member {
    /// Where the membership of a data directory lies.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("member.json")
    }

    /// Reads the membership of a data directory; `None` when it has none.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, MemberError> {
        let path = Self::path(data_dir);
        let Some(bytes) = files::read_bytes(&path)? else {
            return Ok(None);
        };
        let damaged = |why: String| MemberError::Damaged {
            path: path.clone(),
            why,
        };
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        // First: another version may have other fields.
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(found) if found == u64::from(VERSION) => {}
            Some(found) if found > u64::from(VERSION) => {
                return Err(MemberError::Version { path, found });
            }
            _ => return Err(damaged("it has no version that is known".to_string())),
        }
        let member: Self = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        if (member.role == Role::Server) != member.server_id.is_some() {
            return Err(damaged("only a server has a serverId".to_string()));
        }
        Ok(Some(member))
    }

    /// Writes the membership: complete after a crash, or as it was.
    pub fn save(&self, data_dir: &Path) -> Result<(), MemberError> {
        let path = Self::path(data_dir);
        let mut text = serde_json::to_string_pretty(self).map_err(|e| MemberError::Damaged {
            path: path.clone(),
            why: e.to_string(),
        })?;
        text.push('\n');
        files::private_dir(data_dir)?;
        files::write_private(&path, text.as_bytes())?;
        Ok(())
    }
}

/// Numbers of 64 bits as text: other readers of JSON have 53.
mod decimal {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        number: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.map(|n| n.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parse = |text: String| text.parse().map_err(D::Error::custom);
        text.map(parse).transpose()
    }
}

/// The servers, with their numbers as text.
mod servers {
    use super::{Deserialize, Serialize, ServerAddress};
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Entry {
        name: String,
        address: String,
        server_id: String,
    }

    pub(super) fn serialize<S: Serializer>(
        servers: &[ServerAddress],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(servers.iter().map(|server| Entry {
            name: server.name.clone(),
            address: server.address.clone(),
            server_id: server.server_id.to_string(),
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<ServerAddress>, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        let server = |entry: Entry| {
            Ok(ServerAddress {
                server_id: entry.server_id.parse().map_err(D::Error::custom)?,
                name: entry.name,
                address: entry.address,
            })
        };
        entries.into_iter().map(server).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn member() -> Member {
        Member {
            version: VERSION,
            cluster_id: "c".to_string(),
            name: "a".to_string(),
            role: Role::Server,
            server_id: Some(u64::MAX),
            pod_cidr: "10.42.0.0/24".to_string(),
            cluster_cidr: "10.42.0.0/16".to_string(),
            service_cidr: "10.43.0.0/16".to_string(),
            servers: vec![ServerAddress {
                name: "a".to_string(),
                address: "192.0.2.1:6443".to_string(),
                server_id: u64::MAX,
            }],
        }
    }

    #[test]
    fn a_membership_survives_the_disk_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Member::load(dir.path()).expect("reads"), None);
        member().save(dir.path()).expect("writes");
        assert_eq!(Member::load(dir.path()).expect("reads"), Some(member()));
        let metadata = std::fs::metadata(Member::path(dir.path())).expect("the file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn damage_is_named_with_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        member().save(dir.path()).expect("writes");
        let whole = std::fs::read_to_string(Member::path(dir.path())).expect("the file");
        let cases = [
            (whole[..whole.len() / 2].to_string(), "is damaged"),
            (String::new(), "is damaged"),
            ("[]".to_string(), "no version"),
            (
                whole.replace("\"version\": 1", "\"version\": 7"),
                "has version 7",
            ),
            (whole.replace("podCidr", "podSider"), "podSider"),
            (whole.replace("\"server\"", "\"worker\""), "serverId"),
        ];
        for (text, expected) in cases {
            std::fs::write(Member::path(dir.path()), &text).expect("writes");
            let error = Member::load(dir.path()).expect_err("it is damaged");
            let error = error.to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("member.json"), "{error}");
        }
    }
}
