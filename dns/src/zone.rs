//! The names of a cluster, as a pure function of its services and their endpoints (Kubernetes
//! "DNS-Based Service Discovery", version 1.1).
//!
//! | name (below the cluster's domain) | what it has |
//! |---|---|
//! | `SERVICE.NS.svc` | the service's addresses; of a headless one its endpoints'; a CNAME |
//! | `_PORT._PROTO.SERVICE.NS.svc` | SRV: the service, or every endpoint of a headless one |
//! | `HOST.SERVICE.NS.svc` | an endpoint of a headless service: its hostname, or `10-1-2-3` |
//! | `10-1-2-3.NS.pod` | the address itself, when it is one of the cluster's pods' |
//! | `dns-version` | TXT: the version of this schema |
//! | `ns.dns` | the name server |
//!
//! In addition PTR records for every address of a service and every endpoint of a headless one.
//! A [`Zone`] is changed one service at a time, at the price of that service; a clone of it costs
//! a few pointers and is a snapshot that never changes.
//!
//! Invariant: a zone depends on the services that it was told of, not on the order of telling.

mod lookup;
mod reverse;
mod service;

pub(crate) use lookup::{Addresses, Found, Targets, is_of};
pub(crate) use reverse::contains;
pub(crate) use service::Entry;
pub use service::Host;

use crate::wire::{Name, NameError};
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap};
use kabuki_model::service::{ServiceEntry, ServiceKey};
use reverse::Owners;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::sync::Arc;

/// `SERVICE` and `NAMESPACE` as labels of a message.
pub(crate) type Key = Arc<[u8]>;
// The standard hasher with fixed keys: a zone does not depend on chance.
type Map<K, V> = GenericHashMap<K, V, BuildHasherDefault<DefaultHasher>, DefaultSharedPtr>;

/// How long answers may be kept, in seconds: what CoreDNS says, too.
pub const TTL_S: u32 = 5;
/// The version of the schema that is followed.
pub const SCHEMA_VERSION: &str = "1.1.0";
/// How long that may be kept, as in the specification's example.
pub(crate) const SCHEMA_TTL_S: u32 = 28_800;
/// The longest cluster domain, in bytes of a message: the longest name of a record below it still
/// fits, see [`ZoneError::LongDomain`].
const DOMAIN_MAX: usize = 56;

/// What a zone is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneSettings {
    /// The cluster's domain: `cluster.local`.
    pub domain: String,
    /// Blocks of addresses of pods and of services: what is asked about them is answered here and
    /// nowhere else.
    pub pod_blocks: Vec<(IpAddr, u8)>,
    /// Of services.
    pub service_blocks: Vec<(IpAddr, u8)>,
    /// The addresses of the name server itself.
    pub servers: Vec<IpAddr>,
}

/// Why there cannot be such a zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// The domain is no name.
    #[error("cluster domain: {0}")]
    Domain(#[from] NameError),
    /// The domain is the root.
    #[error("cluster domain is empty: name one, like cluster.local")]
    NoDomain,
    /// Names below it would be longer than names can be.
    #[error("cluster domain {0:?} has more than 54 characters: names of pods would not fit")]
    LongDomain(String),
}

/// All names of a cluster.
#[derive(Clone)]
pub struct Zone {
    settings: Arc<Settled>,
    services: Map<Key, Arc<Entry>>,
    /// How many services with names a namespace has.
    namespaces: Map<Key, u32>,
    reverse: OrdMap<IpAddr, Owners>,
    serial: u32,
}

/// The settings, ready for use.
#[derive(Debug)]
pub(crate) struct Settled {
    pub domain: Name,
    pub pod_blocks: Vec<(IpAddr, u8)>,
    pub blocks: Vec<(IpAddr, u8)>,
    pub servers: Box<[Host]>,
}

impl Zone {
    /// A zone without services.
    ///
    /// # Errors
    /// When the domain is none.
    pub fn new(settings: &ZoneSettings) -> Result<Self, ZoneError> {
        let domain = Name::from_text(&settings.domain)?;
        if domain.labels() == 0 {
            return Err(ZoneError::NoDomain);
        }
        if domain.wire().len() > DOMAIN_MAX {
            return Err(ZoneError::LongDomain(settings.domain.clone()));
        }
        let pods = &settings.pod_blocks;
        let mut servers: Vec<Host> = settings.servers.iter().copied().map(Host::from).collect();
        servers.sort();
        Ok(Self {
            settings: Arc::new(Settled {
                domain,
                pod_blocks: pods.clone(),
                blocks: [pods.as_slice(), &settings.service_blocks].concat(),
                servers: servers.into(),
            }),
            services: Map::default(),
            namespaces: Map::default(),
            reverse: OrdMap::new(),
            serial: 1,
        })
    }

