//! The sets of the table, and entries as the kernel has them. Fields are padded to four bytes,
//! as the kernel's registers are.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::nft::{MapKind, SetSpec};
use crate::plan::services::{EntryKey, EntryValue, FrontKey, Primary, Scope, Shape, Target};

pub(super) const FRONTS: &str = "service-fronts";
pub(super) const NODE_PORTS: &str = "service-nodeports";
pub(super) const ENDPOINTS: &str = "service-endpoints";
pub(super) const SHAPES: &str = "service-shapes";
pub(super) const MEMORY: &str = "service-affinity";
pub(super) const MEMBERS: &str = "service-members";
pub(super) const LOCAL_MEMBERS: &str = "service-local-members";
pub(super) const SOURCES: &str = "service-sources";
pub(super) const OUTSIDE: &str = "service-outside";
pub(super) const HAIRPINS: &str = "service-hairpins";

/// Clients that are remembered at most: beyond it, affinity is lost and nothing else.
const MEMORY_SIZE: u32 = 1 << 17;

/// `nft`'s numbers of types, for it to show what is in the sets.
const IPV4: u32 = 7;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const MARK: u32 = 19;

const fn joined(types: &[u32]) -> u32 {
    let (mut all, mut at) = (0, 0);
    while at < types.len() {
        all = all << 6 | types[at];
        at += 1;
    }
    all
}

const FRONT_DATA: u32 = joined(&[MARK, MARK, IPV4, PROTOCOL, PORT]);
const TARGET: u32 = joined(&[IPV4, PORT]);
const MEMBER: u32 = joined(&[IPV4, PROTOCOL, PORT, IPV4, PORT]);

const fn set(name: &'static str, kind: MapKind, key_type: u32, fields: u32, data: u32) -> SetSpec {
    SetSpec {
        name,
        kind,
        key_bytes: fields * 4,
        key_type,
        data_type: data,
        size: 0,
    }
}

/// All sets.
pub(super) const SETS: [SetSpec; 10] = [
    set(
        FRONTS,
        MapKind::Data(20),
        joined(&[IPV4, PROTOCOL, PORT]),
        3,
        FRONT_DATA,
    ),
    set(
        NODE_PORTS,
        MapKind::Data(20),
        joined(&[PROTOCOL, PORT]),
        2,
        FRONT_DATA,
    ),
    set(
        ENDPOINTS,
        MapKind::Data(8),
        joined(&[IPV4, PROTOCOL, PORT, MARK]),
        4,
        TARGET,
    ),
    set(SHAPES, MapKind::Verdicts, joined(&[MARK, MARK]), 2, 0),
    SetSpec {
        size: MEMORY_SIZE,
        ..set(
            MEMORY,
            MapKind::Memory(8),
            joined(&[IPV4, IPV4, PROTOCOL, PORT]),
            4,
            TARGET,
        )
    },
    set(MEMBERS, MapKind::Set, MEMBER, 5, 0),
    set(LOCAL_MEMBERS, MapKind::Set, MEMBER, 5, 0),
    set(
        SOURCES,
        MapKind::Ranges(&[4, 1, 2, 4]),
        joined(&[IPV4, PROTOCOL, PORT, IPV4]),
        4,
        0,
    ),
    set(OUTSIDE, MapKind::Set, joined(&[IPV4, PROTOCOL, PORT]), 3, 0),
    set(HAIRPINS, MapKind::Set, joined(&[IPV4, IPV4]), 2, 0),
];

/// Bytes of a key or of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bytes {
    held: [u8; 20],
    length: usize,
}

