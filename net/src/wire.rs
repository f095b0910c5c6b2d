//! Requests to the kernel's routing sockets from a blocking thread: what the inside of a
//! pod's namespace needs, without a runtime in that thread.

use std::io;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::NetError;

/// A blocking routing socket in the calling thread's namespace.
pub(crate) struct WireSocket {
    socket: Socket,
    sequence: u32,
}

impl WireSocket {
    /// Opens it.
    pub(crate) fn open() -> Result<Self, NetError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // Errors come without the request that they answer.
            socket.set_cap_ack(true)?;
            Ok(socket)
        };
        open()
            .map(|socket| Self {
                socket,
                sequence: 0,
            })
            .map_err(|source| NetError::Socket {
                purpose: "a pod's interfaces",
                source,
            })
    }

    /// The index of the named interface, and that of its far end, as the far end's namespace has
    /// it; 0 for what has none.
    pub(crate) fn link_ends(&mut self, name: &str) -> io::Result<(u32, u32)> {
        let mut query = LinkMessage::default();
        query
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        match self.request(RouteNetlinkMessage::GetLink(query), 0)? {
            Some(RouteNetlinkMessage::NewLink(link)) => {
                let far = link.attributes.iter().find_map(|a| match a {
                    LinkAttribute::Link(index) => Some(*index),
                    _ => None,
                });
                Ok((link.header.index, far.unwrap_or_default()))
            }
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// Sends one request and waits for its answer: an object, or nothing for an
    /// acknowledgement.
    pub(crate) fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence += 1;
        let queries = matches!(message, RouteNetlinkMessage::GetLink(_));
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags | if queries { 0 } else { NLM_F_ACK };
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let (answer, _) = self.socket.recv_from_full()?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(object) => Ok(Some(object)),
                NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                _ => Ok(None),
            };
        }
    }
}
