//! The short way of established TCP connections between pods of different nodes.
//!
//! The long way of a packet that leaves by the VXLAN device goes over the bridge, the routing, the
//! table of connections and the packet filter; and back. For most packets it decides nothing: it
//! was decided with the connection's first. So programs in the kernel take packets from the pod's
//! link straight to the VXLAN device, and from that to the pod, once both directions of the
//! connection were seen to go the long way unchanged:
//!
//! ```text
//!  pod ── link ─┬─ bridge ── routing, filter ──┬─ VXLAN device ── wire
//!               │                              │
//!        from_pod: notes it           to_wire: confirms it
//!               └───────── the short way ──────┘
//!
//!  pod ── link ─┬─ bridge ── filter, routing ──┬─ VXLAN device ── wire
//!               │                              │
//!         to_pod: confirms it         from_wire: notes it
//! ```
//!
//! What the kernel does on the long way stays the truth; the short way only repeats it, and every
//! doubt sends a packet the long way:
//!
//! - **Unchanged.** A packet is noted where it begins, under its addresses and ports and with its
//!   TCP sequence number. If a packet with the same four and the same number comes to the end, it is
//!   this one, and nobody has translated it. A translated packet is noted under one name and comes
//!   under another, where nothing is noted, or another number.
//! - **Both directions.** The reply to a connection that a service has translated comes from the
//!   endpoint and must be translated back. Its name was never confirmed in the other direction, for
//!   the pod speaks to the service: so it goes the long way. On the endpoint's own node the same
//!   connection is not translated, and goes the short way.
//! - **Beginnings and ends.** SYN, FIN and RST go the long way, and after a FIN or RST all that
//!   follows: the table of connections learns of them as ever. A SYN forgets what was known, so that
//!   a new connection of the same name is judged anew. In between that table sees a few packets
//!   only: it must not find the last ones out of order (`nf_conntrack_tcp_be_liberal`).
//! - **Generations.** Every change of peers or rules begins a new one, after it is done. What is
//!   noted carries the generation of that moment and keeps it when it is confirmed, so nothing that
//!   was routed before a change counts after it.
//! - **Time.** What was confirmed is good for some seconds. Then a packet goes the long way again,
//!   and is confirmed again or is not. That also keeps the connection alive in the kernel's table,
//!   and finds what others change behind our back. That table may take the last packets that it saw
//!   for unanswered, and forget a connection that is idle for minutes: as there is nothing to
//!   translate, the next packet makes it known again.
//! - **Nobody speaks for another.** A pod's packets must come by its own link. What comes from other
//!   nodes was checked by the packet filter before it was unpacked, as ever.
//! - Fragments, options, other protocols, IPv6, and what is too large or has lived too long: the
//!   long way.
//!
//! The maps are shared by several processors without locks: the program at the beginning and that
//! at the end write different words of an entry. An entry may be given to another connection under
//! the hands of a program; what is written to the wrong one is gone with the next check.
//!
//! [`Shortcuts`] are the programs for one VXLAN device and one bridge. They know nothing of
//! netlink: [`crate::route`] hangs them on the interfaces and `node::shortcuts` says when. They stay
//! in the kernel without the daemon; the next daemon's take their places.

mod layout;
mod programs;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::{fs, io};

use kabuki_bpf::{
    AssemblyError, Instruction, Map, MapKind, Program, ProgramKind, with_locked_memory,
};

use crate::plan::Cidr;

use self::layout::{FLOW, FLOW_KEY, POD, POD_KEY, SETTINGS, SETTINGS_KEY, pod_key, settings};
use self::programs::{Tables, confirm, from_pod, from_wire};

/// How many directions of connections are known at once, each with about a hundred bytes. What
/// is used least goes first, and is seen anew with its next packet.
const FLOWS: u32 = 16_384;

/// No node has more pods than this; the map takes room for those that there are.
const PODS: u32 = 65_536;

/// Ticks of the kernel's clock, of which there are 100 to 1000 in a second: what was confirmed is
/// good for 3 to 30 seconds. The tick costs programs nothing to read; the time of day does.
const LIFETIME: u32 = 3_000;

/// What the programs are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    /// Index of the VXLAN device.
    pub(crate) overlay: u32,
    /// Index of the bridge.
    pub(crate) bridge: u32,
    /// Of the VXLAN device, in bytes.
    pub(crate) mtu: u32,
    /// All nodes' pods.
    pub(crate) cluster: Cidr,
    /// This node's pods.
    pub(crate) own: Cidr,
}

/// The kernel's version, in words.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// How a pod gets what came the short way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    /// Straight to its own end of the link.
    Within,
    /// By the node's end of the link, as from the bridge: through one queue more. Kernels before
    /// 6.7 need not count as received what did not come this way, and the pod's metrics would lack
    /// it.
    Across,
}

