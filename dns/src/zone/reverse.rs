//! From addresses back to names.

use super::service::{Body, Entry};
use super::{Key, Zone};
use crate::wire::Name;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The services that an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owners {
    /// Nearly always.
    One(Key),
    /// In order.
    Many(Arc<[Key]>),
}

impl Owners {
    pub fn all(&self) -> &[Key] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Many(keys) => keys,
        }
    }

    fn from_list(mut keys: Vec<Key>) -> Option<Self> {
        keys.sort();
        keys.dedup();
        match keys.len() {
            0 => None,
            1 => keys.pop().map(Self::One),
            _ => Some(Self::Many(keys.into())),
        }
    }

    pub fn with(&self, key: &Key) -> Self {
        let mut keys = self.all().to_vec();
        keys.push(key.clone());
        Self::from_list(keys).unwrap_or_else(|| self.clone())
    }

    pub fn without(&self, key: &Key) -> Option<Self> {
        Self::from_list(self.all().iter().filter(|k| *k != key).cloned().collect())
    }
}

/// The addresses of a service that lead back to it, in order.
pub(super) fn addresses(entry: Option<&Entry>) -> Vec<IpAddr> {
    let hosts = match entry.map(|e| &e.body) {
        Some(Body::Own { hosts, .. }) => hosts,
        Some(Body::Headless(headless)) => &headless.hosts,
        Some(Body::Alias(_)) | None => return Vec::new(),
    };
    let mut addresses: Vec<IpAddr> = hosts.iter().map(|h| h.address).collect();
    addresses.dedup();
    addresses
}

/// What a name below `in-addr.arpa` or `ip6.arpa` stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reverse<'z> {
    /// Nothing of the cluster's.
    Elsewhere,
    /// An address with names. `apex` is the label with which the zone begins.
    Owners {
        address: IpAddr,
        owners: &'z Owners,
        apex: usize,
    },
    /// An address or a block of the cluster's blocks, without names. A block exists where
    /// something below it does, or where a zone begins.
    Nothing { exists: bool, apex: usize },
}

/// How a family writes its addresses: bits of a label, and labels of an address.
struct Family {
    v6: bool,
    unit: u32,
    units: usize,
}

const V4: Family = Family {
    v6: false,
    unit: 8,
    units: 4,
};
const V6: Family = Family {
    v6: true,
    unit: 4,
    units: 32,
};

impl Zone {
    /// Looks up a name below `arpa`.
    pub(super) fn reverse(&self, name: &Name) -> Reverse<'_> {
        let labels = name.labels();
        if labels < 2 || name.label(labels - 1) != b"arpa" {
            return Reverse::Elsewhere;
        }
        let family = match name.label(labels - 2) {
            b"in-addr" => V4,
            b"ip6" => V6,
            _ => return Reverse::Elsewhere,
        };
        let mut bits: u128 = 0;
        let mut known = 0;
        while known < family.units.min(labels - 2)
            && let Some(value) = value(name.label(labels - 3 - known), family.v6)
        {
            bits = bits << family.unit | u128::from(value);
            known += 1;
        }
        let more = labels - 2 > known;
        let width = family.unit * family.units as u32;
        let low = bits << ((width - family.unit * known as u32) % 128);
        let whole = known == family.units && !more;
        let address = address(low, family.v6);
        if whole && let Some(owners) = self.reverse.get(&address) {
            let apex = self.apex(&family, address, known, labels).unwrap_or(0);
            return Reverse::Owners {
                address,
                owners,
                apex,
            };
        }
        let Some(apex) = self.apex(&family, address, known, labels) else {
            return Reverse::Elsewhere;
        };
        let last = low | mask(width - family.unit * known as u32);
        let range = address..=self::address(last, family.v6);
        let within = || self.reverse.range(range).next().is_some();
        let exists = !more && !whole && (apex == 0 || within());
        Reverse::Nothing { exists, apex }
    }

    /// The label with which the zone begins that answers for an address; `None` when it is not
    /// in the cluster's blocks. Zones begin at the first label that is wholly in a block.
    fn apex(&self, family: &Family, at: IpAddr, known: usize, labels: usize) -> Option<usize> {
        let blocks = self.settings.blocks.iter();
        let whole = blocks.filter(|(block, length)| contains(*block, *length, at));
        whole
            .map(|(_, length)| u32::from(*length).div_ceil(family.unit).max(1) as usize)
            .filter(|units| *units <= known)
            .min()
            .map(|units| labels - 2 - units)
    }
}

/// Whether a block holds an address.
pub(crate) fn contains(block: IpAddr, length: u8, address: IpAddr) -> bool {
    let (bits, address, width) = match (block, address) {
        (IpAddr::V4(b), IpAddr::V4(a)) => (u32::from(b).into(), u32::from(a).into(), 32),
        (IpAddr::V6(b), IpAddr::V6(a)) => (u128::from(b), u128::from(a), 128),
        _ => return false,
    };
    (bits ^ address) & !mask(width - u32::from(length).min(width)) & mask(width) == 0
}

/// So many bits from below.
fn mask(bits: u32) -> u128 {
    match bits {
        128.. => u128::MAX,
        bits => (1 << bits) - 1,
    }
}

fn address(bits: u128, v6: bool) -> IpAddr {
    match v6 {
        true => IpAddr::V6(Ipv6Addr::from(bits)),
        // Only 32 bits were read.
        false => IpAddr::V4(Ipv4Addr::from(bits as u32)),
    }
}

/// The number that a label stands for, in its only spelling.
fn value(label: &[u8], v6: bool) -> Option<u8> {
    let text = std::str::from_utf8(label).ok()?;
    match v6 {
        true if text.len() == 1 && !text.starts_with('+') => u8::from_str_radix(text, 16).ok(),
        true => None,
        false if text.starts_with(['+', '0']) && text != "0" => None,
        false => text.parse().ok(),
    }
}
