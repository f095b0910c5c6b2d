//! Requests of the overlay: its VXLAN device, the routes to other nodes' blocks, and what the
//! device knows of their tunnel ends.
//!
//! A route of ours carries our own mark as its origin and the node's gateway as the source for
//! the node's own packets: the two tell it from everybody else's, other nodes' on the same
//! machine included.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoVxlan, LinkAttribute,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{LinkUnspec, LinkVxlan, RouteMessageBuilder};

use super::{Link, Routes, link_error, output_interface, to_io};
use crate::NetError;
use crate::plan::{Cidr, ConnectedPrefix, MacAddress, VxlanDevice, VxlanSettings};

/// What our routes are marked with ("k"): a number that no routing program known to iproute2
/// has.
const ORIGIN: RouteProtocol = RouteProtocol::Other(107);

/// What is read of a VXLAN device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct VxlanInfo {
    pub(crate) vni: u32,
    pub(crate) port: u16,
    pub(crate) local: Option<Ipv4Addr>,
    pub(crate) learning: bool,
}

/// A route to a block.
pub(crate) struct BlockRoute {
    pub(crate) block: Cidr,
    pub(crate) via: Ipv4Addr,
    pub(crate) interface: u32,
    /// The source of the node's own packets.
    pub(crate) source: Ipv4Addr,
}

impl VxlanInfo {
    pub(super) fn read(attributes: &[InfoVxlan]) -> Self {
        let mut info = Self::default();
        for attribute in attributes {
            match attribute {
                InfoVxlan::Id(vni) => info.vni = *vni,
                InfoVxlan::Port(port) => info.port = *port,
                InfoVxlan::Local(local) => info.local = Some(*local),
                InfoVxlan::Learning(learning) => info.learning = *learning,
                _ => {}
            }
        }
        info
    }

    pub(crate) fn settings(&self, device: &str) -> VxlanSettings {
        VxlanSettings {
            device: device.to_owned(),
            vni: self.vni,
            port: self.port,
        }
    }
}

impl Routes {
    /// Makes a VXLAN device that is up, and has no address of its own.
    pub(crate) async fn add_vxlan(&self, wanted: &VxlanDevice) -> Result<(), NetError> {
        let VxlanSettings { device, vni, port } = &wanted.settings;
        let message = LinkVxlan::new(device, *vni)
            .local(wanted.local)
            .port(*port)
            .learning(false)
            .address(wanted.mac.0.to_vec())
            .mtu(wanted.mtu)
            .build();
        let request = self.handle.link().add(message);
        request
            .execute()
            .await
            .map_err(link_error("create", device))?;
        // The kernel takes the setting only of an interface that exists, and would give it an
        // address as soon as it is up.
        let mut message = LinkUnspec::new_with_name(device).up().build();
        message
            .attributes
            .push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(
                vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)],
            )]));
        let request = self.handle.link().change(message);
        request
            .execute()
            .await
            .map_err(link_error("bring up", device))
    }

    /// The IPv4 networks that the node's interfaces are part of.
    pub(crate) async fn segments(&self) -> Result<Vec<ConnectedPrefix>, NetError> {
        let messages: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(link_error("read the addresses of", "(all)"))?;
        let read = messages.iter().filter_map(|message| {
            let (mut local, mut far) = (None, None);
            for attribute in &message.attributes {
                match attribute {
                    AddressAttribute::Local(address) => local = Some(*address),
                    AddressAttribute::Address(address) => far = Some(*address),
                    _ => {}
                }
            }
            let address = local.or(far).filter(IpAddr::is_ipv4)?;
            // The two differ on a line to one neighbour only: its length is the neighbour's.
            let on_line = far.is_some_and(|far| far != address);
            Some(ConnectedPrefix {
                address,
                prefix_len: if on_line {
                    32
                } else {
                    message.header.prefix_len
                },
                interface: message.header.index,
            })
        });
        Ok(read.collect())
    }

    /// Our routes: those that are marked and have one of `sources`.
    pub(crate) async fn block_routes(
        &self,
        sources: &[IpAddr],
    ) -> Result<Vec<BlockRoute>, NetError> {
        let query = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Vec<RouteMessage> = self
            .handle
            .route()
            .get(query)
            .execute()
            .try_collect()
            .await
            .map_err(|error| route_error("list", "(all)".to_owned(), error))?;
        let ours = routes.iter().filter_map(block_route);
        Ok(ours
            .filter(|route| sources.contains(&IpAddr::V4(route.source)))
            .collect())
    }

    /// Adds a route, or replaces the one that has the same destination.
    pub(crate) async fn put_route(
        &self,
        route: &BlockRoute,
        replace: bool,
    ) -> Result<(), NetError> {
        let request = self.handle.route().add(message(route)?);
        let (request, operation) = match replace {
            true => (request.replace(), "replace"),
            false => (request, "add"),
        };
        let result = request.execute().await;
        result.map_err(|error| route_error(operation, route.block.to_string(), error))
    }

    /// Has packets to a block leave by an interface, with this source.
    pub(crate) async fn put_link_route(
        &self,
        block: &Cidr,
        interface: u32,
        source: IpAddr,
    ) -> Result<(), NetError> {
        let (IpAddr::V4(network), IpAddr::V4(source)) = (block.network(), source) else {
            return Err(NetError::Ipv6PodCidr(*block));
        };
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network, block.prefix_len())
            .output_interface(interface)
            .pref_source(source)
            .scope(RouteScope::Link)
            .build();
        let put = self.handle.route().add(route).replace().execute().await;
        put.map_err(|error| route_error("make", block.to_string(), error))
    }

    /// Removes a route; one that is gone is no error.
    pub(crate) async fn drop_route(&self, route: &BlockRoute) -> Result<(), NetError> {
        let result = self.handle.route().del(message(route)?).execute().await;
        gone_is_fine(result.map_err(|error| route_error("remove", route.block.to_string(), error)))
    }

    /// Permanent neighbours on an interface.
    pub(crate) async fn neighbours(
        &self,
        link: &Link,
    ) -> Result<BTreeMap<IpAddr, MacAddress>, NetError> {
        let entries = self.neighbour_entries(link, AddressFamily::Inet).await?;
        let permanent = entries
            .iter()
            .filter(|entry| entry.header.state == NeighbourState::Permanent);
        Ok(permanent
            .filter_map(|entry| Some((far_address(entry)?.into(), mac(entry)?)))
            .collect())
    }

    /// Where a VXLAN device sends frames for a hardware address.
    pub(crate) async fn forwarding(
        &self,
        link: &Link,
    ) -> Result<BTreeMap<MacAddress, Ipv4Addr>, NetError> {
        let entries = self.neighbour_entries(link, AddressFamily::Bridge).await?;
        let entries = entries.iter();
        Ok(entries
            .filter_map(|entry| Some((mac(entry)?, far_address(entry)?)))
            .collect())
    }

    async fn neighbour_entries(
        &self,
        link: &Link,
        family: AddressFamily,
    ) -> Result<Vec<NeighbourMessage>, NetError> {
        let request = self.handle.neighbours().get().set_address_family(family);
        let all: Vec<NeighbourMessage> = request
            .execute()
            .try_collect()
            .await
            .map_err(link_error("list the neighbours on", &link.name))?;
        let here = all.into_iter();
        Ok(here
            .filter(|entry| entry.header.ifindex == link.index)
            .collect())
    }

    /// Tells a neighbour's hardware address for good.
    pub(crate) async fn set_neighbour(
        &self,
        link: &Link,
        address: IpAddr,
        mac: MacAddress,
    ) -> Result<(), NetError> {
        let request = self.handle.neighbours().add(link.index, address);
        let request = request.link_layer_address(&mac.0).replace();
        let result = request.execute().await;
        result.map_err(link_error("set a neighbour on", &link.name))
    }

    /// Forgets a neighbour; one that is gone is no error.
    pub(crate) async fn drop_neighbour(
        &self,
        link: &Link,
        address: IpAddr,
    ) -> Result<(), NetError> {
        let mut request = self.handle.neighbours().add(link.index, address);
        let message = request.message_mut().clone();
        let result = self.handle.neighbours().del(message).execute().await;
        gone_is_fine(result.map_err(link_error("remove a neighbour from", &link.name)))
    }

    /// Has frames for a hardware address sent to a node.
    pub(crate) async fn set_forwarding(
        &self,
        link: &Link,
        mac: MacAddress,
        node: Ipv4Addr,
    ) -> Result<(), NetError> {
        let request = self.handle.neighbours().add_bridge(link.index, &mac.0);
        let request = request
            .destination(node.into())
            .flags(NeighbourFlags::Own)
            .replace();
        let result = request.execute().await;
        result.map_err(link_error("set a forwarding entry of", &link.name))
    }

    /// Forgets a forwarding entry; one that is gone is no error.
    pub(crate) async fn drop_forwarding(
        &self,
        link: &Link,
        mac: MacAddress,
    ) -> Result<(), NetError> {
        let request = self.handle.neighbours().add_bridge(link.index, &mac.0);
        let mut request = request.flags(NeighbourFlags::Own);
        let message = request.message_mut().clone();
        let result = self.handle.neighbours().del(message).execute().await;
        gone_is_fine(result.map_err(link_error("remove a forwarding entry of", &link.name)))
    }
}

