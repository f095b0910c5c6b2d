//! A machine that wants to become a node, to a server of the cluster: over TLS with the protocol
//! name [`ALPN`], without a certificate of its own. The server speaks first, so that a joiner
//! whose clock or version cannot work knows it before it shows its token.
//!
//! The joiner has verified the server against the token's hash of the CA before it reads anything.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The protocol name of joining in the TLS handshake.
pub const ALPN: &[u8] = b"kabuki-join/1";
/// How far two clocks may be apart, in seconds: certificates begin this much in the past.
pub const MAX_CLOCK_SKEW_S: i64 = 300;

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the state, and runs pods.
    Server,
    /// Runs pods.
    Worker,
}

/// Which versions of the wire and the log a program speaks; both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRange {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

/// The server's first word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinHello {
    /// Which cluster this is.
    pub cluster_id: String,
    /// The server's node.
    pub node: String,
    /// The server's clock: seconds since the epoch.
    pub now_s: i64,
    /// The program's version, for people.
    pub program: String,
    /// What the cluster speaks.
    pub versions: VersionRange,
}

/// What the joiner asks.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The public part of the token.
    pub token_id: String,
    /// The secret part of the token.
    pub token_secret: String,
    /// The name that the node wants.
    pub name: String,
    /// The role that it wants; `None` leaves it to the cluster.
    pub role: Option<Role>,
    /// The certificate request, in PEM. Only its key is taken from it.
    pub csr_pem: String,
    /// The joiner's clock: seconds since the epoch.
    pub now_s: i64,
    /// The program's version, for people.
    pub program: String,
    /// What the joiner speaks.
    pub versions: VersionRange,
    /// Where others reach the joiner's port: `HOST:PORT`.
    pub address: String,
    /// Every address of the joiner's host, for a server's certificate.
    pub host_addresses: Vec<std::net::IpAddr>,
    /// Labels for its Node object.
    pub labels: BTreeMap<String, String>,
    /// Taints for its Node object, as JSON.
    pub taints_json: Vec<String>,
}

impl std::fmt::Debug for JoinRequest {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinRequest")
            .field("token_id", &self.token_id)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerAddress {
    /// Its node's name.
    pub name: String,
    /// Its port: `HOST:PORT`.
    pub address: String,
    /// Its number among the voters and learners.
    pub server_id: u64,
}

/// What a new member gets.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// Which cluster this is.
    pub cluster_id: String,
    /// The role that was granted.
    pub role: Role,
    /// Its number among the servers; `None` for a worker.
    pub server_id: Option<u64>,
    /// Its certificate, in PEM.
    pub certificate_pem: String,
    /// Every CA that the cluster trusts, in PEM.
    pub bundle_pem: String,
    /// The key under which it seals its messages to other members.
    pub seal_key: Vec<u8>,
    /// The block of its pods.
    pub pod_cidr: String,
    /// The range of all pods.
    pub cluster_cidr: String,
    /// The range of services.
    pub service_cidr: String,
    /// The servers, the new one included.
    pub servers: Vec<ServerAddress>,
}

impl std::fmt::Debug for Joined {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joined")
            .field("cluster_id", &self.cluster_id)
            .field("role", &self.role)
            .field("server_id", &self.server_id)
            .field("pod_cidr", &self.pod_cidr)
            .finish_non_exhaustive()
    }
}

/// Why a machine may not join, in words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum JoinRefusal {
    /// No such token, or its secret is another.
    #[error(
        "the token is not known to the cluster: it is wrong or was deleted; make a new one with \
         `kabuki token create`"
    )]
    UnknownToken,
    /// It was good for a time that has passed.
    #[error("the token expired at {at}; make a new one with `kabuki token create`")]
    Expired {
        /// When.
        at: String,
    },
    /// It was good for one node.
    #[error(
        "the token was good for one node and has been used by {by}; make a new one with `kabuki \
         token create`"
    )]
    Used {
        /// By which node.
        by: String,
    },
    /// The token is for the other role.
    #[error("the token is for a {allowed}, not for a {wanted}; use another, or `--role {allowed}`")]
    Role {
        /// What it allows.
        allowed: String,
        /// What was asked for.
        wanted: String,
    },
    /// There is a node of this name.
    #[error(
        "there is a node named {name:?} already; give --name with another, or remove it first \
         with `kabuki delete node {name}`"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The clocks are too far apart.
    #[error(
        "this machine's clock is {seconds} s {direction} the cluster's; set it (at most 300 s are \
         allowed)"
    )]
    ClockSkew {
        /// How far.
        seconds: i64,
        /// `ahead of` or `behind`.
        direction: String,
    },
    /// The programs are too far apart.
    #[error(
        "this node's kabuki {joiner} speaks versions {joiner_oldest} to {joiner_newest} of the \
         cluster's protocol, the cluster's kabuki {cluster} speaks {oldest} to {newest}: use a \
         neighbouring version"
    )]
    Version {
        /// The joiner's program.
        joiner: String,
        /// What the joiner speaks.
        joiner_oldest: u32,
        /// What the joiner speaks.
        joiner_newest: u32,
        /// The cluster's program.
        cluster: String,
        /// What the cluster speaks.
        oldest: u32,
        /// What the cluster speaks.
        newest: u32,
    },
    /// The pod range has no block left.
    #[error("the cluster's pod range {range} has no block left for another node")]
    NoPodCidr {
        /// The range.
        range: String,
    },
    /// Something in the request cannot be.
    #[error("the request to join is not acceptable: {0}")]
    Invalid(String),
    /// The cluster has no leader at the moment, or cannot answer; worth trying again.
    #[error("the cluster cannot admit a node now: {0}")]
    Unavailable(String),
}
