//! Wires pods to the node, and takes them off.
//!
//! A pod's link is made in three steps: the pair, with its far end born inside the pod's
//! namespace; inside, its address and routes; outside, the label that makes it adoptable and
//! the opening of the port. Beside the second, the short way between nodes is opened, if there is
//! one ([`super::shortcuts`]). A crash between them leaves an unlabelled link under a name that
//! follows from the pod's uid, which the retry replaces and a sweep finds.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::InfoKind;
use rtnetlink::packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::{AddressMessageBuilder, LinkUnspec, RouteMessageBuilder};
use tokio::sync::oneshot;

use super::{AttachRequest, Attached, Attachment, NodeNetwork};
use crate::plan::{Alias, INTERFACE_NAME_ATTEMPTS, INTERFACE_PREFIX, host_interface_name, mac_for};
use crate::route::{Link, VethSpec, without_ipv6_address};
use crate::wire::WireSocket;
use crate::{NetError, Netns};

/// What a pod calls its interface.
const POD_INTERFACE: &str = "eth0";

/// The loopback interface is the first of every network namespace.
pub(super) const LOOPBACK_INDEX: u32 = 1;

/// The kernel keeps 255 bytes of alias; a Kubernetes uid has 36.
const POD_UID_MAX: usize = 128;

impl NodeNetwork {
    /// Wires a pod: `eth0` with its address and a default route inside the pod's namespace,
    /// its loopback up, the other end a port of the bridge. Safe to repeat: what an earlier
    /// try left is replaced.
    ///
    /// # Errors
    /// Naming the interface, address or namespace. A failed try leaves no link behind.
    pub async fn attach(&self, request: AttachRequest) -> Result<Attachment, NetError> {
        check_pod_uid(&request.pod_uid)?;
        let inner = &self.inner;
        let block = inner.config.pod_cidr;
        let address = match request.address {
            IpAddr::V4(v4)
                if block.contains(request.address) && request.address != inner.gateway =>
            {
                v4
            }
            _ => {
                return Err(NetError::AddressOutside {
                    pod_uid: request.pod_uid,
                    address: request.address,
                    block,
                });
            }
        };
        let IpAddr::V4(gateway) = inner.gateway else {
            return Err(NetError::Ipv6PodCidr(block));
        };
        let host_interface = self.create_pair(&request).await?;
        let wired = self.wire(&request, &host_interface, address, gateway).await;
        if let Err(error) = wired {
            return Err(match inner.remover.remove(&host_interface).await {
                Ok(_) => error,
                Err(left) => NetError::Teardown(vec![error, left]),
            });
        }
        tracing::debug!(
            pod.uid = %request.pod_uid,
            net.interface = %host_interface,
            net.address = %request.address,
            "pod attached"
        );
        Ok(Attachment {
            host_interface,
            address: request.address,
            gateway: inner.gateway,
            mac: mac_for(request.address),
            mtu: inner.mtu.load(Ordering::Acquire),
        })
    }

    /// Takes a pod off the network and says whether it was on it. A pod whose namespace is
    /// gone is off already: its link went with it.
    ///
    /// # Errors
    /// Naming the interface that could not be removed.
    pub async fn detach(&self, pod_uid: &str) -> Result<bool, NetError> {
        let mut removed = false;
        for attempt in 0..INTERFACE_NAME_ATTEMPTS {
            let name = host_interface_name(pod_uid, attempt);
            let Some(link) = self.inner.routes.link(&name).await? else {
                continue;
            };
            let ours = match owner(&link) {
                Some(owner) => owner == pod_uid,
                // Cut short before it was labelled. The first name is this pod's unless two
                // uids collide, and then the other pod is not wired yet either.
                None => attempt == 0 && self.is_pod_link(&link),
            };
            if ours {
                self.dismiss(&link);
                removed |= self.inner.remover.remove(&name).await?;
            }
        }
        Ok(removed)
    }

    /// All links into pods that exist, whoever's daemon made them.
    ///
    /// # Errors
    /// When the interfaces cannot be listed.
    pub async fn attached(&self) -> Result<Vec<Attached>, NetError> {
        let links = self.pod_links().await?;
        let attached = links.into_iter().map(|link| {
            let alias = link.alias.as_deref().and_then(Alias::parse);
            Attached {
                host_interface: link.name,
                address: alias.as_ref().map(|alias| alias.address),
                pod_uid: alias.map(|alias| alias.pod_uid),
            }
        });
        Ok(attached.collect())
    }

