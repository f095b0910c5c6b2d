//! Connects the node to its peers: what [`crate::plan::overlay_plan`] wants is compared with
//! what the kernel has, and the difference carried out.
//!
//! What the kernel has is read once, and from then on known from what was done; after a
//! failure, and when somebody else may have changed something, it is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;

use rtnetlink::packet_route::link::InfoKind;

use super::NodeNetwork;
use crate::NetError;
use crate::plan::{
    Change, Cidr, Desired, FoundDevice, MacAddress, NodeNet, OverlayState, Path, Peer, VxlanDevice,
    overlay_changes, overlay_plan, tunnel_end,
};
use crate::route::{BlockRoute, Link};

/// A peer that is not connected, or not fully.
#[derive(Debug)]
pub struct PeerFailure {
    /// The peer's name.
    pub peer: String,
    /// Why.
    pub reason: NetError,
}

impl PeerFailure {
    /// Whether it stays as long as the Node objects and this node's addresses stay: trying
    /// again is of no use.
    pub fn is_lasting(&self) -> bool {
        matches!(self.reason, NetError::Peer(_))
    }
}

impl NodeNetwork {
    /// Makes `peers` the nodes whose pods this node reaches, and that reach its pods. Only what
    /// differs from before is changed, and connections by what stays are not disturbed. Call
    /// [`NodeNetwork::ensure`] first.
    ///
    /// Returns the peers that could not be connected; all others are. Of two peers that claim
    /// the same addresses, the earlier one has them.
    ///
    /// # Errors
    /// What failed for all peers that it concerns: the device, the packet filter, or reading
    /// what there is.
    pub async fn set_peers(&self, peers: &[Peer]) -> Result<Vec<PeerFailure>, NetError> {
        let inner = &self.inner;
        let mut known = inner.overlay.lock().await;
        // Until all is done, nothing is known for sure.
        let before = known.take();
        let mut state = match before {
            Some(state) => state,
            None => self.read_overlay().await?,
        };
        let desired = self.plan_overlay(peers).await?;
        let mut failures: Vec<PeerFailure> = desired
            .problems
            .iter()
            .map(|(peer, problem)| PeerFailure {
                peer: peer.clone(),
                reason: problem.clone().into(),
            })
            .collect();
        let changes = overlay_changes(&desired, &state);
        let done = self.carry_out(&desired, &changes, &mut state, &mut failures);
        let done = done.await;
        // Also if only some of it was done.
        self.renew_shortcuts(!changes.is_empty()).await;
        if done? {
            *known = Some(state);
        }
        Ok(failures)
    }

    /// Has the next [`NodeNetwork::set_peers`] look at what the kernel has, whoever changed it.
    pub async fn forget_peers(&self) {
        self.inner.overlay.lock().await.take();
    }

    async fn plan_overlay(&self, peers: &[Peer]) -> Result<Desired, NetError> {
        if peers.is_empty() {
            return Ok(Desired::default());
        }
        let inner = &self.inner;
        let config = &inner.config;
        let segments = inner.routes.segments().await?;
        let node_ip = match config.node_ip {
            IpAddr::V4(v4) if segments.iter().any(|s| s.address == IpAddr::V4(v4)) => v4,
            other => return Err(NetError::NodeAddress(other)),
        };
        let own = NodeNet {
            node_ip,
            pod_cidr: config.pod_cidr,
            cluster_cidr: config.cluster_cidr,
            vxlan: config.vxlan.clone(),
            mtu: inner.mtu.load(Ordering::Acquire),
        };
        Ok(overlay_plan(&own, peers, &segments, config.mode))
    }

    /// Does all that can be done, and says whether that was everything.
    async fn carry_out(
        &self,
        desired: &Desired,
        changes: &[Change],
        state: &mut OverlayState,
        failures: &mut Vec<PeerFailure>,
    ) -> Result<bool, NetError> {
        let mut failed: BTreeSet<Cidr> = BTreeSet::new();
        let mut left_over = None;
        let mut device = None;
        let mut rest = changes;
        while let Some((change, after)) = rest.split_first() {
            // New members are added together; everything else one by one.
            let members = members_at_start(rest);
            if !members.is_empty() {
                let (batch, after) = rest.split_at(members.len());
                rest = after;
                self.inner.filter.add_members(&members).await?;
                batch.iter().for_each(|change| state.apply(change));
                continue;
            }
            rest = after;
            if change.block().is_some_and(|block| failed.contains(&block)) {
                continue;
            }
            match (self.change(change, &mut device).await, change.block()) {
                (Ok(()), _) => state.apply(change),
                (Err(reason), Some(block)) => {
                    failed.insert(block);
                    let peer = desired.owners.get(&block).cloned().unwrap_or_default();
                    failures.push(PeerFailure { peer, reason });
                }
                // What could not be taken away is in nobody's way.
                (Err(reason), None) if change.is_removal() => left_over = Some(reason),
                (Err(reason), None) => return Err(reason),
            }
        }
        match left_over {
            Some(reason) => Err(reason),
            None => Ok(failed.is_empty()),
        }
    }

