//! The node's own interfaces, addresses and routes, over rtnetlink. Thin: it turns one call
//! into one request and gives errors a name.

mod hooks;
mod local;
mod overlay;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoPortData,
    InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

use crate::NetError;
use crate::plan::MacAddress;
use crate::serve::{serve, socket_error};

pub(crate) use hooks::Side;
pub(crate) use overlay::{BlockRoute, VxlanInfo, block_route};

/// What is read of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: Option<String>,
    pub(crate) kind: Option<InfoKind>,
    pub(crate) bridge_index: Option<u32>,
    pub(crate) mtu: u32,
    pub(crate) mac: Vec<u8>,
    pub(crate) up: bool,
    /// Of a VXLAN device.
    pub(crate) vxlan: Option<VxlanInfo>,
}

/// Both ends of a link into a pod.
pub(crate) struct VethSpec<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_netns: std::os::fd::RawFd,
    pub(crate) peer_mac: MacAddress,
    pub(crate) bridge_index: u32,
    pub(crate) mtu: u32,
}

/// Keeps the kernel from giving an interface an IPv6 address of its own when it comes up.
pub(crate) fn without_ipv6_address() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

/// Requests in one network namespace.
#[derive(Clone)]
pub(crate) struct Routes {
    handle: Handle,
}

impl Routes {
    /// Opens a socket in the calling thread's namespace and serves it on a thread of its own.
    pub(crate) fn open() -> Result<Self, NetError> {
        let (handle_tx, handle_rx) = std::sync::mpsc::sync_channel(1);
        serve("node-links", move |handle, connection| async move {
            // The connection ends when the last handle is dropped, so none may stay here.
            let _ = handle_tx.send(handle);
            connection.await;
        })?;
        match handle_rx.recv() {
            Ok(handle) => Ok(Self { handle }),
            Err(_) => Err(socket_error(io::Error::other("its thread ended"))),
        }
    }

