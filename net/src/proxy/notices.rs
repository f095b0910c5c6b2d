//! Notices when somebody else changes the table.

use std::io;
use std::time::{Duration, Instant};

use super::load::PREFIX;
use super::wire::MEMORY;
use crate::nft::{Message, NFTABLES, NetfilterSocket, kind};
use crate::plan::TABLE_NAME;
use crate::{NetError, NodeNetwork};

/// Changes of the node's table by others.
pub struct ServiceNotices {
    socket: NetfilterSocket,
    own: u32,
}

impl NodeNetwork {
    /// Listens for changes by any other socket than the one with the number `own`. Blocks
    /// shortly.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn service_notices(&self, own: u32) -> Result<ServiceNotices, NetError> {
        let open = || {
            let mut socket = NetfilterSocket::open(self.netns())?;
            socket.listen()?;
            socket.wake_every_second()?;
            Ok::<_, io::Error>(socket)
        };
        let socket = open().map_err(|source| NetError::Socket {
            purpose: "changes of services",
            source,
        })?;
        Ok(ServiceNotices { socket, own })
    }
}

impl ServiceNotices {
    /// Waits for a change by somebody else, at most about a second. Blocks.
    ///
    /// # Errors
    /// When there will be no more.
    pub fn wait(&mut self) -> io::Result<bool> {
        let own = self.own;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            match self.socket.hear(|message| concerns(message, own)) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => match error.raw_os_error() {
                    // More happened than the socket holds: anything may have changed.
                    Some(libc::ENOBUFS) => return Ok(true),
                    Some(libc::EAGAIN | libc::EINTR) => break,
                    _ => return Err(error),
                },
            }
        }
        Ok(false)
    }
}

/// Whether the table is gone, or something of services in it was changed. The node's other rules
/// are written anew by the node itself, by another socket.
fn concerns(message: Message<'_>, own: u32) -> bool {
    let (subsystem, what) = (message.kind >> 8, message.kind & 0xff);
    let object = message.attributes();
    // The table's name is the first attribute of all these objects.
    if subsystem != NFTABLES || message.port == own || object.text(1) != Some(TABLE_NAME) {
        return false;
    }
    let name = match what {
        kind::DEL_TABLE => return true,
        kind::NEW_CHAIN | kind::DEL_CHAIN => object.text(3),
        kind::NEW_RULE | kind::DEL_RULE => object.text(2),
        kind::NEW_SET | kind::DEL_SET => object.text(2),
        kind::NEW_ELEMENT | kind::DEL_ELEMENT => object.text(2),
        _ => None,
    };
    // What rules and the clock do to the remembered clients is no change by anybody.
    name.is_some_and(|name| name.starts_with(PREFIX) && name != MEMORY)
}
