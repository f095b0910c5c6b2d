//! Which protocols there are, and who may use them.

use super::Doors;
use crate::authority::PkiError;
use crate::credentials::{Audience, Credentials};
use crate::seams::Door;
use kabuki_protocol::{cluster, join, session};
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;

/// HTTP/2 (RFC 9113).
const HTTP_2: &[u8] = b"h2";
/// HTTP/1.1 (RFC 7301).
const HTTP_1: &[u8] = b"http/1.1";

/// Who may use a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guests {
    /// Anyone; nobody is asked for a certificate.
    Anyone,
    /// Anyone; a certificate may be shown, and says who it is when it is good.
    Asked,
    /// Whoever has a certificate of the cluster.
    Certified,
    /// Nodes.
    Members,
    /// Nodes that hold the cluster's state.
    Servers,
}

/// What happens where there is no door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// The connection is closed.
    Close,
    /// The bytes go to a server that has the door.
    Pipe,
}

/// One protocol of the port.
pub(super) struct Protocol {
    pub(super) alpn: &'static [u8],
    pub(super) guests: Guests,
    pub(super) behind: Behind,
    /// Whether a refusal can be said in frames of the native session.
    pub(super) native: bool,
}

/// What lies behind a protocol.
pub(super) enum Behind {
    /// A door.
    Door(Arc<dyn Door>, Arc<ServerConfig>),
    /// A server elsewhere.
    Elsewhere,
    /// Nothing.
    Wall,
}

/// The protocols of one node's port.
pub(super) struct Protocols {
    all: Vec<Protocol>,
}

impl Protocols {
    pub(super) fn new(credentials: &Credentials, doors: Doors) -> Result<Self, PkiError> {
        use Guests::{Anyone, Asked, Certified, Members, Servers};
        use Otherwise::{Close, Pipe};
        let table = [
            (session::ALPN, Certified, doors.clients, Pipe),
            (cluster::NODE_ALPN, Servers, doors.node, Close),
            (cluster::ALPN, Members, doors.cluster, Close),
            (cluster::RAFT_ALPN, Servers, doors.raft, Close),
            (cluster::SNAPSHOT_ALPN, Servers, doors.snapshot, Close),
            (join::ALPN, Anyone, doors.join, Pipe),
            (HTTP_2, Asked, doors.http.clone(), Pipe),
            (HTTP_1, Asked, doors.http, Pipe),
        ];
        let mut all = Vec::new();
        for (alpn, guests, door, otherwise) in table {
            let audience = match guests {
                Anyone => Audience::Anyone,
                Asked => Audience::Asked,
                Certified | Members | Servers => Audience::Certified,
            };
            let behind = match (door, otherwise) {
                (Some(door), _) => {
                    Behind::Door(door, credentials.server_config(audience, &[alpn])?)
                }
                (None, Pipe) => Behind::Elsewhere,
                (None, Close) => Behind::Wall,
            };
            all.push(Protocol {
                alpn,
                guests,
                behind,
                native: alpn == session::ALPN || alpn == cluster::NODE_ALPN,
            });
        }
        Ok(Self { all })
    }

    /// The first protocol that a client offers and that there is. Who offers none speaks HTTP, as
    /// clients did before there were names for protocols.
    pub(super) fn choose<'a>(
        &self,
        offered: Option<impl Iterator<Item = &'a [u8]>>,
    ) -> Option<&Protocol> {
        let named = |name: &[u8]| self.all.iter().find(|protocol| protocol.alpn == name);
        match offered {
            Some(mut offered) => offered.find_map(named),
            None => named(HTTP_1),
        }
    }
}
