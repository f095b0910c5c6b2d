//! What a founder is told, and what it still has to write into the state:
//! `<data-dir>/founding.json`. It holds no secret.

use super::FoundError;
use crate::admitting::blocks::Block;
use crate::admitting::charter::Charter;
use crate::admitting::node::{CaMarks, NodeFacts};
use kabuki_cluster::authority::PkiError;
use kabuki_cluster::{Member, files};
use kabuki_protocol::join::Role;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Blocks of nodes are not larger: 65 536 addresses.
const MIN_NODE_PREFIX: u8 = 16;
/// Nor smaller: two pods, the bridge and the broadcast address.
const MAX_NODE_PREFIX: u8 = 29;

/// What a founder is told.
#[derive(Debug, Clone)]
pub struct FoundingArgs {
    /// Where the node keeps everything.
    pub data_dir: PathBuf,
    /// Its name.
    pub name: String,
    /// `HOST:PORT` under which others reach its port.
    pub address: String,
    /// Every address of its host, for its certificate.
    pub host_addresses: Vec<IpAddr>,
    /// The range of all pods.
    pub cluster_cidr: String,
    /// The length of the prefix of each node's block.
    pub node_prefix: u8,
    /// The founder's own block; `None` is the first.
    pub pod_cidr: Option<String>,
    /// The range of services.
    pub service_cidr: String,
    /// The number of the server that wrote the state that is there already; `None` draws one.
    pub server_id: Option<u64>,
    /// The version of the program.
    pub program: String,
    /// Labels of its Node.
    pub labels: BTreeMap<String, String>,
    /// Taints of its Node.
    pub taints: Vec<Value>,
}

impl FoundingArgs {
    pub(super) fn charter(&self, cluster_id: String) -> Result<Charter, FoundError> {
        let range = |what: &'static str, text: &str| {
            let block = text.parse::<Block>();
            block.map_err(|why| FoundError::Range { what, why })
        };
        let charter = Charter {
            cluster_id,
            pod_cidr: range("range of pods", &self.cluster_cidr)?,
            service_cidr: range("range of services", &self.service_cidr)?,
            node_prefix: self.node_prefix,
        };
        let wrong = |what: &'static str, why: String| Err(FoundError::Range { what, why });
        if charter.pod_cidr.overlaps(charter.service_cidr) {
            let (pods, services) = (charter.pod_cidr, charter.service_cidr);
            return wrong(
                "range of services",
                format!("{services} shares addresses with {pods}, the range of pods"),
            );
        }
        let allowed = charter.pod_cidr.prefix().max(MIN_NODE_PREFIX)..=MAX_NODE_PREFIX;
        if !allowed.contains(&charter.node_prefix) {
            let why = format!(
                "/{} cannot be cut from {}: use /{} to /{}",
                charter.node_prefix,
                charter.pod_cidr,
                allowed.start(),
                allowed.end()
            );
            return wrong("length of a node's block", why);
        }
        self.own_block(&charter)?;
        Ok(charter)
    }

    pub(super) fn own_block(&self, charter: &Charter) -> Result<Block, FoundError> {
        let what = "node's own range of pods";
        let wrong = |why: String| FoundError::Range { what, why };
        let range = charter.pod_cidr;
        let Some(text) = &self.pod_cidr else {
            let first = range.first_free(charter.node_prefix, &[]);
            return first.ok_or_else(|| wrong(format!("{range} has no block for a node")));
        };
        let block: Block = text.parse().map_err(wrong)?;
        match range.contains(block) {
            true => Ok(block),
            false => Err(wrong(format!(
                "{block} is not in {range}, the range of pods"
            ))),
        }
    }
}

/// What a founder still has to write into the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Founding {
    pub(super) cluster_id: String,
    pub(super) pod_cidr: String,
    pub(super) service_cidr: String,
    pub(super) node_prefix: u8,
    pub(super) name: String,
    pub(super) key: String,
    pub(super) server_id: String,
    pub(super) address: String,
    pub(super) host_addresses: Vec<IpAddr>,
    pub(super) program: String,
    pub(super) own_block: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<Value>,
    /// Whether every other server of the state is gone for good.
    pub(super) alone: bool,
}

impl Founding {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("founding.json")
    }

    /// What is left to be written; `None` when the state has everything.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, PkiError> {
        let path = Self::path(data_dir);
        let Some(bytes) = files::read_bytes(&path)? else {
            return Ok(None);
        };
        let founding = serde_json::from_slice(&bytes);
        founding.map(Some).map_err(|e| PkiError::Credential {
            path,
            why: e.to_string(),
        })
    }

    pub(super) fn save(&self, data_dir: &Path) -> Result<(), PkiError> {
        let path = Self::path(data_dir);
        let text = serde_json::to_string_pretty(self).map_err(|e| PkiError::Credential {
            path: path.clone(),
            why: e.to_string(),
        })?;
        files::write_private(&path, (text + "\n").as_bytes())
    }

    pub(super) fn done(data_dir: &Path) -> Result<(), PkiError> {
        let path = Self::path(data_dir);
        remove(&path)
    }

    /// Has a server that is a member, and whose state was restored or forced to be the only one,
    /// say so in the state at its next start: the other servers are gone for good. `server_id` is
    /// its new number. Writes `founding.json`, then `member.json`.
    pub fn again(
        data_dir: &Path,
        mut member: Member,
        key_sha256: &str,
        server_id: u64,
        program: &str,
    ) -> Result<(), FoundError> {
        let mut known = member.servers.iter();
        let own = known.find(|s| s.name == member.name);
        let founding = Self {
            cluster_id: member.cluster_id.clone(),
            pod_cidr: member.cluster_cidr.clone(),
            service_cidr: member.service_cidr.clone(),
            // The state has the ranges.
            node_prefix: 0,
            name: member.name.clone(),
            key: key_sha256.to_string(),
            server_id: server_id.to_string(),
            address: own.map(|s| s.address.clone()).unwrap_or_default(),
            host_addresses: Vec::new(),
            program: program.to_string(),
            own_block: member.pod_cidr.clone(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            alone: true,
        };
        founding.save(data_dir)?;
        member.server_id = Some(server_id);
        member.servers.retain(|s| s.name == member.name);
        for server in &mut member.servers {
            server.server_id = server_id;
        }
        member.save(data_dir)?;
        Ok(())
    }

    pub(super) fn facts(&self, ca: CaMarks) -> NodeFacts {
        NodeFacts {
            name: self.name.clone(),
            key: self.key.clone(),
            role: Role::Server,
            server_id: self.server_id.parse().ok(),
            address: self.address.clone(),
            host_addresses: self.host_addresses.clone(),
            program: self.program.clone(),
            pod_cidr: self.own_block.clone(),
            ca,
            labels: self.labels.clone(),
            taints: self.taints.clone(),
        }
    }
}

pub(super) fn remove(path: &Path) -> Result<(), PkiError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(PkiError::File {
            path: path.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}
