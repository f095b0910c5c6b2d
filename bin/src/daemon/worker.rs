//! A node that only runs pods: sessions with the servers, and the agent.

use super::config::Config;
use super::membership::Membership;
use super::node::{self, Parts};
use kabuki_cluster::discovery::Responder;
use kabuki_cluster::members::{MembersArgs, MembersHandle};
use kabuki_cluster::remote::Remote;
use kabuki_cluster::renewal::Renewal;
use kabuki_cluster::roster::{Roster, RosterListener};
use kabuki_cluster::seal::Sealer;
use kabuki_cluster::seams::Directory;
use kabuki_cluster::{Dialer, Doors, Port};
use kabuki_kit::{Bundle, ChildSpec, Tree};
use kabuki_plane::session::{Services, Sessions};
use kabuki_protocol::session::VersionInfo;
use std::sync::Arc;

/// What a worker is made of.
pub struct Worker {
    pub roster: ChildSpec,
    pub parts: Parts,
}

/// Puts a worker together. Nothing runs yet.
pub async fn assemble(
    config: &Config,
    membership: &Membership,
    boot: u64,
    version: VersionInfo,
    tree: &Tree,
) -> anyhow::Result<Worker> {
    let Membership {
        member,
        credentials,
        address,
        ..
    } = membership;
    let roster = Roster::new(&config.data_dir, member.clone());
    let directory: Arc<dyn Directory> = Arc::new(roster.clone());
    let program = concat!("kabuki/", env!("CARGO_PKG_VERSION"));
    let remote = Remote::new(credentials.clone(), directory.clone(), program);
    let (ends, lost) = (credentials.clone(), remote.clone());
    let listener = RosterListener {
        roster: roster.clone(),
        certificate_ends_s: Arc::new(move || ends.certificate_ends().as_second()),
        lost: Arc::new(move |node| lost.lost(node)),
    };
    let members = MembersHandle::new(MembersArgs {
        sealer: Sealer::new(&member.name, boot, member.role, credentials.seal_key())?,
        dial: Arc::new(Dialer::new(credentials.clone())),
        directory: directory.clone(),
        listener: Arc::new(listener),
        bundle: Bundle::new(),
    });
    let remote_api = remote.api();
    let agent = node::agent(config, member, remote_api.clone(), tree).await?;
    let sessions = Sessions::default();
    let own = Services {
        node: agent.node(),
        server: None,
        version,
    };
    let doors = Doors {
        node: Some(sessions.door(own)),
        ..Doors::new(directory)
    };
    let port = Port::bind(config.listen, credentials.clone(), doors).await?;
    let refresh = members.clone();
    let discovery = config.answers_seekers();
    Ok(Worker {
        roster: roster.child(remote.api(), Arc::new(move || refresh.refresh())),
        parts: Parts {
            members,
            sessions,
            http: None,
            port,
            renewal: Renewal::new(credentials.clone(), Arc::new(remote)),
            responder: discovery.then(|| Responder::new(credentials.clone(), address)),
            agent,
            api: remote_api,
        },
    })
}
