//! Which protocols there are, and who may use them.

use super::Doors;
use crate::authority::PkiError;
use crate::credentials::{Audience, Credentials};
use crate::seams::Door;
use kabuki_protocol::{cluster, join, session};
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;

/// Who may use a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guests {
    /// Anyone; nobody is asked for a certificate.
    Anyone,
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
        use Guests::{Anyone, Certified, Members, Servers};
        use Otherwise::{Close, Pipe};
        let table = [
            (session::ALPN, Certified, doors.clients, Pipe),
            (cluster::NODE_ALPN, Servers, doors.node, Close),
            (cluster::ALPN, Members, doors.cluster, Close),
            (cluster::SNAPSHOT_ALPN, Servers, doors.snapshot, Close),
            (join::ALPN, Anyone, doors.join, Pipe),
        ];
        let mut all = Vec::new();
        for (alpn, guests, door, otherwise) in table {
            let audience = match guests {
                Anyone => Audience::Anyone,
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

    /// The first protocol that a client offers and that there is.
    pub(super) fn choose<'a>(
        &self,
        mut offered: impl Iterator<Item = &'a [u8]>,
    ) -> Option<&Protocol> {
        offered.find_map(|name| self.all.iter().find(|protocol| protocol.alpn == name))
    }
}