    /// Removes a link by the name under which [`NodeNetwork::attached`] listed it: the way to
    /// sweep links that carry no pod's uid. Says whether it existed.
    ///
    /// # Errors
    /// Naming the interface; one that is not a link into a pod is refused.
    pub async fn remove_interface(&self, host_interface: &str) -> Result<bool, NetError> {
        match self.inner.routes.link(host_interface).await? {
            None => Ok(false),
            Some(link) if self.is_pod_link(&link) => {
                self.dismiss(&link);
                self.inner.remover.remove(host_interface).await
            }
            Some(_) => Err(NetError::WrongKind {
                interface: host_interface.to_owned(),
                expected: "link into a pod",
            }),
        }
    }

    pub(super) async fn pod_links(&self) -> Result<Vec<Link>, NetError> {
        let mut links = self.inner.routes.links().await?;
        if self.bridge_index().is_none() {
            // Not ensured by this process: take the bridge of a former one.
            let bridge = links
                .iter()
                .find(|link| link.name == self.inner.config.bridge);
            if let Some(bridge) = bridge {
                let index = bridge.index;
                links.retain(|link| is_pod_link_of(link, Some(index)));
                return Ok(links);
            }
        }
        links.retain(|link| self.is_pod_link(link));
        Ok(links)
    }

    fn is_pod_link(&self, link: &Link) -> bool {
        is_pod_link_of(link, self.bridge_index())
    }

    /// Makes the pair under the first name that is free or this pod's own.
    async fn create_pair(&self, request: &AttachRequest) -> Result<String, NetError> {
        let inner = &self.inner;
        let bridge_index = self.bridge_index().ok_or_else(|| NetError::NoInterface {
            interface: inner.config.bridge.clone(),
        })?;
        let mut taken = None;
        for attempt in 0..INTERFACE_NAME_ATTEMPTS {
            let name = host_interface_name(&request.pod_uid, attempt);
            let spec = VethSpec {
                host_name: &name,
                peer_name: POD_INTERFACE,
                peer_netns: request.netns.as_raw_fd(),
                peer_mac: mac_for(request.address),
                bridge_index,
                mtu: inner.mtu.load(Ordering::Acquire),
            };
            let error = match inner.routes.add_veth(&spec).await {
                Ok(()) => return Ok(name),
                Err(error) if error.is_present() => error,
                Err(error) => return Err(error),
            };
            // Either end's name may be the one that exists.
            match inner.routes.link(&name).await? {
                None => return Err(pod_interface_exists(request, error)),
                Some(link) => match owner(&link) {
                    Some(owner) if owner != request.pod_uid => {
                        taken = Some((name, owner));
                        continue;
                    }
                    _ => {
                        inner.remover.remove(&name).await?;
                    }
                },
            }
            match inner.routes.add_veth(&spec).await {
                Ok(()) => return Ok(name),
                Err(error) if error.is_present() => {
                    return Err(pod_interface_exists(request, error));
                }
                Err(error) => return Err(error),
            }
        }
        let (interface, owner) = taken.unwrap_or_default();
        Err(NetError::NameTaken {
            pod_uid: request.pod_uid.clone(),
            interface,
            owner,
        })
    }

    async fn wire(
        &self,
        request: &AttachRequest,
        host_interface: &str,
        address: Ipv4Addr,
        gateway: Ipv4Addr,
    ) -> Result<(), NetError> {
        let netns = request.netns.clone();
        let (near, nearer) = oneshot::channel();
        let inside = request
            .netns
            .run(move || configure_pod(&netns, address, gateway, near));
        // While that goes on, for it takes none of the pod's namespace.
        let outside = async {
            match nearer.await {
                Ok(index) => self.shorten(index, address).await,
                // Something is wrong inside, which is what will be said.
                Err(_) => None,
            }
        };
        let (inside, shortened) = tokio::join!(inside, outside);
        let index = inside??;
        let alias = Alias {
            pod_uid: request.pod_uid.clone(),
            address: request.address,
        };
        self.inner
            .routes
            .open_port(host_interface, &alias.to_string())
            .await?;
        if !self.is_shortened(shortened.as_ref()) {
            self.shorten(index, address).await;
        }
        Ok(())
    }
}