    async fn change(&self, change: &Change, device: &mut Option<Link>) -> Result<(), NetError> {
        let inner = &self.inner;
        let (routes, filter) = (&inner.routes, &inner.filter);
        let vxlan = &inner.config.vxlan;
        match change {
            Change::Guard => filter.guard(vxlan.port, vxlan.vni).await,
            Change::Unguard => filter.unguard().await,
            Change::CreateDevice(wanted) => routes.add_vxlan(wanted).await,
            Change::AdjustDevice(wanted) => {
                let link = self.overlay_link(device).await?;
                routes.set_up(&link, wanted.mac, wanted.mtu).await
            }
            Change::RemoveDevice => {
                *device = None;
                inner.remover.remove(&vxlan.device).await.map(drop)
            }
            Change::AddMember(node, block) => filter.add_members(&[(*node, *block)]).await,
            Change::DropMember(node, block) => filter.drop_member((*node, *block)).await,
            Change::SetForwarding(block, node) => {
                let link = self.overlay_link(device).await?;
                let (_, mac) = tunnel_end(*block);
                routes.set_forwarding(&link, mac, *node).await
            }
            Change::DropForwarding(mac) => {
                let link = self.overlay_link(device).await?;
                routes.drop_forwarding(&link, *mac).await
            }
            Change::SetNeighbour(block) => {
                let link = self.overlay_link(device).await?;
                let (address, mac): (IpAddr, MacAddress) = tunnel_end(*block);
                routes.set_neighbour(&link, address, mac).await
            }
            Change::DropNeighbour(address) => {
                let link = self.overlay_link(device).await?;
                routes.drop_neighbour(&link, *address).await
            }
            Change::AddRoute(block, path) => {
                let route = self.route(*block, path, device).await?;
                routes.put_route(&route, false).await
            }
            Change::ReplaceRoute(block, path) => {
                let route = self.route(*block, path, device).await?;
                routes.put_route(&route, true).await
            }
            Change::DropRoute(block) => self.drop_routes_to(*block).await,
        }
    }

    /// The VXLAN device, looked up once.
    async fn overlay_link(&self, device: &mut Option<Link>) -> Result<Link, NetError> {
        if let Some(link) = device {
            return Ok(link.clone());
        }
        let name = self.inner.config.vxlan.device.as_str();
        let found = self.inner.routes.link(name).await?;
        let link = found.ok_or_else(|| NetError::NoInterface {
            interface: name.to_owned(),
        })?;
        *device = Some(link.clone());
        Ok(link)
    }

    async fn route(
        &self,
        block: Cidr,
        path: &Path,
        device: &mut Option<Link>,
    ) -> Result<BlockRoute, NetError> {
        let (via, interface) = match path {
            Path::Direct { via, interface } => (*via, *interface),
            Path::Vxlan { .. } => {
                let end = v4(tunnel_end(block).0, block)?;
                (end, self.overlay_link(device).await?.index)
            }
        };
        Ok(BlockRoute {
            block,
            via,
            interface,
            source: v4(self.inner.gateway, self.inner.config.pod_cidr)?,
        })
    }

    /// Removes our route to a block, wherever it goes.
    async fn drop_routes_to(&self, block: Cidr) -> Result<(), NetError> {
        let routes = &self.inner.routes;
        for route in routes.block_routes(&[self.inner.gateway]).await? {
            if route.block == block {
                routes.drop_route(&route).await?;
            }
        }
        Ok(())
    }

    /// What the kernel has. That the packet filter checks is never taken for granted.
    async fn read_overlay(&self) -> Result<OverlayState, NetError> {
        let inner = &self.inner;
        let name = inner.config.vxlan.device.as_str();
        let link = inner.routes.link(name).await?;
        let mut state = OverlayState {
            members: inner.filter.members().await?.into_iter().collect(),
            ..OverlayState::default()
        };
        let mut index = None;
        if let Some(link) = link {
            state.device = Some(found_device(&link)?);
            state.neighbours = inner.routes.neighbours(&link).await?;
            state.forwarding = inner.routes.forwarding(&link).await?;
            index = Some(link.index);
        }
        let routes = inner.routes.block_routes(&[inner.gateway]).await?;
        let routes = routes.into_iter().map(|route| {
            let direct = Some((route.via, route.interface));
            let path = direct.filter(|(_, interface)| Some(*interface) != index);
            (route.block, path)
        });
        state.routes = routes.collect::<BTreeMap<_, _>>();
        Ok(state)
    }
}

fn members_at_start(changes: &[Change]) -> Vec<(Ipv4Addr, Cidr)> {
    let members = changes.iter().map_while(|change| match change {
        Change::AddMember(node, block) => Some((*node, *block)),
        _ => None,
    });
    members.collect()
}

fn found_device(link: &Link) -> Result<FoundDevice, NetError> {
    let wrong_kind = || NetError::WrongKind {
        interface: link.name.clone(),
        expected: "VXLAN device",
    };
    if link.kind != Some(InfoKind::Vxlan) {
        return Err(wrong_kind());
    }
    let info = link.vxlan.as_ref().ok_or_else(wrong_kind)?;
    let mac = link.mac.as_slice().try_into().unwrap_or_default();
    Ok(FoundDevice {
        device: VxlanDevice {
            settings: info.settings(&link.name),
            local: info.local.unwrap_or(Ipv4Addr::UNSPECIFIED),
            mac: MacAddress(mac),
            mtu: link.mtu,
        },
        learning: info.learning,
        up: link.up,
    })
}

fn v4(address: IpAddr, block: Cidr) -> Result<Ipv4Addr, NetError> {
    match address {
        IpAddr::V4(v4) => Ok(v4),
        IpAddr::V6(_) => Err(NetError::Ipv6PodCidr(block)),
    }
}