impl Bytes {
    pub fn as_slice(&self) -> &[u8] {
        self.held.get(..self.length).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.held.get_mut(self.length..self.length + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self.length += 4;
    }

    pub fn address(mut self, address: Ipv4Addr) -> Self {
        self.push(&address.octets());
        self
    }

    pub fn protocol(mut self, protocol: u8) -> Self {
        self.push(&[protocol]);
        self
    }

    pub fn port(mut self, port: u16) -> Self {
        self.push(&port.to_be_bytes());
        self
    }

    /// In the machine's own order.
    pub fn word(mut self, word: u32) -> Self {
        self.push(&word.to_ne_bytes());
        self
    }

    pub fn primary(self, primary: Primary) -> Self {
        self.address(primary.address)
            .protocol(primary.protocol)
            .port(primary.port)
    }

    pub fn target(self, target: Target) -> Self {
        self.address(target.address).port(target.port)
    }
}

/// Where an entry is, under which key, and up to which in a set of ranges.
pub(super) fn key(key: &EntryKey) -> (&'static str, Bytes, Option<Bytes>) {
    let new = Bytes::default();
    match key {
        EntryKey::Endpoint { primary, index } => {
            (ENDPOINTS, new.primary(*primary).word(*index), None)
        }
        EntryKey::Member {
            scope,
            primary,
            target,
        } => {
            let set = match scope {
                Scope::Cluster => MEMBERS,
                Scope::Local => LOCAL_MEMBERS,
            };
            (set, new.primary(*primary).target(*target), None)
        }
        EntryKey::Source { front, from, to } => {
            let front = new.primary(*front);
            (SOURCES, front.address(*from), Some(front.address(*to)))
        }
        EntryKey::Outside { protocol, target } => {
            let key = new.address(target.address).protocol(*protocol);
            (OUTSIDE, key.port(target.port), None)
        }
        EntryKey::Front(FrontKey::Address(primary)) => (FRONTS, new.primary(*primary), None),
        EntryKey::Front(FrontKey::NodePort { protocol, port }) => {
            (NODE_PORTS, new.protocol(*protocol).port(*port), None)
        }
    }
}

/// What an entry of a map says, and its note.
pub(super) fn data(value: &EntryValue) -> Option<(Bytes, &str)> {
    let new = Bytes::default();
    match value {
        EntryValue::Present => None,
        EntryValue::Target(target) => Some((new.target(*target), "")),
        EntryValue::Front {
            shape,
            primary,
            note,
        } => {
            let [first, second] = shape.words();
            let data = new.word(first).word(second).primary(*primary);
            Some((data, note))
        }
    }
}

/// An element as it was read.
pub(super) struct Raw<'a> {
    pub key: &'a [u8],
    pub key_end: Option<&'a [u8]>,
    pub data: &'a [u8],
    pub note: &'a str,
}

/// The entry that an element is; `None` when it is none of ours.
pub(super) fn read(set: &str, raw: &Raw<'_>) -> Option<(EntryKey, EntryValue)> {
    let entry = match set {
        ENDPOINTS => {
            let key = EntryKey::Endpoint {
                primary: primary_at(raw.key, 0)?,
                index: word_at(raw.key, 3)?,
            };
            (key, EntryValue::Target(target_at(raw.data, 0)?))
        }
        MEMBERS | LOCAL_MEMBERS => {
            let scope = if set == MEMBERS {
                Scope::Cluster
            } else {
                Scope::Local
            };
            let key = EntryKey::Member {
                scope,
                primary: primary_at(raw.key, 0)?,
                target: target_at(raw.key, 3)?,
            };
            (key, EntryValue::Present)
        }
        SOURCES => {
            let key = EntryKey::Source {
                front: primary_at(raw.key, 0)?,
                from: address_at(raw.key, 3)?,
                to: address_at(raw.key_end.unwrap_or(raw.key), 3)?,
            };
            (key, EntryValue::Present)
        }
        OUTSIDE => {
            let primary = primary_at(raw.key, 0)?;
            let target = Target {
                address: primary.address,
                port: primary.port,
            };
            let key = EntryKey::Outside {
                protocol: primary.protocol,
                target,
            };
            (key, EntryValue::Present)
        }
        FRONTS => {
            let at = FrontKey::Address(primary_at(raw.key, 0)?);
            (EntryKey::Front(at), front(raw)?)
        }
        NODE_PORTS => {
            let at = FrontKey::NodePort {
                protocol: protocol_at(raw.key, 0)?,
                port: port_at(raw.key, 1)?,
            };
            (EntryKey::Front(at), front(raw)?)
        }
        _ => return None,
    };
    // Padding that is not zero, and the like, would not be found again.
    let (_, bytes, _) = key(&entry.0);
    (bytes.as_slice() == raw.key).then_some(entry)
}

fn front(raw: &Raw<'_>) -> Option<EntryValue> {
    let words = [word_at(raw.data, 0)?, word_at(raw.data, 1)?];
    Some(EntryValue::Front {
        shape: Shape::from_words(words)?,
        primary: primary_at(raw.data, 2)?,
        note: Arc::from(raw.note),
    })
}

/// The shape whose words a key is.
pub(super) fn shape(key: &[u8]) -> Option<Shape> {
    Shape::from_words([word_at(key, 0)?, word_at(key, 1)?])
}

fn register(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at * 4..at * 4 + 4)?.try_into().ok()
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(register(bytes, at)?))
}

fn address_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(register(bytes, at)?.into())
}

fn protocol_at(bytes: &[u8], at: usize) -> Option<u8> {
    let [protocol, ..] = register(bytes, at)?;
    Some(protocol)
}

fn port_at(bytes: &[u8], at: usize) -> Option<u16> {
    let [high, low, ..] = register(bytes, at)?;
    Some(u16::from_be_bytes([high, low]))
}

fn primary_at(bytes: &[u8], at: usize) -> Option<Primary> {
    Some(Primary {
        address: address_at(bytes, at)?,
        protocol: protocol_at(bytes, at + 1)?,
        port: port_at(bytes, at + 2)?,
    })
}

pub(super) fn target_at(bytes: &[u8], at: usize) -> Option<Target> {
    Some(Target {
        address: address_at(bytes, at)?,
        port: port_at(bytes, at + 1)?,
    })
}
