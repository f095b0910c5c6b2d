//! How this node came into its cluster: it is a member already, joins with a token, or founds a
//! cluster. Two nodes never found two clusters by accident: whoever was given a token does not
//! found.

use super::addresses;
use super::config::Config;
use anyhow::{Context, bail};
use jiff::Timestamp;
use kabuki_cluster::join::{self, Newcomer, Wish};
use kabuki_cluster::{Credentials, Member};
use kabuki_plane::admitting::found::{FoundingArgs, found};
use kabuki_plane::raft::Start;
use kabuki_protocol::join::Role;
use std::net::IpAddr;
use std::path::Path;

/// This node's membership.
pub struct Membership {
    /// Who it is.
    pub member: Member,
    /// Its certificate.
    pub credentials: Credentials,
    /// Where others reach it: `HOST:PORT`.
    pub address: String,
    /// Whether it has never been ready: only then may its state be missing.
    pub fresh: bool,
}

impl Membership {
    /// What an empty state directory becomes.
    pub fn start(&self) -> Start {
        match (self.fresh, self.member.servers.len()) {
            (false, _) => Start::Reopen,
            (true, 0..=1) => Start::Found,
            (true, _) => Start::Join,
        }
    }

    /// The node has been ready: from now on its state must not be missing.
    pub fn settled(&self, data_dir: &Path) -> anyhow::Result<()> {
        if !self.fresh {
            return Ok(());
        }
        let path = data_dir.join(FRESH);
        std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }
}

/// Says that a node came into its cluster, but was never ready.
const FRESH: &str = "fresh";

/// Finds out, joins, or founds.
pub async fn settle(config: &Config) -> anyhow::Result<Membership> {
    let known = Member::load(&config.data_dir)?;
    let mark = config.data_dir.join(FRESH);
    if known.is_none() {
        std::fs::write(&mark, "").with_context(|| format!("cannot write {}", mark.display()))?;
    }
    let fresh = mark.exists();
    match (known, &config.joining.token) {
        (Some(member), token) => {
            let credentials = Credentials::load(&config.data_dir)?;
            let expired = credentials.certificate_ends() <= Timestamp::now();
            match token {
                // Its key is known to the cluster, so it comes back as the same node.
                Some(_) if expired => return Ok(joined(config, join(config).await?, fresh)),
                None if expired && member.role == Role::Worker => bail!(
                    "this node's certificate ended at {} while it was off: make a token on the \
                     cluster with `kabuki token create`, and start the node once with --token",
                    credentials.certificate_ends()
                ),
                _ => {}
            }
            refuse_other_name(config, &member)?;
            let address = address(config);
            Ok(Membership {
                member,
                credentials,
                address,
                fresh,
            })
        }
        (None, Some(_)) => Ok(joined(config, join(config).await?, fresh)),
        (None, None) => founded(config, fresh),
    }
}

fn refuse_other_name(config: &Config, member: &Member) -> anyhow::Result<()> {
    if config.name_given && config.name != member.name {
        bail!(
            "this data directory is that of node {:?}: start it without --name, or use another \
             --data-dir for {:?}",
            member.name,
            config.name
        );
    }
    Ok(())
}

fn joined(config: &Config, newcomer: Newcomer, fresh: bool) -> Membership {
    tracing::info!(
        cluster.id = newcomer.member.cluster_id,
        node.role = ?newcomer.member.role,
        "joined the cluster"
    );
    let address = match config.joining.advertise {
        Some(_) => address(config),
        None => newcomer.address,
    };
    Membership {
        member: newcomer.member,
        credentials: newcomer.credentials,
        address,
        fresh,
    }
}

async fn join(config: &Config) -> anyhow::Result<Newcomer> {
    let joining = &config.joining;
    let token = joining.token.as_ref().context("--token is missing")?;
    let (host, port) = match &joining.advertise {
        Some((host, port)) => (Some(host.clone()), *port),
        None => (None, None),
    };
    let taints = config.own.taints.iter().map(serde_json::to_string);
    let wish = Wish {
        data_dir: config.data_dir.clone(),
        name: config.name.clone(),
        role: joining.role,
        host,
        port: port.unwrap_or(config.listen.port()),
        host_addresses: addresses::all(),
        labels: config.own.labels.clone(),
        taints_json: taints.collect::<Result<_, _>>()?,
        program: env!("CARGO_PKG_VERSION").to_string(),
        versions: joining.versions,
    };
    let newcomer = match joining.addresses.is_empty() {
        true => join::join_by_discovery(token, &wish).await,
        false => join::join(&joining.addresses, token, &wish).await,
    };
    newcomer.context("cannot join the cluster")
}

fn founded(config: &Config, fresh: bool) -> anyhow::Result<Membership> {
    if config.joining.role == Some(Role::Worker) {
        bail!(
            "a worker needs a cluster: give --token (and --join ADDRESS), or found one without \
             --role worker"
        );
    }
    let address = address(config);
    let taints = config.own.taints.iter().map(serde_json::to_value);
    let (member, credentials) = found(&FoundingArgs {
        data_dir: config.data_dir.clone(),
        name: config.name.clone(),
        address: address.clone(),
        host_addresses: addresses::all(),
        cluster_cidr: config.pod_cidr.clone(),
        node_prefix: node_prefix(&config.pod_cidr),
        pod_cidr: None,
        service_cidr: config.service_cidr.clone(),
        server_id: None,
        program: env!("CARGO_PKG_VERSION").to_string(),
        labels: config.own.labels.clone(),
        taints: taints.collect::<Result<_, _>>()?,
    })?;
    Ok(Membership {
        member,
        credentials,
        address,
        fresh,
    })
}

/// How long the prefix of each node's block is: Kubernetes' own default, or all of a range that
/// is not larger than one block.
fn node_prefix(range: &str) -> u8 {
    let length = range.split_once('/').and_then(|(_, l)| l.parse().ok());
    length.unwrap_or(0).max(24)
}

/// Where others reach this node.
fn address(config: &Config) -> String {
    let (host, port) = match &config.joining.advertise {
        Some((host, port)) => (host.clone(), *port),
        None => (addresses::primary(config.listen.ip()).to_string(), None),
    };
    let port = port.unwrap_or(config.listen.port());
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}
