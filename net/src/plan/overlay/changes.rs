//! What to do so that the kernel has what [`super::overlay_plan`] wants.
//!
//! The order keeps packets flowing: what a route needs is there before the route, and goes
//! after it; a route that changes is replaced in one step. Entries of peers that did not
//! change do not occur.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::{Cidr, Desired, MacAddress, Path, VxlanDevice, tunnel_end};

/// What the kernel has of the overlay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverlayState {
    /// Whether the packet filter checks what comes in by VXLAN.
    pub guarded: bool,
    /// The VXLAN device.
    pub device: Option<FoundDevice>,
    /// This node's own routes to blocks; `None` for one by the VXLAN device.
    pub routes: BTreeMap<Cidr, Option<(Ipv4Addr, u32)>>,
    /// Permanent neighbours on the VXLAN device.
    pub neighbours: BTreeMap<IpAddr, MacAddress>,
    /// Where the VXLAN device sends frames for a hardware address.
    pub forwarding: BTreeMap<MacAddress, Ipv4Addr>,
    /// From which node's address which sources are taken.
    pub members: BTreeSet<(Ipv4Addr, Cidr)>,
}

/// A VXLAN device as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    /// What can be compared with what is wanted.
    pub device: VxlanDevice,
    /// Whether it learns addresses from what comes in, which ours never does.
    pub learning: bool,
    /// Whether it is up.
    pub up: bool,
}

/// One step. Those about a peer name its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Have the packet filter check what comes in by VXLAN.
    Guard,
    /// End that.
    Unguard,
    /// Make the VXLAN device, up.
    CreateDevice(VxlanDevice),
    /// Bring the device's hardware address and MTU into order, and the device up.
    AdjustDevice(VxlanDevice),
    /// Remove the device, and with it its routes, neighbours and forwarding entries.
    RemoveDevice,
    /// Take packets from this node's address, if their source is in the block.
    AddMember(Ipv4Addr, Cidr),
    /// No longer.
    DropMember(Ipv4Addr, Cidr),
    /// Send frames for the block's tunnel end to this node.
    SetForwarding(Cidr, Ipv4Addr),
    /// Forget a forwarding entry.
    DropForwarding(MacAddress),
    /// Tell the hardware address of the block's tunnel end.
    SetNeighbour(Cidr),
    /// Forget a neighbour.
    DropNeighbour(IpAddr),
    /// Add the route to a block that has none of ours.
    AddRoute(Cidr, Path),
    /// Put another route in the place of ours.
    ReplaceRoute(Cidr, Path),
    /// Remove our route.
    DropRoute(Cidr),
}

impl Change {
    /// The block of the peer that waits for this step; `None` when all peers do, or none.
    pub fn block(&self) -> Option<Cidr> {
        match self {
            Self::AddMember(_, block)
            | Self::SetForwarding(block, _)
            | Self::SetNeighbour(block)
            | Self::AddRoute(block, _)
            | Self::ReplaceRoute(block, _) => Some(*block),
            _ => None,
        }
    }

    /// Whether it takes an entry away, so that the steps after it do not need it.
    pub fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::DropMember(..)
                | Self::DropForwarding(_)
                | Self::DropNeighbour(_)
                | Self::DropRoute(_)
        )
    }
}

/// The steps from `actual` to `desired`.
pub fn overlay_changes(desired: &Desired, actual: &OverlayState) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut now = actual.clone();
    let mut step = |now: &mut OverlayState, change: Change| {
        now.apply(&change);
        changes.push(change);
    };
    for block in actual.routes.keys() {
        if !desired.paths.contains_key(block) {
            step(&mut now, Change::DropRoute(*block));
        }
    }
    for change in device_changes(desired, &now) {
        step(&mut now, change);
    }
    // All at once, for the set takes many as easily as one.
    for (block, node) in tunnels(desired) {
        if !now.members.contains(&(node, block)) {
            step(&mut now, Change::AddMember(node, block));
        }
    }
    for (block, node) in tunnels(desired) {
        let (end, mac) = tunnel_end(block);
        if now.forwarding.get(&mac) != Some(&node) {
            step(&mut now, Change::SetForwarding(block, node));
        }
        if now.neighbours.get(&end) != Some(&mac) {
            step(&mut now, Change::SetNeighbour(block));
        }
    }
    for (block, path) in &desired.paths {
        match now.routes.get(block) {
            None => step(&mut now, Change::AddRoute(*block, *path)),
            Some(route) if *route == route_of(path) => {}
            Some(_) => step(&mut now, Change::ReplaceRoute(*block, *path)),
        }
    }
    for change in leftovers(desired, &now) {
        step(&mut now, change);
    }
    changes
}

