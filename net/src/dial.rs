//! TCP connections from inside another network namespace: port forwarding to a pod's
//! localhost, and probes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::net::{TcpSocket, TcpStream};

use crate::{NetError, Netns};

/// Connects to `address` as a process inside `netns` would, in at most `limit`. Only making
/// the socket happens in the namespace; from then on it is an ordinary tokio stream.
///
/// # Errors
/// Naming the namespace and the address.
pub async fn dial(
    netns: &Netns,
    address: SocketAddr,
    limit: Duration,
) -> Result<TcpStream, NetError> {
    let failed = |source: io::Error| NetError::Dial {
        netns: netns.label().to_owned(),
        address,
        source,
    };
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = netns
        .run(move || {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            socket(family, SockType::Stream, flags, None)
        })
        .await?
        .map_err(|errno| failed(errno.into()))?;
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(fd));
    match tokio::time::timeout(limit, socket.connect(address)).await {
        Ok(connected) => connected.map_err(failed),
        Err(_) => Err(NetError::DialTimeout {
            netns: netns.label().to_owned(),
            address,
            limit,
        }),
    }
}