    /// The named interface, if it exists.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<Link>, NetError> {
        let mut found = Box::pin(self.handle.link().get().match_name(name).execute());
        match found.try_next().await {
            Ok(link) => Ok(link.map(read_link)),
            Err(error) => {
                let error = link_error("look up", name)(error);
                if error.is_gone() {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// All interfaces.
    pub(crate) async fn links(&self) -> Result<Vec<Link>, NetError> {
        self.handle
            .link()
            .get()
            .execute()
            .map_ok(read_link)
            .try_collect()
            .await
            .map_err(link_error("list", "(all)"))
    }

    /// Makes a bridge that is up.
    pub(crate) async fn add_bridge(
        &self,
        name: &str,
        mac: MacAddress,
        mtu: u32,
    ) -> Result<(), NetError> {
        let message = LinkBridge::new(name)
            .address(mac.0.to_vec())
            .mtu(mtu)
            .up()
            .build();
        let request = self.handle.link().add(message);
        request.execute().await.map_err(link_error("create", name))
    }

    /// Brings an interface up with the given hardware address and MTU.
    pub(crate) async fn set_up(
        &self,
        link: &Link,
        mac: MacAddress,
        mtu: u32,
    ) -> Result<(), NetError> {
        let message = LinkUnspec::new_with_index(link.index)
            .address(mac.0.to_vec())
            .mtu(mtu)
            .up()
            .build();
        let request = self.handle.link().change(message);
        request
            .execute()
            .await
            .map_err(link_error("configure", &link.name))
    }

    /// Makes a link whose far end appears inside another namespace. The near end is a port of
    /// the bridge and stays down until [`Routes::open_port`]; the far end cannot be up from the
    /// start, for the kernel joins the two only after both exist.
    pub(crate) async fn add_veth(&self, spec: &VethSpec<'_>) -> Result<(), NetError> {
        let peer = LinkMessageBuilder::<LinkUnspec>::default()
            .name(spec.peer_name)
            .address(spec.peer_mac.0.to_vec())
            .mtu(spec.mtu)
            .setns_by_fd(spec.peer_netns)
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new(spec.host_name, spec.peer_name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .mtu(spec.mtu)
            .controller(spec.bridge_index)
            .build();
        let request = self.handle.link().add(message);
        request
            .execute()
            .await
            .map_err(link_error("create", spec.host_name))
    }

    /// Labels a bridge port, lets it send back what came in by it, and brings it up. It gets
    /// no IPv6 address: it is a wire, not a place.
    pub(crate) async fn open_port(&self, name: &str, alias: &str) -> Result<(), NetError> {
        let mut message = LinkUnspec::new_with_name(name).up().build();
        message.attributes.extend([
            LinkAttribute::IfAlias(alias.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
                    true,
                )])),
            ]),
            without_ipv6_address(),
        ]);
        let request = self.handle.link().set_port(message);
        request
            .execute()
            .await
            .map_err(link_error("configure", name))
    }

    /// The addresses of an interface.
    pub(crate) async fn addresses(&self, link: &Link) -> Result<Vec<(IpAddr, u8)>, NetError> {
        let request = self
            .handle
            .address()
            .get()
            .set_link_index_filter(link.index);
        let messages: Vec<_> = request
            .execute()
            .try_collect()
            .await
            .map_err(link_error("read the addresses of", &link.name))?;
        let read = messages.iter().filter_map(|message| {
            let address = message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                })?;
            Some((address, message.header.prefix_len))
        });
        Ok(read.collect())
    }

    /// Gives an interface an address.
    pub(crate) async fn add_address(
        &self,
        link: &Link,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), NetError> {
        let request = self
            .handle
            .address()
            .add(link.index, address, prefix_len)
            .replace();
        request.execute().await.map_err(|error| NetError::Address {
            operation: "add",
            address,
            interface: link.name.clone(),
            source: to_io(error),
        })
    }

    /// Takes an address from an interface; one that is gone is no error.
    pub(crate) async fn remove_address(
        &self,
        link: &Link,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), NetError> {
        let mut request = self.handle.address().add(link.index, address, prefix_len);
        let message = request.message_mut().clone();
        let result = self.handle.address().del(message).execute().await;
        match result.map_err(|error| NetError::Address {
            operation: "remove",
            address,
            interface: link.name.clone(),
            source: to_io(error),
        }) {
            Err(error) if !error.is_gone() => Err(error),
            _ => Ok(()),
        }
    }

    /// The MTU of the interface that the IPv4 default route uses, if there is such a route.
    pub(crate) async fn default_route_mtu(&self) -> Result<Option<u32>, NetError> {
        let query = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes: Vec<RouteMessage> = self
            .handle
            .route()
            .get(query)
            .execute()
            .try_collect()
            .await
            .map_err(|error| NetError::Route {
                operation: "look up",
                destination: "default".to_owned(),
                interface: "(any)".to_owned(),
                source: to_io(error),
            })?;
        let best = routes
            .iter()
            .filter(|route| is_default(route))
            .filter_map(|route| Some((metric(route), output_interface(route)?)))
            .min();
        let Some((_, index)) = best else {
            return Ok(None);
        };
        let links = self.links().await?;
        Ok(links
            .into_iter()
            .find(|link| link.index == index)
            .map(|link| link.mtu))
    }
}

/// Turns an rtnetlink error into the kernel's error number where it has one.
pub(crate) fn to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

pub(crate) fn link_error(
    operation: &'static str,
    interface: &str,
) -> impl FnOnce(rtnetlink::Error) -> NetError + use<> {
    let interface = interface.to_owned();
    move |error| NetError::Interface {
        operation,
        interface,
        source: to_io(error),
    }
}

fn read_link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        alias: None,
        kind: None,
        bridge_index: None,
        mtu: 0,
        mac: Vec::new(),
        up: message.header.flags.contains(LinkFlags::Up),
        vxlan: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Controller(index) => link.bridge_index = Some(index),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind),
                        LinkInfo::Data(InfoData::Vxlan(attributes)) => {
                            link.vxlan = Some(VxlanInfo::read(&attributes));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn is_default(route: &RouteMessage) -> bool {
    let destination = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        });
    route.header.destination_prefix_length == 0
        && destination.is_none_or(|address| address.is_unspecified())
}

fn metric(route: &RouteMessage) -> u32 {
    let priority = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Priority(priority) => Some(*priority),
            _ => None,
        });
    priority.unwrap_or(0)
}

fn output_interface(route: &RouteMessage) -> Option<u32> {
    route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            RouteAttribute::MultiPath(hops) => hops.first().map(|hop| hop.interface_index),
            _ => None,
        })
}
