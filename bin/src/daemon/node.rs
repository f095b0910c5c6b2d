//! What every node has, server or worker.
//!
//! ```text
//! node (one-for-one)
//! ├── plane                    on servers: the control plane
//! ├── roster                   on workers: who the members are
//! ├── members                  sessions with other members
//! ├── clients (one-for-one)    sessions, HTTP, the port, the answer to those who look for the cluster
//! ├── renewal, renewal-asked   of the node's certificate
//! └── agent                    pods, images, the Node object
//! ```

use super::addresses;
use super::config::Config;
use anyhow::anyhow;
use kabuki_agent::{AgentConfig, NodeAgent};
use kabuki_cluster::discovery::Responder;
use kabuki_cluster::members::MembersHandle;
use kabuki_cluster::renewal::Renewal;
use kabuki_cluster::{Member, Port};
use kabuki_http::Connections;
use kabuki_kit::{ChildSpec, Strategy, SupervisorSpec, Tree};
use kabuki_model::allocation::{AddressRange, DNS_ADDRESS};
use kabuki_plane::session::Sessions;
use kabuki_protocol::ApiHandle;
use std::net::IpAddr;
use std::time::Duration;

/// A node is restarted as a whole only when a part of it failed this often.
const RESTARTS: u32 = 64;

/// What every node has.
pub struct Parts {
    pub members: MembersHandle,
    pub sessions: Sessions,
    /// The HTTP API, on servers.
    pub http: Option<Connections>,
    pub port: Port,
    pub renewal: Renewal,
    pub responder: Option<Responder>,
    pub agent: NodeAgent,
    /// The API under the node's own identity.
    pub api: ApiHandle,
}

/// The node's tree, with what only its role has in front.
pub fn tree(own: ChildSpec, parts: &Parts) -> SupervisorSpec {
    SupervisorSpec::new(Strategy::OneForOne)
        .intensity(RESTARTS, Duration::from_secs(60))
        .child(own)
        .child(parts.members.child())
        .child(clients(parts))
        .child(parts.renewal.child())
        .child(parts.renewal.asked_child(parts.api.clone()))
        .child(parts.agent.child())
}

fn clients(parts: &Parts) -> ChildSpec {
    let (sessions, port) = (parts.sessions.clone(), parts.port.clone());
    let (http, responder) = (parts.http.clone(), parts.responder.clone());
    ChildSpec::supervisor("clients", move |_place| {
        let spec = SupervisorSpec::new(Strategy::OneForOne)
            .never_give_up()
            .backoff(Duration::from_millis(10), Duration::from_secs(5))
            .child(sessions.child());
        let spec = match &http {
            Some(http) => spec.child(http.child()),
            None => spec,
        };
        let spec = spec.child(port.child());
        match &responder {
            Some(responder) => spec.child(responder.child()),
            None => spec,
        }
    })
}

/// Opens the node's agent.
pub async fn agent(
    config: &Config,
    member: &Member,
    api: ApiHandle,
    tree: &Tree,
) -> anyhow::Result<NodeAgent> {
    let cidr = |what: &str, text: &str| text.parse().map_err(|e| anyhow!("{what} {text:?}: {e}"));
    let mut settings = AgentConfig::new(
        &member.name,
        &config.data_dir,
        addresses::primary(config.listen.ip()),
        cidr("the node's pod range", &member.pod_cidr)?,
        cidr("the cluster's pod range", &member.cluster_cidr)?,
        api,
    );
    settings.node_port = Some(config.listen.port());
    settings.max_pods = config.max_pods.unwrap_or(settings.max_pods);
    settings.network_mode = config.network;
    settings.labels = config.own.labels.clone();
    settings.taints = config.own.taints.clone();
    settings.reserved = config.own.reserved.clone();
    settings.cluster_domain = config.names.domain.clone();
    settings.names = config.names.config.clone();
    let services: AddressRange = member.service_cidr.parse()?;
    settings.cluster_dns = services
        .at(DNS_ADDRESS)
        .map(IpAddr::V4)
        .into_iter()
        .collect();
    settings.service_cidr = Some(cidr("the range of services", &member.service_cidr)?);
    let pods = &config.pods;
    settings.eviction = pods.eviction.clone();
    settings.image_gc = pods.image_gc.clone();
    settings.log_max_bytes = pods.log_max_bytes.unwrap_or(settings.log_max_bytes);
    settings.unsafe_sysctls = pods.unsafe_sysctls.clone();
    settings.static_pods = pods.static_pods.clone();
    settings.exclusive_cpus = pods.exclusive_cpus;
    settings.reserved_cpus = pods.reserved_cpus.clone();
    settings.shutdown = pods.shutdown;
    settings.log_max_files = pods.log_max_files.unwrap_or(settings.log_max_files);
    Ok(NodeAgent::open(settings, tree).await?)
}
