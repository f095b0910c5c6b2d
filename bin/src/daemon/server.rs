//! A node that holds the state: control plane, sessions with other members, and the agent.

use super::config::{Config, KeepAwake};
use super::http::HttpDoor;
use super::membership::Membership;
use super::node::{self, Parts};
use anyhow::Context;
use futures::future::BoxFuture;
use kabuki_cluster::discovery::Responder;
use kabuki_cluster::join::JoinDoor;
use kabuki_cluster::renewal::{Certify, Renewal};
use kabuki_cluster::seams::{Directory, Forward};
use kabuki_cluster::{Doors, Port};
use kabuki_http::{Connections, Server};
use kabuki_kit::Tree;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_plane::admitting::{Admitting, Own, PlaneGround};
use kabuki_plane::cluster::SnapshotDoor;
use kabuki_plane::front::PlaneFront;
use kabuki_plane::raft::RaftConfig;
use kabuki_plane::session::{Nodes, ServerCalls, ServerSide, Services, Sessions, SignNode};
use kabuki_plane::{Plane, PlaneArgs};
use kabuki_protocol::NodeHandle;
use kabuki_protocol::session::VersionInfo;
use std::sync::Arc;

/// The nodes as a server reaches them.
struct OtherNodes(Arc<dyn Forward>);

impl Nodes for OtherNodes {
    fn node(&self, name: &str) -> Option<NodeHandle> {
        self.0.node(name)
    }
}

/// A server signs its own certificate anew, by the CA of the state.
struct OwnCertificate {
    admitting: Admitting,
    name: String,
}

impl Certify for OwnCertificate {
    fn certify(&self, csr_pem: String) -> BoxFuture<'_, Result<(String, String), StatusError>> {
        self.admitting.sign(self.name.clone(), csr_pem)
    }
}

/// What a server is made of.
pub struct ServerNode {
    pub plane: Plane,
    pub ground: PlaneGround,
    pub parts: Parts,
}

/// Puts a server together. Nothing runs yet.
pub async fn assemble(
    config: &Config,
    membership: &Membership,
    boot: u64,
    version: VersionInfo,
    tree: &Tree,
) -> anyhow::Result<ServerNode> {
    let Membership {
        member,
        credentials,
        address,
        ..
    } = membership;
    let id = member.server_id.context("this server has no number")?;
    let plane = Plane::new(PlaneArgs {
        data_dir: config.data_dir.clone(),
        member: member.clone(),
        raft: RaftConfig {
            keep_awake: config.keep_awake == KeepAwake::Busy,
            ..RaftConfig::server(id, membership.start())
        },
        credentials: credentials.clone(),
        boot,
        node_grace: config.node_grace,
    })?;
    let gateway = plane.gateway().clone();
    let ground = PlaneGround::new(gateway.clone(), plane.raft().clone());
    let own = Own {
        cluster_id: member.cluster_id.clone(),
        node: member.name.clone(),
        program: env!("CARGO_PKG_VERSION").to_string(),
        versions: config.joining.versions,
    };
    let directory: Arc<dyn Directory> = Arc::new(plane.directory().clone());
    let admitting = Admitting::new(
        own,
        Arc::new(ground.clone()),
        plane.remote().clone(),
        directory.clone(),
    );
    let api = gateway.api(Identity::node(&member.name));
    let agent = node::agent(config, member, api.clone(), tree).await?;
    let shared: Arc<dyn Forward> = Arc::new(plane.remote().clone());
    let own = Services {
        node: agent.node(),
        server: None,
        version: version.clone(),
    };
    let all = Services {
        server: Some(ServerSide {
            gateway,
            nodes: Arc::new(OtherNodes(shared)),
            calls: ServerCalls {
                raft: plane.raft().clone(),
                directory: plane.directory().clone(),
                members: plane.members().clone(),
                remote: plane.remote().clone(),
                admit: Arc::new(admitting.here()),
                sign: Arc::new(admitting.clone()),
                credentials: credentials.clone(),
            },
        }),
        ..own.clone()
    };
    let sessions = Sessions::default();
    let front = PlaneFront::new(all.clone(), tree.clone()).context("this server serves nothing")?;
    let http = Connections::new(Server::new(Arc::new(front)));
    let doors = Doors {
        clients: Some(sessions.door(all)),
        node: Some(sessions.door(own)),
        cluster: Some(Arc::new(plane.members().clone())),
        raft: Some(Arc::new(plane.members().lines())),
        snapshot: Some(Arc::new(SnapshotDoor::new(plane.raft().clone()))),
        join: Some(Arc::new(JoinDoor::new(Arc::new(admitting.clone())))),
        http: Some(Arc::new(HttpDoor(http.clone()))),
        directory,
    };
    let port = Port::bind(config.listen, credentials.clone(), doors).await?;
    let discovery = config.answers_seekers();
    let own_certificate = OwnCertificate {
        admitting: admitting.clone(),
        name: member.name.clone(),
    };
    let parts = Parts {
        members: plane.members().clone(),
        sessions,
        http: Some(http),
        port,
        renewal: Renewal::new(credentials.clone(), Arc::new(own_certificate)),
        responder: discovery.then(|| Responder::new(credentials.clone(), address)),
        agent,
        api,
    };
    Ok(ServerNode {
        plane,
        ground,
        parts,
    })
}
