//! UDP connections that lead to an endpoint which is gone: the kernel would go on sending there
//! for as long as the client does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::failed;
use crate::nft::{Connection, Conntrack};
use crate::plan::services::{Delta, EntryKey, FrontKey, Owner, Services, Target, UDP};
use crate::{NetError, NodeNetwork};

/// Where UDP connections may lead, of the fronts that a change concerns.
#[derive(Debug, Default)]
pub struct UdpFronts {
    addresses: BTreeMap<(Ipv4Addr, u16), BTreeSet<Target>>,
    node_ports: BTreeMap<u16, BTreeSet<Target>>,
}

impl UdpFronts {
    /// Of all owners that a change names, if it takes UDP endpoints away or adds a front.
    pub fn concerned<'a>(
        delta: &Delta,
        owners: impl IntoIterator<Item = &'a Owner>,
        services: &Services,
    ) -> Option<Self> {
        let is_udp = |key: &EntryKey| match key {
            EntryKey::Endpoint { primary, .. } => primary.protocol == UDP,
            EntryKey::Front(front) => front.protocol() == UDP,
            _ => false,
        };
        if !delta
            .drop
            .iter()
            .chain(&delta.add)
            .any(|(key, _)| is_udp(key))
        {
            return None;
        }
        let mut fronts = Self::default();
        for plan in owners.into_iter().flat_map(|owner| services.plans(owner)) {
            let targets = || plan.cluster.iter().chain(&plan.local).copied();
            for front in plan.fronts.iter().filter(|f| f.key.protocol() == UDP) {
                match front.key {
                    FrontKey::Address(at) => {
                        let held = fronts.addresses.entry((at.address, at.port));
                        held.or_default().extend(targets());
                    }
                    FrontKey::NodePort { port, .. } => {
                        fronts.node_ports.entry(port).or_default().extend(targets());
                    }
                }
            }
        }
        // Fronts that are gone lead nowhere.
        for (key, _) in &delta.drop {
            match key {
                EntryKey::Front(FrontKey::Address(at)) if at.protocol == UDP => {
                    fronts.addresses.entry((at.address, at.port)).or_default();
                }
                EntryKey::Front(FrontKey::NodePort { protocol, port }) if *protocol == UDP => {
                    fronts.node_ports.entry(*port).or_default();
                }
                _ => {}
            }
        }
        Some(fronts)
    }

    /// Those of all services.
    pub fn all(services: &Services) -> Self {
        let every = Delta {
            add: services.entries().into_iter().collect(),
            drop: Vec::new(),
        };
        Self::concerned(&every, services.owners(), services).unwrap_or_default()
    }

    /// Takes over what is known later: where each of its fronts leads now.
    pub fn merge(&mut self, newer: Self) {
        self.addresses.extend(newer.addresses);
        self.node_ports.extend(newer.node_ports);
    }

    fn is_stale(&self, connection: &Connection, is_own: impl Fn(Ipv4Addr) -> bool) -> bool {
        let (address, port) = connection.answered_by;
        let target = Target { address, port };
        if let Some(targets) = self.addresses.get(&connection.to) {
            return !targets.contains(&target);
        }
        match self.node_ports.get(&connection.to.1) {
            Some(targets) if is_own(connection.to.0) => !targets.contains(&target),
            _ => false,
        }
    }
}

/// The kernel's UDP connections. To look at them takes it milliseconds, also when there are none.
pub struct Datagrams {
    conntrack: Conntrack,
}

impl NodeNetwork {
    /// The UDP connections of this node. Blocks shortly.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn datagrams(&self) -> Result<Datagrams, NetError> {
        let conntrack = Conntrack::open(self.netns()).map_err(|source| NetError::Socket {
            purpose: "connections",
            source,
        })?;
        Ok(Datagrams { conntrack })
    }
}

impl Datagrams {
    /// Forgets UDP connections to these fronts that lead elsewhere than to their endpoints. Says
    /// how many there were. `own` are the node's addresses. When all have been looked at,
    /// `meanwhile` adds to the fronts what has changed: a connection that is right by now stays.
    ///
    /// # Errors
    /// When the kernel's connections cannot be read or removed.
    pub fn forget_stale(
        &mut self,
        fronts: &mut UdpFronts,
        own: &[IpAddr],
        meanwhile: impl FnOnce(&mut UdpFronts),
    ) -> Result<usize, NetError> {
        if fronts.addresses.is_empty() && fronts.node_ports.is_empty() {
            return Ok(0);
        }
        let is_own = |address: Ipv4Addr| own.contains(&IpAddr::V4(address));
        let forget = |error| failed("forget connections of", error);
        let mut stale = self
            .conntrack
            .connections(UDP, |connection| fronts.is_stale(connection, is_own))
            .map_err(forget)?;
        meanwhile(fronts);
        stale.retain(|connection| fronts.is_stale(connection, is_own));
        for connection in &stale {
            self.conntrack.forget(connection).map_err(forget)?;
        }
        Ok(stale.len())
    }
}
