//! The server's sockets.

use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, listen,
    setsockopt, shutdown, socket, sockopt,
};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

/// What waits to be read, in bytes: some thousand questions, so that a burst of one client costs
/// no other client's.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Answers that wait to be sent.
const SEND_BUFFER: usize = 1 << 20;
/// Connections that wait to be taken.
const BACKLOG: i32 = 256;

fn open(address: SocketAddr, kind: SockType, flags: SockFlag) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = socket(family, kind, flags | SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(fd)
}

/// A UDP socket that shares its address with its siblings. Reading waits.
pub(super) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let fd = open(address, SockType::Datagram, SockFlag::empty())?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    setsockopt(&fd, sockopt::RxqOvfl, &1)?;
    // Beyond the machine's limit only with the right to do so.
    if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    }
    setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd.into())
}

/// A TCP socket that listens.
pub(super) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let fd = open(address, SockType::Stream, SockFlag::SOCK_NONBLOCK)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd.into())
}

/// Has whoever waits in a read of the socket return. Linux does so for sockets without a peer as
/// well, though it then calls it an error.
pub(super) fn wake(socket: &UdpSocket) {
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
}
