//! Notices when somebody else changes what the way to peers depends on: an address of the
//! node, an interface that packets to peers take, one of our routes.
//!
//! The kernel drops routes by an interface that goes down without a word, and does not bring
//! them back: only the interface itself is reported. What concerns none of the interfaces and
//! routes in use, such as the links of pods that come and go, is passed over.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{
    AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE,
};
use tokio::runtime::Handle;

use super::{Inner, NodeNetwork};
use crate::NetError;
use crate::route::block_route;

/// What changes are listened for.
const GROUPS: [MulticastGroup; 3] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
];

/// Changes of the machine's network that may concern peers.
pub struct Disturbances {
    socket: TokioSocket,
    inner: Arc<Inner>,
}

impl NodeNetwork {
    /// Listens for changes from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn disturbances(&self) -> Result<Disturbances, NetError> {
        let runtime = Handle::current();
        let opened = self.inner.netns.run_blocking(move || {
            let _inside = runtime.enter();
            open()
        })?;
        let socket = opened.map_err(|source| NetError::Socket {
            purpose: "changes of the node's interfaces",
            source,
        })?;
        Ok(Disturbances {
            socket,
            inner: self.inner.clone(),
        })
    }
}

fn open() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    for group in GROUPS {
        socket.socket_mut().add_membership(group as u32)?;
    }
    Ok(socket)
}

impl Disturbances {
    /// Waits for a change after which [`NodeNetwork::forget_peers`] and
    /// [`NodeNetwork::set_peers`] should be called. Says `false` when there will be no more.
    pub async fn next(&mut self) -> bool {
        loop {
            match self.socket.recv_from_full().await {
                Ok((bytes, _)) => {
                    if self.concerns_peers(&bytes).await {
                        return true;
                    }
                }
                // More happened than the socket holds: anything may have changed.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return true,
                Err(error) => {
                    tracing::warn!(%error, "changes of the machine's network go unnoticed");
                    return false;
                }
            }
        }
    }

    async fn concerns_peers(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else {
                // It was cut off, or is of a kind that came after this program.
                return false;
            };
            // Messages follow each other at multiples of four bytes.
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length.max(1)..).unwrap_or_default();
            if let NetlinkPayload::InnerMessage(change) = message.payload
                && self.concerns(&change).await
            {
                return true;
            }
        }
        false
    }

    async fn concerns(&self, change: &RouteNetlinkMessage) -> bool {
        let known = self.inner.overlay.lock().await;
        let Some(known) = known.as_ref() else {
            // Whoever calls `set_peers` next looks at everything anyway, and will call it.
            return false;
        };
        match change {
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                Some(address.header.index) != self.bridge_index()
            }
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                let index = link.header.index;
                let mut direct = known.routes.values().flatten();
                direct.any(|(_, interface)| *interface == index)
                    || known.device.is_some() && self.is_overlay(link)
            }
            // Our own removals are known as such by now.
            RouteNetlinkMessage::DelRoute(route) => block_route(route).is_some_and(|route| {
                IpAddr::V4(route.source) == self.inner.gateway
                    && known.routes.contains_key(&route.block)
            }),
            _ => false,
        }
    }

    fn bridge_index(&self) -> Option<u32> {
        let network = NodeNetwork {
            inner: self.inner.clone(),
        };
        network.bridge_index()
    }

    fn is_overlay(&self, link: &rtnetlink::packet_route::link::LinkMessage) -> bool {
        use rtnetlink::packet_route::link::LinkAttribute;
        link.attributes.iter().any(|attribute| {
            matches!(attribute, LinkAttribute::IfName(name)
                if *name == self.inner.config.vxlan.device)
        })
    }
}