fn message(route: &BlockRoute) -> Result<RouteMessage, NetError> {
    let IpAddr::V4(network) = route.block.network() else {
        return Err(NetError::Ipv6PodCidr(route.block));
    };
    let message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(network, route.block.prefix_len())
        .gateway(route.via)
        .output_interface(route.interface)
        .pref_source(route.source)
        .protocol(ORIGIN)
        // The next hop is told, not found out: it need not be in a network of the interface.
        .onlink();
    Ok(message.build())
}

/// The route of ours that a message is about, if it is one.
pub(crate) fn block_route(message: &RouteMessage) -> Option<BlockRoute> {
    let header = &message.header;
    if header.protocol != ORIGIN || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut block, mut via, mut source) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(network)) => {
                block = Cidr::containing((*network).into(), header.destination_prefix_length).ok();
            }
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => via = Some(*address),
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => source = Some(*address),
            _ => {}
        }
    }
    Some(BlockRoute {
        block: block?,
        via: via?,
        interface: output_interface(message)?,
        source: source?,
    })
}

fn mac(entry: &NeighbourMessage) -> Option<MacAddress> {
    let found = entry.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    found?.try_into().ok().map(MacAddress)
}

/// A forwarding entry's address comes without its family.
fn far_address(entry: &NeighbourMessage) -> Option<Ipv4Addr> {
    entry.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::Destination(address) = attribute else {
            return None;
        };
        match address {
            NeighbourAddress::Inet(address) => Some(*address),
            NeighbourAddress::Other(bytes) => {
                let bytes: [u8; 4] = bytes.as_slice().try_into().ok()?;
                Some(bytes.into())
            }
            _ => None,
        }
    })
}

fn route_error(operation: &'static str, destination: String, error: rtnetlink::Error) -> NetError {
    NetError::Route {
        operation,
        destination,
        interface: "(overlay)".to_owned(),
        source: to_io(error),
    }
}

fn gone_is_fine(result: Result<(), NetError>) -> Result<(), NetError> {
    match result {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(()),
    }
}