impl Delivery {
    fn of_kernel(release: &str) -> Self {
        let mut numbers = release
            .split(['.', '-'])
            .map_while(|part| part.parse().ok());
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version >= (6, 7) {
            Self::Within
        } else {
            Self::Across
        }
    }
}

/// The programs in the kernel, and what they are told. They go with this, except where they were
/// hung on an interface.
pub(crate) struct Shortcuts {
    places: Places,
    /// For the node's end of each pod's link, on the way in.
    pub(crate) from_pod: Program,
    /// For the VXLAN device, on the way in.
    pub(crate) from_wire: Program,
    /// For the VXLAN device, on the way out.
    pub(crate) to_wire: Program,
    /// For the bridge, on the way out.
    pub(crate) to_pod: Program,
    /// The programs hold it themselves; only tests look into it.
    #[cfg(test)]
    flows: Map<FLOW_KEY, FLOW>,
    pods: Map<POD_KEY, POD>,
    settings: Map<SETTINGS_KEY, SETTINGS>,
    /// Held while it is told, so that the kernel never hears of an older one last.
    generation: Mutex<u32>,
}

impl Shortcuts {
    /// Loads the programs. They do nothing before they are hung somewhere and know a pod.
    ///
    /// # Errors
    /// With the kernel's reason.
    pub(crate) fn load(places: Places) -> io::Result<Self> {
        let delivery = Delivery::of_kernel(&fs::read_to_string(RELEASE)?);
        with_locked_memory(|| Self::load_all(places, delivery))
    }

    fn load_all(places: Places, delivery: Delivery) -> io::Result<Self> {
        let flows = Map::<FLOW_KEY, FLOW>::create(MapKind::LruHash, "kabuki_flows", FLOWS)?;
        let pods = Map::create(MapKind::Hash, "kabuki_pods", PODS)?;
        let settings_map = Map::create(MapKind::Array, "kabuki_settings", 1)?;
        let tables = Tables {
            flows: flows.descriptor(),
            pods: pods.descriptor(),
            settings: settings_map.descriptor(),
        };
        let loaded = Self {
            from_pod: load("kb_from_pod", from_pod(&places, tables))?,
            from_wire: load("kb_from_wire", from_wire(tables, delivery))?,
            to_wire: load("kb_to_wire", confirm(places.bridge, tables))?,
            to_pod: load("kb_to_pod", confirm(places.overlay, tables))?,
            places,
            #[cfg(test)]
            flows,
            pods,
            settings: settings_map,
            generation: Mutex::new(0),
        };
        loaded.renew()?;
        Ok(loaded)
    }

    /// What they are for.
    pub(crate) fn places(&self) -> Places {
        self.places
    }

    /// Begins a new generation: what was seen until now counts no more.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let mut generation = self.lock();
        // 0 is none.
        *generation = generation.checked_add(1).unwrap_or(1);
        self.tell(*generation, LIFETIME)
    }

    /// Has all packets take the long way, wherever the programs still hang.
    pub(crate) fn close(&self) -> io::Result<()> {
        let _generation = self.lock();
        self.tell(0, LIFETIME)
    }

    /// Opens the short way to a pod that has this address behind this link.
    pub(crate) fn admit(&self, address: Ipv4Addr, link: u32) -> io::Result<()> {
        self.pods.put(&pod_key(address), &link.to_ne_bytes())
    }

    /// Closes it again, unless the address has been given to another pod.
    pub(crate) fn dismiss(&self, address: Ipv4Addr, link: u32) -> io::Result<()> {
        let key = pod_key(address);
        match self.pods.get(&key)? {
            Some(found) if found == link.to_ne_bytes() => self.pods.remove(&key),
            _ => Ok(()),
        }
    }

    fn tell(&self, generation: u32, lifetime: u32) -> io::Result<()> {
        let only = [0; SETTINGS_KEY];
        self.settings.put(&only, &settings(generation, lifetime))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, u32> {
        self.generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(name: &str, program: Result<Vec<Instruction>, AssemblyError>) -> io::Result<Program> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let program = program.map_err(io::Error::other).map_err(named)?;
    Program::load(ProgramKind::SchedClassifier, name, &program).map_err(named)
}

/// The network and the mask of a block, as in packets.
fn raw_block(block: Cidr) -> (u32, u32) {
    let IpAddr::V4(network) = block.network() else {
        // Networks of this version are IPv4; of another block there is nothing.
        return (0, u32::MAX);
    };
    let bits = 32 - u32::from(block.prefix_len());
    let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
    (u32::from(network).to_be(), mask.to_be())
}

#[cfg(test)]
pub(crate) mod tests;
