//! All services of the cluster with their endpoints, as one node knows them: what the proxy's
//! plan and the name server's zone read.
//!
//! Every change names the services that it concerns, and says nothing where nothing really
//! changed, so that a relist or a status that nobody asked for costs no one any work. Repeated
//! strings (namespaces, nodes, zones, names of ports) are held once.

mod names;

use super::{ServiceKey, ServiceRecord, SliceRecord};
use names::Names;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How much a directory knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Known {
    /// Nothing yet, or parts.
    #[default]
    Parts,
    /// All that was known when it was last saved.
    Saved,
    /// A complete list of services and of slices has been seen. What is not in here is not in
    /// the cluster.
    All,
}

/// What is known under one service's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The service; `None` while there are only slices that name it.
    pub service: Option<Arc<ServiceRecord>>,
    /// Its slices, by name.
    pub slices: Vec<Arc<SliceRecord>>,
}

/// Services and their endpoints.
#[derive(Debug, Default)]
pub struct Directory {
    entries: BTreeMap<ServiceKey, ServiceEntry>,
    /// Which service each slice (namespace and name) belongs to.
    slices: BTreeMap<(Arc<str>, Arc<str>), Arc<str>>,
    names: Names,
    /// What the list that is arriving has shown so far.
    listed_services: Option<BTreeSet<ServiceKey>>,
    listed_slices: Option<BTreeSet<(Arc<str>, Arc<str>)>>,
    seen_services: bool,
    seen_slices: bool,
    saved: bool,
}

impl Directory {
    /// How much is known.
    pub fn known(&self) -> Known {
        match (self.seen_services && self.seen_slices, self.saved) {
            (true, _) => Known::All,
            (false, true) => Known::Saved,
            (false, false) => Known::Parts,
        }
    }

    /// What is known under this name.
    pub fn get(&self, key: &ServiceKey) -> Option<&ServiceEntry> {
        self.entries.get(key)
    }

    /// Everything, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &ServiceEntry)> {
        self.entries.iter()
    }

    /// How many services there are, those of which only slices are known included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes a service in, and names it if it is another than before.
    pub fn put_service(&mut self, mut record: ServiceRecord) -> Option<ServiceKey> {
        self.names.share_service(&mut record);
        let key = record.key.clone();
        if let Some(listed) = &mut self.listed_services {
            listed.insert(key.clone());
        }
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.service.as_deref() == Some(&record) {
            return None;
        }
        entry.service = Some(Arc::new(record));
        Some(key)
    }

    /// Forgets a service, and names it if it was known. Its slices stay until they go too.
    pub fn remove_service(&mut self, key: &ServiceKey) -> Option<ServiceKey> {
        if let Some(listed) = &mut self.listed_services {
            listed.remove(key);
        }
        let entry = self.entries.get_mut(key)?;
        entry.service.take()?;
        self.drop_if_empty(key);
        Some(key.clone())
    }

    /// Takes a slice in, and names the services that it changed: two when it went from one to
    /// another.
    pub fn put_slice(&mut self, mut record: SliceRecord) -> Vec<ServiceKey> {
        self.names.share_slice(&mut record);
        let id = (record.service.namespace.clone(), record.name.clone());
        if let Some(listed) = &mut self.listed_slices {
            listed.insert(id.clone());
        }
        let mut changed = Vec::new();
        let service = record.service.clone();
        let before = self.slices.insert(id, service.name.clone());
        if let Some(before) = before
            && before != service.name
        {
            let before = ServiceKey {
                namespace: service.namespace.clone(),
                name: before,
            };
            self.take_slice(&before, &record.name);
            changed.push(before);
        }
        let entry = self.entries.entry(service.clone()).or_default();
        let place = entry.slices.binary_search_by(|s| s.name.cmp(&record.name));
        match place {
            Ok(at) if *entry.slices[at] == record => return changed,
            Ok(at) => entry.slices[at] = Arc::new(record),
            Err(at) => entry.slices.insert(at, Arc::new(record)),
        }
        changed.push(service);
        changed
    }

    /// Forgets a slice, and names the service that lost it.
    pub fn remove_slice(&mut self, namespace: &str, name: &str) -> Option<ServiceKey> {
        let id: (Arc<str>, Arc<str>) = (namespace.into(), name.into());
        if let Some(listed) = &mut self.listed_slices {
            listed.remove(&id);
        }
        let service = ServiceKey {
            name: self.slices.remove(&id)?,
            namespace: id.0,
        };
        self.take_slice(&service, name);
        Some(service)
    }

    /// A list of all services begins. Until it ends, those known before stay.
    pub fn begin_services(&mut self) {
        self.listed_services = Some(BTreeSet::new());
    }

    /// The list of all services ended: what it did not show is gone.
    pub fn end_services(&mut self) -> Vec<ServiceKey> {
        let Some(listed) = self.listed_services.take() else {
            return Vec::new();
        };
        self.seen_services = true;
        let held = self.entries.iter().filter(|(_, e)| e.service.is_some());
        let gone: Vec<ServiceKey> = held
            .map(|(key, _)| key)
            .filter(|key| !listed.contains(*key))
            .cloned()
            .collect();
        for key in &gone {
            self.remove_service(key);
        }
        gone
    }

    /// A list of all slices begins.
    pub fn begin_slices(&mut self) {
        self.listed_slices = Some(BTreeSet::new());
    }

    /// The list of all slices ended: what it did not show is gone.
    pub fn end_slices(&mut self) -> Vec<ServiceKey> {
        let Some(listed) = self.listed_slices.take() else {
            return Vec::new();
        };
        self.seen_slices = true;
        let gone: Vec<_> = self
            .slices
            .keys()
            .filter(|id| !listed.contains(*id))
            .cloned()
            .collect();
        let changed: BTreeSet<ServiceKey> = gone
            .iter()
            .filter_map(|(namespace, name)| self.remove_slice(namespace, name))
            .collect();
        changed.into_iter().collect()
    }

    /// A directory with what was saved earlier.
    pub fn from_saved(services: Vec<ServiceRecord>, slices: Vec<SliceRecord>) -> Self {
        let mut directory = Self::default();
        for service in services {
            directory.put_service(service);
        }
        for slice in slices {
            directory.put_slice(slice);
        }
        directory.saved = true;
        directory
    }

    fn take_slice(&mut self, service: &ServiceKey, name: &str) {
        if let Some(entry) = self.entries.get_mut(service) {
            entry.slices.retain(|s| *s.name != *name);
            self.drop_if_empty(service);
        }
    }

    fn drop_if_empty(&mut self, key: &ServiceKey) {
        let empty = |e: &ServiceEntry| e.service.is_none() && e.slices.is_empty();
        if self.entries.get(key).is_some_and(empty) {
            self.entries.remove(key);
            self.names.tidy();
        }
    }
}

#[cfg(test)]
mod tests;
