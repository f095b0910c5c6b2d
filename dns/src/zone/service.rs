//! The names of one service.

use super::Key;
use crate::wire::Name;
use kabuki_model::service::{
    EndpointRecord, Protocol, ServiceEntry, ServiceKey, ServiceRecord, ServiceType, SliceRecord,
};
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The longest label of a message.
const LABEL_MAX: usize = 63;

/// An address, and the name of who has it among the endpoints of its service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// The address.
    pub address: IpAddr,
    /// Its name; without one it is named after its address.
    pub label: Option<Arc<str>>,
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            label: None,
        }
    }
}

/// A service that has names.
#[derive(Debug)]
pub(crate) struct Entry {
    pub body: Body,
    /// When it became like this.
    pub at_s: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// It has addresses of its own.
    Own {
        hosts: Box<[Host]>,
        record: Arc<ServiceRecord>,
    },
    /// Its names lead to its endpoints.
    Headless(Headless),
    /// It is another name: in the form of messages.
    Alias(Box<[u8]>),
}

/// What a headless service has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Headless {
    /// By address; the old protocol's come first.
    pub hosts: Box<[Host]>,
    /// Those with a label, by label.
    pub labelled: Box<[u32]>,
    pub ports: Box<[HeadlessPort]>,
}

/// A named port of a headless service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeadlessPort {
    pub name: Arc<str>,
    pub protocol: Protocol,
    /// Which hosts have it, and under which number.
    pub targets: Box<[(u32, u16)]>,
}

/// The labels of a service; `None` when they are none.
pub(crate) fn key(key: &ServiceKey) -> Option<Key> {
    let mut wire = Vec::with_capacity(key.name.len() + key.namespace.len() + 2);
    for label in [&key.name, &key.namespace] {
        if !(1..=LABEL_MAX).contains(&label.len()) {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend(label.bytes().map(|b| b.to_ascii_lowercase()));
    }
    Some(wire.into())
}

/// The namespace's label of a key.
pub(super) fn namespace(key: &[u8]) -> &[u8] {
    let name = key.first().map_or(0, |l| usize::from(*l) + 1);
    key.get(name..).unwrap_or_default()
}

/// What SRV records are found by.
type PortName<'a> = (&'a Arc<str>, Protocol);

impl Entry {
    /// `None` when nothing has a name: a headless service without endpoints that may be shown
    /// has none (specification, 2.4.1).
    pub fn of(entry: &ServiceEntry, at_s: u64) -> Option<Self> {
        let record = entry.service.as_ref()?;
        let body = match record.service_type {
            ServiceType::ExternalName => {
                let alias = Name::from_text(record.external_name.as_deref()?).ok()?;
                Body::Alias(alias.wire().into())
            }
            _ if record.is_headless() => Body::Headless(Headless::of(record, &entry.slices)?),
            _ => {
                let mut hosts: Vec<Host> =
                    record.cluster_ips.iter().copied().map(Host::from).collect();
                hosts.sort();
                Body::Own {
                    hosts: hosts.into(),
                    record: record.clone(),
                }
            }
        };
        Some(Self { body, at_s })
    }
}

fn host(endpoint: &EndpointRecord) -> Host {
    let label = endpoint.hostname.as_ref();
    Host {
        address: endpoint.address,
        label: label
            .filter(|l| (1..=LABEL_MAX).contains(&l.len()))
            .cloned(),
    }
}

impl Headless {
    fn of(record: &ServiceRecord, slices: &[Arc<SliceRecord>]) -> Option<Self> {
        let shown = |e: &&EndpointRecord| e.ready || record.publish_not_ready;
        let all = slices.iter().flat_map(|s| s.endpoints.iter());
        let mut hosts: Vec<Host> = all.filter(shown).map(host).collect();
        if hosts.is_empty() {
            return None;
        }
        hosts.sort();
        hosts.dedup();
        let place = |host: &Host| hosts.binary_search(host).ok();
        let mut labelled: Vec<u32> = (0u32..)
            .zip(&hosts)
            .filter(|(_, host)| host.label.is_some())
            .map(|(index, _)| index)
            .collect();
        labelled.sort_by_key(|i| &hosts[*i as usize].label);
        let mut ports: BTreeMap<PortName, Vec<(u32, u16)>> = BTreeMap::new();
        for slice in slices {
            let named = slice.ports.iter().filter(|p| !p.name.is_empty());
            for (port, number) in named.filter_map(|p| Some((p, p.port?))) {
                let targets = ports.entry((&port.name, port.protocol)).or_default();
                let places = slice.endpoints.iter().filter(shown).map(host);
                targets.extend(places.filter_map(|h| Some((place(&h)? as u32, number))));
            }
        }
        let named = |(at, number): &(u32, u16)| (hosts[*at as usize].label.clone(), *number);
        let port = |((name, protocol), mut targets): ((&Arc<str>, _), Vec<_>)| {
            targets.sort_unstable();
            targets.dedup();
            // A host with several addresses is one target.
            let mut seen = HashSet::new();
            targets.retain(|target| match named(target) {
                (None, _) => true,
                known => seen.insert(known),
            });
            HeadlessPort {
                name: name.clone(),
                protocol,
                targets: targets.into(),
            }
        };
        Some(Self {
            ports: ports
                .into_iter()
                .filter(|(_, targets)| !targets.is_empty())
                .map(port)
                .collect(),
            labelled: labelled.into(),
            hosts: hosts.into(),
        })
    }

    /// The hosts under a label, by their places.
    pub fn labelled(&self, label: &[u8]) -> &[u32] {
        let text = |i: &u32| self.hosts[*i as usize].label.as_deref().unwrap_or_default();
        let own = |i: &u32| text(i).as_bytes();
        let from = self.labelled.partition_point(|i| own(i) < label);
        let rest = &self.labelled[from..];
        &rest[..rest.partition_point(|i| own(i) <= label)]
    }

    /// The hosts with an address.
    pub fn at(&self, address: IpAddr) -> &[Host] {
        let from = self.hosts.partition_point(|h| h.address < address);
        let rest = &self.hosts[from..];
        &rest[..rest.partition_point(|h| h.address <= address)]
    }
}

/// The address that a label like `10-1-2-3` or `2001-db8--1` stands for.
pub(super) fn dashed(label: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(label).ok()?;
    if let Ok(v4) = text.replace('-', ".").parse::<Ipv4Addr>() {
        return (!text.contains('.')).then_some(IpAddr::V4(v4));
    }
    let v6: Ipv6Addr = text.replace('-', ":").parse().ok()?;
    (!text.contains([':', '.'])).then_some(IpAddr::V6(v6))
}
