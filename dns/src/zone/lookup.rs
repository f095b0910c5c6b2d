//! Looking up a name.

use super::reverse::{Reverse, contains};
use super::service::{Body, Entry, Headless, dashed};
use super::{Host, Key, Zone};
use crate::wire::{Name, kind};
use kabuki_model::service::{Protocol, ServicePort};
use std::net::IpAddr;

/// What a question finds.
pub(crate) enum Found<'z> {
    /// The name belongs to nobody here.
    Elsewhere,
    /// No record. `apex` is the label with which the zone begins.
    Nothing { exists: bool, apex: usize },
    /// Addresses of the family that was asked for; at least one.
    Addresses(Addresses<'z>),
    /// SRV records.
    Targets(Targets<'z>),
    /// PTR records: those of an address's services.
    Owners { address: IpAddr, owners: &'z [Key] },
    /// The name is another name.
    Alias(&'z [u8]),
    /// The version of the schema.
    Version,
    /// The zone's own records.
    Authority { apex: usize },
    /// The zone's name server.
    Server,
    /// The name exists, and all of its records were asked for.
    Anything,
}

/// Some addresses.
#[derive(Clone, Copy)]
pub(crate) enum Addresses<'z> {
    Hosts(&'z [Host]),
    Some(&'z [Host], &'z [u32]),
    One(IpAddr),
}

/// What SRV records lead to.
pub(crate) enum Targets<'z> {
    /// The service itself.
    Own { port: u16, hosts: &'z [Host] },
    /// Hosts below the service, with their ports.
    Hosts(&'z Headless, &'z [(u32, u16)]),
}

/// Whether an address is of the family that a type asks for.
pub(crate) fn is_of(address: IpAddr, kind: u16) -> bool {
    address.is_ipv4() == (kind == kind::A)
}

impl<'z> Addresses<'z> {
    /// How many there are, of both families.
    pub fn len(&self) -> usize {
        match self {
            Self::Hosts(hosts) => hosts.len(),
            Self::Some(_, places) => places.len(),
            Self::One(_) => 1,
        }
    }

    pub fn get(&self, index: usize) -> Option<IpAddr> {
        match self {
            Self::Hosts(hosts) => hosts.get(index).map(|h| h.address),
            Self::Some(hosts, places) => {
                let place = *places.get(index)? as usize;
                hosts.get(place).map(|h| h.address)
            }
            Self::One(address) => (index == 0).then_some(*address),
        }
    }

    fn has(&self, kind: u16) -> bool {
        (0..self.len()).any(|i| self.get(i).is_some_and(|a| is_of(a, kind)))
    }
}

impl Zone {
    /// What a name has of a type.
    pub(crate) fn find(&self, name: &Name, kind: u16) -> Found<'_> {
        let domain = self.domain();
        if !name.is_within(domain.wire(), domain.labels()) {
            return self.find_reverse(name, kind);
        }
        let apex = name.labels() - domain.labels();
        let exists = Found::Nothing { exists: true, apex };
        let missing = Found::Nothing {
            exists: false,
            apex,
        };
        let Some(last) = apex.checked_sub(1) else {
            return match kind {
                kind::SOA => Found::Authority { apex },
                kind::NS => Found::Server,
                kind::ANY => Found::Anything,
                _ => exists,
            };
        };
        let found = match (name.label(last), last) {
            (b"svc" | b"pod" | b"dns", 0) => Some(exists),
            (b"svc", 1) => {
                let namespace = &name.wire()[..name.start(1)];
                self.namespaces.contains_key(namespace).then_some(exists)
            }
            (b"svc", below) => self
                .entry(name, below - 2)
                .and_then(|entry| entry.find(name, below - 2, kind, apex)),
            // Every namespace may have pods.
            (b"pod", 1) => Some(exists),
            (b"pod", 2) => self.pod(name.label(0)).map(|a| shown(a, kind, apex)),
            (b"dns", 1) if name.label(0) == b"ns" => {
                Some(shown(Addresses::Hosts(&self.settings.servers), kind, apex))
            }
            (b"dns-version", 0) => Some(match kind {
                kind::TXT => Found::Version,
                _ => exists,
            }),
            _ => None,
        };
        match found {
            Some(Found::Nothing { exists: true, .. }) if kind == kind::ANY => Found::Anything,
            Some(found) => found,
            None => missing,
        }
    }

    fn pod(&self, label: &[u8]) -> Option<Addresses<'_>> {
        let address = dashed(label)?;
        let mut blocks = self.settings.pod_blocks.iter();
        blocks
            .any(|(block, length)| contains(*block, *length, address))
            .then_some(Addresses::One(address))
    }

    fn find_reverse(&self, name: &Name, kind: u16) -> Found<'_> {
        match self.reverse(name) {
            Reverse::Elsewhere => Found::Elsewhere,
            Reverse::Nothing { exists, apex } => match kind {
                kind::SOA if exists && apex == 0 => Found::Authority { apex },
                kind::ANY if exists => Found::Anything,
                _ => Found::Nothing { exists, apex },
            },
            Reverse::Owners {
                address,
                owners,
                apex,
            } => match kind {
                kind::PTR => Found::Owners {
                    address,
                    owners: owners.all(),
                },
                kind::ANY => Found::Anything,
                _ => Found::Nothing { exists: true, apex },
            },
        }
    }

    /// The labels below a service that lead to an address: none, or those of its endpoints.
    pub(crate) fn hosts_at(&self, key: &Key, address: IpAddr) -> &[Host] {
        match self.services.get(key).map(|e| &e.body) {
            Some(Body::Headless(headless)) => headless.at(address),
            _ => &[],
        }
    }
}

