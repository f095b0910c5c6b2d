//! Founding: the first server of a cluster, and one that begins a cluster anew from a backup.
//!
//! ```text
//! found()               pki/ca.crt ca.key, node.key, node.crt, seal.key
//! refound()             node.key, node.crt, seal.key, of the CA of the state
//!                       founding.json, member.json last
//! bootstrap_cluster()   the state has it all; pki/ca.key and founding.json go
//! ```
//!
//! Each step may be interrupted at any point and is done again: without `member.json` there is no
//! node, and while `founding.json` is there the state may lack something.

mod bootstrap;
mod plan;

pub use bootstrap::bootstrap_cluster;
pub use plan::{Founding, FoundingArgs};

use super::blocks::Block;
use super::charter::{self, Charter, CharterError};
use super::decide::pod_block;
use super::signing::certificate_addresses;
use kabuki_cluster::authority::{Authority, PkiError};
use kabuki_cluster::credentials::NodeKey;
use kabuki_cluster::member::{self, Member, MemberError};
use kabuki_cluster::seal::KEY_BYTES;
use kabuki_cluster::{Credentials, files};
use kabuki_model::view::View;
use kabuki_model::{Resource, Stored};
use kabuki_protocol::join::{Role, ServerAddress};
use std::path::Path;

/// Why a cluster could not be founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// This is a node already.
    #[error(
        "{path} says that this machine is node {name} of a cluster already: remove the node first \
         with `kabuki reset`"
    )]
    Member {
        /// Its membership.
        path: std::path::PathBuf,
        /// Its name.
        name: String,
    },
    /// A range of addresses cannot be.
    #[error("the {what}: {why}")]
    Range {
        /// Which.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The state that is to be begun from has no cluster.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// Certificates could not be made or written.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The membership could not be read or written.
    #[error(transparent)]
    MemberFile(#[from] MemberError),
}

/// Makes this machine the first server of a new cluster.
pub fn found(args: &FoundingArgs) -> Result<(Member, Credentials), FoundError> {
    let charter = args.charter(new_cluster_id())?;
    refuse_member(&args.data_dir)?;
    let authority = Authority::open(&args.data_dir)?;
    let bundle = authority.certificate_pem().to_string();
    let seal_key: [u8; KEY_BYTES] = rand::random();
    settle(args, charter, (&authority, &bundle), &seal_key, false)
}

/// Makes this machine the only server of the cluster that a state tells of, all other servers of
/// which must not come back: after a restored backup, with another machine. A machine that is a
/// member already keeps what it is: [`Founding::again`].
pub fn refound(args: &FoundingArgs, view: &dyn View) -> Result<(Member, Credentials), FoundError> {
    refuse_member(&args.data_dir)?;
    let charter = Charter::read(view)?;
    let block = free_block(&charter, view, &args.name)?;
    let args = &FoundingArgs {
        pod_cidr: Some(block.to_string()),
        ..args.clone()
    };
    let (authority, bundle) = charter::authority(view)?;
    let seal_key = charter::seal_key(view)?;
    settle(args, charter, (&authority, &bundle), &seal_key, true)
}

/// The block that the Node of this name has, else one that no other has.
fn free_block(charter: &Charter, view: &dyn View, name: &str) -> Result<Block, FoundError> {
    let nodes = view.scan(&Resource::NODES, None, None);
    let nodes: Vec<&Stored> = nodes.map(|n| &**n).collect();
    let own = nodes.iter().find(|n| &*n.key.name == name).copied();
    pod_block(charter, &nodes, own).map_err(|why| FoundError::Range {
        what: "node's own range of pods",
        why: why.to_string(),
    })
}

fn refuse_member(data_dir: &Path) -> Result<(), FoundError> {
    match Member::load(data_dir)? {
        Some(member) => Err(FoundError::Member {
            path: Member::path(data_dir),
            name: member.name,
        }),
        None => Ok(()),
    }
}

/// A name that no other cluster has.
fn new_cluster_id() -> String {
    kabuki_cluster::certificate::hex(&rand::random::<[u8; 16]>())
}

fn settle(
    args: &FoundingArgs,
    charter: Charter,
    (authority, bundle): (&Authority, &str),
    seal_key: &[u8; KEY_BYTES],
    alone: bool,
) -> Result<(Member, Credentials), FoundError> {
    let dir = &args.data_dir;
    files::private_dir(dir)?;
    let key = NodeKey::of(dir)?;
    let csr = key.csr_pem(&args.name)?;
    let addresses = certificate_addresses(&args.host_addresses, &charter);
    let certificate = authority.node_certificate(&csr, &args.name, Role::Server, &addresses)?;
    let founding = Founding {
        cluster_id: charter.cluster_id.clone(),
        pod_cidr: charter.pod_cidr.to_string(),
        service_cidr: charter.service_cidr.to_string(),
        node_prefix: charter.node_prefix,
        name: args.name.clone(),
        key: key.sha256().to_string(),
        server_id: args.server_id.unwrap_or_else(fresh_id).to_string(),
        address: args.address.clone(),
        host_addresses: args.host_addresses.clone(),
        program: args.program.clone(),
        own_block: args.own_block(&charter)?.to_string(),
        labels: args.labels.clone(),
        taints: args.taints.clone(),
        alone,
    };
    let credentials = Credentials::create(dir, key, &certificate, bundle, seal_key)?;
    founding.save(dir)?;
    let server_id = founding.server_id.parse().unwrap_or_default();
    let member = Member {
        version: member::VERSION,
        cluster_id: founding.cluster_id,
        name: founding.name.clone(),
        role: Role::Server,
        server_id: Some(server_id),
        pod_cidr: founding.own_block,
        cluster_cidr: founding.pod_cidr,
        service_cidr: founding.service_cidr,
        servers: vec![ServerAddress {
            name: founding.name,
            address: founding.address,
            server_id,
        }],
    };
    member.save(dir)?;
    Ok((member, credentials))
}

fn fresh_id() -> u64 {
    rand::random::<u64>().max(1)
}