/// What has to be there before the first entry of a peer.
fn device_changes(desired: &Desired, now: &OverlayState) -> Vec<Change> {
    let Some(wanted) = &desired.device else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    if !now.guarded {
        changes.push(Change::Guard);
    }
    match &now.device {
        None => changes.push(Change::CreateDevice(wanted.clone())),
        Some(found) if !found.can_become(wanted) => {
            changes.push(Change::RemoveDevice);
            changes.push(Change::CreateDevice(wanted.clone()));
        }
        Some(found) if !found.up || found.device != *wanted => {
            changes.push(Change::AdjustDevice(wanted.clone()));
        }
        Some(_) => {}
    }
    changes
}

/// What no route needs any more.
fn leftovers(desired: &Desired, now: &OverlayState) -> Vec<Change> {
    let mut changes = Vec::new();
    if desired.device.is_none() {
        if now.device.is_some() {
            changes.push(Change::RemoveDevice);
        }
        if now.guarded || !now.members.is_empty() {
            changes.push(Change::Unguard);
        }
        return changes;
    }
    let ends: BTreeMap<_, _> = tunnels(desired).map(|(b, _)| tunnel_end(b)).collect();
    let macs: BTreeSet<_> = ends.values().collect();
    let members: BTreeSet<_> = tunnels(desired).map(|(b, node)| (node, b)).collect();
    let neighbours = now.neighbours.keys();
    let stale = neighbours.filter(|address| !ends.contains_key(*address));
    changes.extend(stale.map(|address| Change::DropNeighbour(*address)));
    let stale = now.forwarding.keys().filter(|mac| !macs.contains(mac));
    changes.extend(stale.map(|mac| Change::DropForwarding(*mac)));
    let stale = now.members.difference(&members);
    changes.extend(stale.map(|(node, block)| Change::DropMember(*node, *block)));
    changes
}

fn tunnels(desired: &Desired) -> impl Iterator<Item = (Cidr, Ipv4Addr)> {
    desired.paths.iter().filter_map(|(block, path)| match path {
        Path::Vxlan { node } => Some((*block, *node)),
        Path::Direct { .. } => None,
    })
}

fn route_of(path: &Path) -> Option<(Ipv4Addr, u32)> {
    match path {
        Path::Direct { via, interface } => Some((*via, *interface)),
        Path::Vxlan { .. } => None,
    }
}

impl FoundDevice {
    /// Whether it can be changed into `wanted`; else it must be made anew.
    fn can_become(&self, wanted: &VxlanDevice) -> bool {
        !self.learning
            && self.device.settings == wanted.settings
            && self.device.local == wanted.local
    }
}

impl OverlayState {
    /// What the kernel has after a step that succeeded.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Guard => self.guarded = true,
            Change::Unguard => {
                self.guarded = false;
                self.members.clear();
            }
            Change::CreateDevice(device) | Change::AdjustDevice(device) => {
                self.device = Some(FoundDevice {
                    device: device.clone(),
                    learning: false,
                    up: true,
                });
            }
            Change::RemoveDevice => {
                self.device = None;
                self.routes.retain(|_, route| route.is_some());
                self.neighbours.clear();
                self.forwarding.clear();
            }
            Change::AddMember(node, block) => drop(self.members.insert((*node, *block))),
            Change::DropMember(node, block) => drop(self.members.remove(&(*node, *block))),
            Change::SetForwarding(block, node) => {
                self.forwarding.insert(tunnel_end(*block).1, *node);
            }
            Change::DropForwarding(mac) => drop(self.forwarding.remove(mac)),
            Change::SetNeighbour(block) => {
                let (end, mac) = tunnel_end(*block);
                self.neighbours.insert(end, mac);
            }
            Change::DropNeighbour(address) => drop(self.neighbours.remove(address)),
            Change::AddRoute(block, path) | Change::ReplaceRoute(block, path) => {
                self.routes.insert(*block, route_of(path));
            }
            Change::DropRoute(block) => drop(self.routes.remove(block)),
        }
    }
}
