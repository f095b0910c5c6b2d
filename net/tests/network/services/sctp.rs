//! SCTP. The kernel under test may have no sockets for it: then packets are made by hand and read
//! by a raw socket, which the packet filter treats as any others.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use kabuki_model::service::Protocol;
use nix::sys::socket::{MsgFlags, SockaddrIn, recv, sendto, setsockopt, sockopt};

use super::{Proxy, here, service_of, v4};
use crate::world::{PATIENCE, on_node};

/// CRC-32C (RFC 9260, appendix A).
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
        crc
    })
}

/// A packet with an INIT chunk.
fn init(from: u16, to: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend_from_slice(&from.to_be_bytes());
    packet.extend_from_slice(&to.to_be_bytes());
    packet.extend_from_slice(&[0; 8]);
    packet.extend_from_slice(&[1, 0, 0, 20]);
    packet.extend_from_slice(&[0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let sum = checksum(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
    packet
}

#[allow(unsafe_code)]
fn raw() -> OwnedFd {
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_SCTP) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor was opened above and belongs to nobody else.
    let raw = unsafe { OwnedFd::from_raw_fd(fd) };
    let second = nix::sys::time::TimeVal::new(1, 0);
    setsockopt(&raw, sockopt::ReceiveTimeout, &second).unwrap();
    raw
}

#[test]
fn sctp_goes_to_an_endpoint() {
    on_node(|node| async move {
        let (client, server) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
        let mut proxy = Proxy::new(&node);
        let at = std::net::SocketAddr::new(server.address(), 3868);
        proxy.set(&service_of("10.96.0.10", Protocol::Sctp), &[here(at)]);
        let inbox = server.netns.run(raw).await.unwrap();
        let send = || {
            let to = SockaddrIn::from(SocketAddrV4::new(v4("10.96.0.10"), 0));
            sendto(raw().as_raw_fd(), &init(4000, 80), &to, MsgFlags::empty())
        };
        client.netns.run(send).await.unwrap().unwrap();
        let begun = Instant::now();
        let seen = loop {
            let mut buffer = [0; 256];
            match recv(inbox.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => break buffer[..length].to_vec(),
                Err(_) => assert!(begun.elapsed() < PATIENCE + Duration::from_secs(1)),
            }
        };
        let source: [u8; 4] = seen[12..16].try_into().unwrap();
        assert_eq!(IpAddr::V4(Ipv4Addr::from(source)), client.address());
        assert_eq!(seen[20..24], [0x0f, 0xa0, 0x0f, 0x1c], "from 4000 to 3868");
    });
}
