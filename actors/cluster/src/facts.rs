//! What makes a Node object that of a member: annotations that only servers write (a node's own
//! identity is refused them by admission).

use kabuki_model::Stored;
use kabuki_protocol::join::Role;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Hex SHA-256 of the public key that the node joined with.
pub const KEY: &str = "cluster.kabuki.dev/key";
/// `server` or `worker`.
pub const ROLE: &str = "cluster.kabuki.dev/role";
/// The server's number in Raft, in decimal.
pub const SERVER_ID: &str = "cluster.kabuki.dev/server-id";
/// `HOST:PORT` of the node's port.
pub const ADDRESS: &str = "cluster.kabuki.dev/address";
/// The version of the program that the node runs.
pub const VERSION: &str = "cluster.kabuki.dev/version";
/// Keeps the Node of a server until its vote is gone.
pub const VOTE_FINALIZER: &str = "cluster.kabuki.dev/vote";

/// A member, as its Node object tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberNode {
    /// The node's name.
    pub name: String,
    /// The key that it joined with.
    pub key: String,
    /// Its role.
    pub role: Role,
    /// Its number in Raft, of servers.
    pub server_id: Option<u64>,
    /// Its port.
    pub address: String,
    /// The version of its program, as of its joining.
    pub program: String,
    /// Somebody has asked for its removal.
    pub leaving: bool,
}

/// The part of a Node object that is read here.
#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    deletion_timestamp: Option<String>,
}

/// The member that a Node object stands for; `None` when it is none.
pub fn member(node: &Stored) -> Option<MemberNode> {
    let Metadata {
        annotations,
        deletion_timestamp,
    } = serde_json::from_slice::<Node>(&node.json).ok()?.metadata;
    let fact = |name: &str| annotations.get(name).cloned();
    let role = match fact(ROLE)?.as_str() {
        "server" => Role::Server,
        "worker" => Role::Worker,
        _ => return None,
    };
    let server_id = fact(SERVER_ID).and_then(|id| id.parse().ok());
    Some(MemberNode {
        name: node.key.name.to_string(),
        key: fact(KEY)?,
        role,
        server_id: server_id.filter(|_| role == Role::Server),
        address: fact(ADDRESS).unwrap_or_default(),
        program: fact(VERSION).unwrap_or_default(),
        leaving: deletion_timestamp.is_some(),
    })
}