    /// The same zone without services; it counts on from here.
    pub fn cleared(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            services: Map::default(),
            namespaces: Map::default(),
            reverse: OrdMap::new(),
            serial: self.serial.wrapping_add(1),
        }
    }

    /// Makes the names of one service what `entry` says; `None` when there is no such service.
    /// `at_s` is the present, in whatever seconds the caller counts. Says whether anything
    /// changed.
    pub fn update(&mut self, key: &ServiceKey, entry: Option<&ServiceEntry>, at_s: u64) -> bool {
        let Some(wire) = service::key(key) else {
            return false;
        };
        let before = self.services.get(&wire).cloned();
        let after = entry.and_then(|e| Entry::of(e, at_s));
        match (&before, &after) {
            (None, None) => return false,
            (Some(before), Some(after)) if before.body == after.body => return false,
            _ => {}
        }
        let after = after.map(Arc::new);
        self.point_back(&wire, before.as_deref(), after.as_deref());
        let namespace = service::namespace(&wire);
        match (before.is_some(), after) {
            (true, Some(after)) => drop(self.services.insert(wire, after)),
            (true, None) => {
                self.count(namespace, -1);
                self.services.remove(&wire);
            }
            (false, Some(after)) => {
                self.count(namespace, 1);
                self.services.insert(wire, after);
            }
            (false, None) => {}
        }
        self.serial = self.serial.wrapping_add(1);
        true
    }

    fn count(&mut self, namespace: &[u8], change: i32) {
        let held = self.namespaces.get(namespace).copied().unwrap_or_default();
        match held.saturating_add_signed(change) {
            0 => drop(self.namespaces.remove(namespace)),
            count => drop(self.namespaces.insert(namespace.into(), count)),
        }
    }

    /// Moves the way back from addresses to names: of those that came, and of those that went.
    fn point_back(&mut self, key: &Key, before: Option<&Entry>, after: Option<&Entry>) {
        let (before, after) = (reverse::addresses(before), reverse::addresses(after));
        let missing = |all: &[IpAddr], a: &IpAddr| all.binary_search(a).is_err();
        for address in before.iter().filter(|a| missing(&after, a)) {
            match self.reverse.get(address).and_then(|o| o.without(key)) {
                Some(rest) => drop(self.reverse.insert(*address, rest)),
                None => drop(self.reverse.remove(address)),
            }
        }
        for address in after.iter().filter(|a| missing(&before, a)) {
            let owners = match self.reverse.get(address) {
                Some(others) => others.with(key),
                None => Owners::One(key.clone()),
            };
            self.reverse.insert(*address, owners);
        }
    }

    /// How many services have names.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether no service has names.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Counts changes; the serial of the zone's SOA record.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    pub(crate) fn domain(&self) -> &Name {
        &self.settings.domain
    }

    /// When the service that a name belongs to last changed, in the seconds of
    /// [`Zone::update`]; `None` when it belongs to none.
    pub fn changed_at_s(&self, name: &Name) -> Option<u64> {
        let labels = name.labels();
        let below = labels.checked_sub(self.domain().labels())?;
        let first = below.checked_sub(3)?;
        if !name.is_within(self.domain().wire(), self.domain().labels()) {
            return None;
        }
        Some(self.entry(name, first)?.at_s)
    }

    /// The service whose two labels begin at `first`.
    fn entry(&self, name: &Name, first: usize) -> Option<&Arc<Entry>> {
        let key = &name.wire()[name.start(first)..name.start(first + 2)];
        self.services.get(key)
    }
}

impl PartialEq for Zone {
    /// Whether both give the same answers; serials and times aside.
    fn eq(&self, other: &Self) -> bool {
        let bodies = self.services.iter().all(|(key, entry)| {
            let theirs = other.services.get(key);
            theirs.is_some_and(|theirs| theirs.body == entry.body)
        });
        bodies
            && self.services.len() == other.services.len()
            && self.namespaces == other.namespaces
            && self.reverse == other.reverse
            && self.settings.domain == other.settings.domain
    }
}

#[cfg(test)]
mod tests;
