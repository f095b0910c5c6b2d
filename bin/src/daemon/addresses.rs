//! The addresses that this host is reached by.

use nix::ifaddrs::getifaddrs;
use std::net::{IpAddr, Ipv4Addr};

/// Every address of every interface that is up, loopback included.
pub fn all() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    for interface in getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else {
            continue;
        };
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        if let Some(address) = v4.or(v6)
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// The address that other hosts reach this one by: what was asked to listen on, else the first
/// that is not loopback or a container bridge's, else loopback.
pub fn primary(listen: IpAddr) -> IpAddr {
    if !listen.is_unspecified() {
        return listen;
    }
    let bridges = ["lo:", "kb-", "kv-", "docker", "cni", "virbr", "veth"];
    let usable = getifaddrs().into_iter().flatten().find_map(|interface| {
        let name = &interface.interface_name;
        if name == "lo" || bridges.iter().any(|b| name.starts_with(b)) {
            return None;
        }
        let address = interface.address?;
        Some(IpAddr::V4(address.as_sockaddr_in()?.ip()))
    });
    usable.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