/// Addresses to whom asks for them.
fn shown(addresses: Addresses<'_>, kind: u16, apex: usize) -> Found<'_> {
    match kind {
        kind::A | kind::AAAA if addresses.has(kind) => Found::Addresses(addresses),
        _ => Found::Nothing { exists: true, apex },
    }
}

impl Entry {
    /// What a name of this service has; its own label is at `service`. `None` when there is no
    /// such name.
    fn find(&self, name: &Name, service: usize, kind: u16, apex: usize) -> Option<Found<'_>> {
        let exists = Found::Nothing { exists: true, apex };
        match (&self.body, service) {
            (Body::Alias(alias), 0) => Some(match kind {
                kind::ANY => exists,
                _ => Found::Alias(alias),
            }),
            (Body::Alias(_), _) => None,
            (Body::Own { hosts, .. }, 0) => Some(shown(Addresses::Hosts(hosts), kind, apex)),
            (Body::Headless(own), 0) => Some(shown(Addresses::Hosts(&own.hosts), kind, apex)),
            (_, 1 | 2) if name.label(service - 1).first() == Some(&b'_') => {
                let protocol = protocol(name.label(service - 1))?;
                if service == 1 {
                    return self.has_ports(protocol).then_some(exists);
                }
                let port = name.label(0).strip_prefix(b"_")?;
                let targets = self.targets(port, protocol)?;
                Some(match kind {
                    kind::SRV => Found::Targets(targets),
                    _ => exists,
                })
            }
            (Body::Headless(own), 1) => Some(shown(own.host(name.label(0))?, kind, apex)),
            _ => None,
        }
    }

    fn has_ports(&self, protocol: Protocol) -> bool {
        let named = |p: &ServicePort| p.protocol == protocol && !p.name.is_empty();
        match &self.body {
            Body::Own { record, .. } => record.ports.iter().any(named),
            Body::Headless(own) => own.ports.iter().any(|p| p.protocol == protocol),
            Body::Alias(_) => false,
        }
    }

    fn targets(&self, port: &[u8], protocol: Protocol) -> Option<Targets<'_>> {
        let is = |name: &str, theirs: Protocol| {
            theirs == protocol && !name.is_empty() && name.as_bytes() == port
        };
        match &self.body {
            Body::Own { record, hosts } => {
                let found = record.ports.iter().find(|p| is(&p.name, p.protocol))?;
                Some(Targets::Own {
                    port: found.port,
                    hosts,
                })
            }
            Body::Headless(own) => {
                let found = own.ports.iter().find(|p| is(&p.name, p.protocol))?;
                Some(Targets::Hosts(own, &found.targets))
            }
            Body::Alias(_) => None,
        }
    }
}

impl Headless {
    /// Who has a label: its own, or the one made from its address.
    fn host(&self, label: &[u8]) -> Option<Addresses<'_>> {
        let places = self.labelled(label);
        if !places.is_empty() {
            return Some(Addresses::Some(&self.hosts, places));
        }
        let address = dashed(label)?;
        let unnamed = |h: &Host| h.label.is_none();
        let known = self.at(address).iter().any(unnamed);
        known.then_some(Addresses::One(address))
    }
}

/// The protocol of a label like `_tcp`.
fn protocol(label: &[u8]) -> Option<Protocol> {
    match label {
        b"_tcp" => Some(Protocol::Tcp),
        b"_udp" => Some(Protocol::Udp),
        b"_sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}
