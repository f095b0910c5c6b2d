//! The kernel's table of connections, as far as services need it: the UDP connections that were
//! translated, and removing one.

use std::io;
use std::net::Ipv4Addr;

use super::decode::Attributes;
use super::{CTNETLINK, NetfilterSocket, encode};
use crate::Netns;

const GET: u16 = 1;
const DELETE: u16 = 2;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;

/// One connection, IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connection {
    /// `IPPROTO_*`
    pub protocol: u8,
    /// Where the client sent it.
    pub to: (Ipv4Addr, u16),
    /// Who answers.
    pub answered_by: (Ipv4Addr, u16),
    original: Vec<u8>,
    id: Option<[u8; 4]>,
}

/// A socket to the table.
pub(crate) struct Conntrack {
    socket: NetfilterSocket,
}

impl Conntrack {
    pub fn open(netns: &Netns) -> io::Result<Self> {
        Ok(Self {
            socket: NetfilterSocket::open(netns)?,
        })
    }

    /// The connections of a protocol for which `pick` says so.
    pub fn connections(
        &mut self,
        protocol: u8,
        pick: impl Fn(&Connection) -> bool,
    ) -> io::Result<Vec<Connection>> {
        let mut found = Vec::new();
        self.socket.dump(
            CTNETLINK,
            GET,
            &mut found,
            |_| {},
            Vec::clear,
            |found, message| {
                if let Some(connection) = read(message.attributes())
                    && connection.protocol == protocol
                    && pick(&connection)
                {
                    found.push(connection);
                }
            },
        )?;
        Ok(found)
    }

    /// Forgets a connection: its next packet begins a new one. One that is gone is fine.
    pub fn forget(&mut self, connection: &Connection) -> io::Result<()> {
        let fill = |out: &mut Vec<u8>| {
            encode::nest(out, TUPLE_ORIGINAL, |out| {
                out.extend_from_slice(&connection.original);
            });
            if let Some(id) = &connection.id {
                encode::bytes(out, ID, id);
            }
        };
        match self.socket.ask(CTNETLINK, DELETE, true, fill, |_| {}) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            forgotten => forgotten,
        }
    }
}

fn read(attributes: Attributes<'_>) -> Option<Connection> {
    let original = attributes.get(TUPLE_ORIGINAL)?;
    let (_, to, protocol) = tuple(Attributes(original))?;
    let (answered_by, _, _) = tuple(attributes.inside(TUPLE_REPLY)?)?;
    Some(Connection {
        protocol,
        to,
        answered_by,
        original: original.to_vec(),
        id: attributes.get(ID).and_then(|id| id.try_into().ok()),
    })
}

type End = (Ipv4Addr, u16);

/// Source, destination and protocol.
fn tuple(tuple: Attributes<'_>) -> Option<(End, End, u8)> {
    let (ip, proto) = (tuple.inside(1)?, tuple.inside(2)?);
    let address = |kind| {
        let bytes: [u8; 4] = ip.get(kind)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    let port = |kind| {
        let bytes: [u8; 2] = proto.get(kind)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    let source = (address(1)?, port(2)?);
    let destination = (address(2)?, port(3)?);
    Some((source, destination, *proto.get(1)?.first()?))
}