fn check_pod_uid(pod_uid: &str) -> Result<(), NetError> {
    let fits = (1..=POD_UID_MAX).contains(&pod_uid.len());
    if fits && pod_uid.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(NetError::PodUid(pod_uid.to_owned()))
}

fn owner(link: &Link) -> Option<String> {
    let alias = link.alias.as_deref().and_then(Alias::parse)?;
    Some(alias.pod_uid)
}

/// A link is a pod's if it has our kind of name and is either a port of our bridge or, should
/// somebody have removed the bridge, labelled by us.
fn is_pod_link_of(link: &Link, bridge_index: Option<u32>) -> bool {
    let on_bridge = link.bridge_index.is_some() && link.bridge_index == bridge_index;
    let orphan = link.bridge_index.is_none() && owner(link).is_some();
    link.kind == Some(InfoKind::Veth)
        && link.name.starts_with(INTERFACE_PREFIX)
        && (on_bridge || orphan)
}

/// The pod's namespace has an `eth0` that is not from us, so it is not ours to replace.
fn pod_interface_exists(request: &AttachRequest, error: NetError) -> NetError {
    match error {
        NetError::Interface { source, .. } => NetError::Interface {
            operation: "create",
            interface: format!("{POD_INTERFACE} in {}", request.netns.label()),
            source,
        },
        other => other,
    }
}

/// Runs inside the pod's namespace. Tells the index of the node's end as soon as it is known, and
/// in the end.
fn configure_pod(
    netns: &Netns,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
    near: oneshot::Sender<u32>,
) -> Result<u32, NetError> {
    let mut socket = WireSocket::open()?;
    let in_pod = |name: &str| format!("{name} in {}", netns.label());
    let interface_error = |operation, name: &str| {
        let interface = in_pod(name);
        move |source| NetError::Interface {
            operation,
            interface,
            source,
        }
    };
    let loopback = LinkUnspec::new_with_index(LOOPBACK_INDEX).up().build();
    socket
        .request(RouteNetlinkMessage::NewLink(loopback), 0)
        .map_err(interface_error("bring up", "lo"))?;
    let (index, node_end) = socket
        .link_ends(POD_INTERFACE)
        .map_err(interface_error("look up", POD_INTERFACE))?;
    // Who waits for it may have gone away, which is its right.
    let _ = near.send(node_end);
    // Nobody here speaks IPv6: without an address, it does not look for neighbours either, which
    // every other port of the bridge would hear.
    let mut silent = LinkUnspec::new_with_index(index).build();
    silent.attributes.push(without_ipv6_address());
    socket
        .request(RouteNetlinkMessage::NewLink(silent), 0)
        .map_err(interface_error("configure", POD_INTERFACE))?;
    let pod_end = LinkUnspec::new_with_index(index).up().build();
    socket
        .request(RouteNetlinkMessage::NewLink(pod_end), 0)
        .map_err(interface_error("bring up", POD_INTERFACE))?;
    let own = AddressMessageBuilder::<Ipv4Addr>::new()
        .index(index)
        .address(address, 32)
        .build();
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    socket
        .request(RouteNetlinkMessage::NewAddress(own), flags)
        .map_err(|source| NetError::Address {
            operation: "add",
            address: address.into(),
            interface: in_pod(POD_INTERFACE),
            source,
        })?;
    // The gateway is outside the pod's /32, so it needs a route of its own first.
    let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(gateway, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .build();
    let default = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(gateway)
        .output_interface(index)
        .build();
    let route_error = |destination: &str, source: io::Error| NetError::Route {
        operation: "add",
        destination: destination.to_owned(),
        interface: in_pod(POD_INTERFACE),
        source,
    };
    let mut add = |route: RouteMessage| socket.request(RouteNetlinkMessage::NewRoute(route), flags);
    add(to_gateway).map_err(|source| route_error(&gateway.to_string(), source))?;
    add(default).map_err(|source| route_error("default", source))?;
    Ok(node_end)
}
