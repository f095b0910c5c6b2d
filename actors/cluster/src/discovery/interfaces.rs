//! The addresses of this machine's interfaces, and sockets for multicast.

use super::GROUP;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};
use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdSocket};
use std::os::fd::AsRawFd;
use tokio::net::UdpSocket;

/// The IPv4 address of every interface that is up, the loopback included: several nodes may run
/// on one machine.
pub(super) fn addresses() -> io::Result<BTreeSet<Ipv4Addr>> {
    let up = InterfaceFlags::IFF_UP;
    let interfaces = nix::ifaddrs::getifaddrs()?;
    let interfaces = interfaces.filter(|interface| interface.flags.contains(up));
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        address.as_sockaddr_in().map(SockaddrIn::ip)
    });
    Ok(addresses.collect())
}

/// A socket that hears what is said to the group, once it has joined it on an interface.
pub(super) fn listening() -> io::Result<UdpSocket> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    // Every node of the machine hears the group.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    let address = SockaddrIn::from(SocketAddrV4::new(*GROUP.ip(), GROUP.port()));
    bind(fd.as_raw_fd(), &address)?;
    UdpSocket::from_std(StdSocket::from(fd))
}

/// A socket that speaks to the group through the interface of `address`: the kernel sends
/// multicast from where the source address is.
pub(super) async fn speaking(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddrV4::new(address, 0)).await?;
    // Nodes of the same machine hear it, too.
    socket.set_multicast_loop_v4(true)?;
    // One network, and what it forwards within the site.
    socket.set_multicast_ttl_v4(4)?;
    Ok(socket)
}
