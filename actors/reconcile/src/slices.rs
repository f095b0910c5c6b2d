//! Endpoints in slices, with few writes for each change (KEP-752): an endpoint stays in the slice
//! where it is; new ones go into slices that are written anyway, else together into one that has
//! room, else into new ones; a slice that is no longer needed is used again before it is deleted.

use crate::generated::suffix;
use crate::reconciler::Outcome;
use crate::requests;
use kabuki_model::k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kabuki_model::view::{Index, View};
use kabuki_model::{ObjectKey, Resource, Stored};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that says which controller a slice is made by.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// How many endpoints a slice holds.
pub(crate) const MOST_ENDPOINTS: usize = 100;
/// Room for a suffix in a name of 253 characters.
const MOST_PREFIX: usize = 253 - 5;

/// Whose the slices are, and what they all bear.
pub(crate) struct Slices<'a> {
    /// The Service, or the Endpoints that they mirror.
    pub owner: &'a Stored,
    /// The kind of the owner.
    pub owner_kind: &'static str,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
    /// Their annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether one slice is there though it is empty.
    pub never_none: bool,
}

/// Endpoints of one address type that have the same ports.
pub(crate) struct Group {
    /// `IPv4`, `IPv6`
    pub address_type: &'static str,
    /// Their ports.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A slice as it is to be.
struct Draft {
    stored: Option<Arc<Stored>>,
    slice: EndpointSlice,
    changed: bool,
}

impl Draft {
    fn endpoints(&mut self) -> &mut Vec<Endpoint> {
        self.slice.endpoints.get_or_insert_default()
    }

    fn count(&self) -> usize {
        self.slice.endpoints.as_ref().map_or(0, Vec::len)
    }
}

/// The slices that an owner has of a controller.
pub(crate) fn owned(view: &dyn View, owner: &Stored, managed_by: &str) -> Vec<Arc<Stored>> {
    let slices = view.indexed(Index::Owner, &owner.uid);
    let slices = slices.filter(|s| s.key.resource == Resource::ENDPOINT_SLICES);
    slices
        .filter(|s| s.meta().deletion_timestamp.is_none() && is_managed(s, managed_by))
        .cloned()
        .collect()
}

/// Whether the slice is one of this controller's.
pub(crate) fn is_managed(slice: &Stored, managed_by: &str) -> bool {
    let labels = slice.meta().labels.as_ref();
    labels.and_then(|l| l.get(MANAGED_BY).map(String::as_str)) == Some(managed_by)
}

/// Which endpoint it is, whatever its state.
fn identity(endpoint: &Endpoint) -> (Option<&String>, Option<&String>) {
    let target = endpoint.target_ref.as_ref();
    (
        endpoint.addresses.first(),
        target.and_then(|t| t.uid.as_ref()),
    )
}

/// Ports in an order that does not depend on who lists them.
fn sorted(ports: &[EndpointPort]) -> Vec<EndpointPort> {
    let mut ports = ports.to_vec();
    ports.sort_by(|a, b| (&a.name, &a.protocol, a.port).cmp(&(&b.name, &b.protocol, b.port)));
    ports
}

impl Slices<'_> {
    /// Asks for what makes the owner's slices hold exactly these groups.
    pub(crate) fn settle(
        &self,
        view: &dyn View,
        existing: &[Arc<Stored>],
        groups: Vec<Group>,
        outcome: &mut Outcome,
    ) {
        let mut spare: Vec<Draft> = existing.iter().filter_map(|s| self.draft(s)).collect();
        let mut kept = Vec::new();
        let mut fresh = Vec::new();
        for mut group in groups {
            group.ports = sorted(&group.ports);
            let of_group = |d: &mut Draft| {
                let ports = d.slice.ports.as_deref().unwrap_or_default();
                d.slice.address_type == group.address_type && sorted(ports) == group.ports
            };
            let own: Vec<Draft> = spare.extract_if(.., of_group).collect();
            let (held, empty, new) = self.pack(own, group);
            kept.extend(held);
            spare.extend(empty);
            fresh.extend(new);
        }
        if self.never_none && kept.is_empty() && fresh.is_empty() {
            fresh.push(self.empty("IPv4", Vec::new()));
        }
        reuse(&mut spare, &mut fresh, &mut kept);
        self.ask(view, kept, fresh, spare, outcome);
    }

    /// An existing slice, with the metadata that it is to have.
    fn draft(&self, stored: &Arc<Stored>) -> Option<Draft> {
        let mut slice = (*stored.typed::<EndpointSlice>().ok()?).clone();
        let meta = &mut slice.metadata;
        let before = meta.clone();
        meta.labels = Some(self.labels.clone());
        let owners = meta.owner_references.get_or_insert_default();
        let own = self.reference();
        if !owners.contains(&own) {
            owners.retain(|o| o.uid != own.uid);
            owners.push(own);
        }
        for (key, value) in &self.annotations {
            let annotations = meta.annotations.get_or_insert_default();
            annotations.insert(key.clone(), value.clone());
        }
        let changed = *meta != before;
        Some(Draft {
            stored: Some(stored.clone()),
            slice,
            changed,
        })
    }

    fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "v1".to_string(),
            kind: self.owner_kind.to_string(),
            name: self.owner.key.name.to_string(),
            uid: self.owner.uid.to_string(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    fn empty(&self, address_type: &str, ports: Vec<EndpointPort>) -> Draft {
        let annotations = Some(self.annotations.clone()).filter(|a| !a.is_empty());
        let slice = EndpointSlice {
            address_type: address_type.to_string(),
            endpoints: Some(Vec::new()),
            ports: Some(ports),
            metadata: ObjectMeta {
                namespace: Some(self.owner.key.namespace.to_string()),
                labels: Some(self.labels.clone()),
                annotations,
                owner_references: Some(vec![self.reference()]),
                ..ObjectMeta::default()
            },
        };
        Draft {
            stored: None,
            slice,
            changed: true,
        }
    }

    /// Puts the endpoints of one group into its slices: those that hold some, those that hold none
    /// any more, and new ones.
    fn pack(&self, own: Vec<Draft>, group: Group) -> (Vec<Draft>, Vec<Draft>, Vec<Draft>) {
        let mut order = Vec::new();
        let mut wanted = BTreeMap::new();
        for endpoint in group.endpoints {
            let (address, uid) = identity(&endpoint);
            let id = (address.cloned(), uid.cloned());
            if wanted.insert(id.clone(), endpoint).is_none() {
                order.push(id);
            }
        }
        let mut own = own;
        for draft in &mut own {
            let before = draft.slice.endpoints.take().unwrap_or_default();
            let stays = before.iter().filter_map(|e| {
                let (address, uid) = identity(e);
                wanted.remove(&(address.cloned(), uid.cloned()))
            });
            let after: Vec<Endpoint> = stays.collect();
            draft.changed |= after != before;
            draft.slice.endpoints = Some(after);
        }
        let rest = order.iter().filter_map(|id| wanted.remove(id));
        let mut rest: Vec<Endpoint> = rest.collect();
        for draft in own.iter_mut().filter(|d| d.changed && d.count() > 0) {
            let room = MOST_ENDPOINTS.saturating_sub(draft.count());
            draft.endpoints().extend(rest.drain(..room.min(rest.len())));
        }
        let fits = |d: &&mut Draft| !d.changed && d.count() + rest.len() <= MOST_ENDPOINTS;
        let fullest = own.iter_mut().filter(fits).max_by_key(|d| d.count());
        if let Some(draft) = fullest.filter(|_| !rest.is_empty()) {
            draft.endpoints().append(&mut rest);
            draft.changed = true;
        }
        let fresh = rest.chunks(MOST_ENDPOINTS).map(|chunk| {
            let mut draft = self.empty(group.address_type, group.ports.clone());
            draft.endpoints().extend_from_slice(chunk);
            draft
        });
        let fresh = fresh.collect();
        let (held, empty) = own.into_iter().partition(|d| d.count() > 0);
        (held, empty, fresh)
    }

    /// What appears is written before what goes, so that no endpoint is missing in between.
    fn ask(
        &self,
        view: &dyn View,
        kept: Vec<Draft>,
        fresh: Vec<Draft>,
        gone: Vec<Draft>,
        outcome: &mut Outcome,
    ) {
        let mut attempt = 0;
        for mut draft in fresh {
            let name = self.free_name(view, &mut attempt);
            draft.slice.metadata.name = Some(name);
            let namespace = &self.owner.key.namespace;
            let create = requests::create(Resource::ENDPOINT_SLICES, namespace, &draft.slice);
            outcome.request(create);
        }
        for draft in kept.iter().filter(|d| d.changed) {
            if let Some(stored) = &draft.stored {
                outcome.request(requests::replace(stored, &draft.slice));
            }
        }
        for stored in gone.iter().filter_map(|d| d.stored.as_ref()) {
            outcome.request(requests::delete(stored));
        }
    }

    fn free_name(&self, view: &dyn View, attempt: &mut u64) -> String {
        let mut prefix = self.owner.key.name.to_string();
        // Names are ASCII, so every index is a boundary of characters.
        prefix.truncate(MOST_PREFIX - 1);
        loop {
            let name = format!("{prefix}-{}", suffix(self.owner, *attempt));
            *attempt += 1;
            let namespace = &self.owner.key.namespace;
            let key = ObjectKey::new(Resource::ENDPOINT_SLICES, namespace, &name);
            if view.get(&key).is_none() {
                return name;
            }
        }
    }
}

/// New slices take the place of those that would be deleted.
fn reuse(spare: &mut Vec<Draft>, fresh: &mut Vec<Draft>, kept: &mut Vec<Draft>) {
    let mut rest = Vec::new();
    for new in fresh.drain(..) {
        let same = |d: &Draft| d.slice.address_type == new.slice.address_type;
        let Some(place) = spare.iter().position(same) else {
            rest.push(new);
            continue;
        };
        let mut old = spare.swap_remove(place);
        let was = old.stored.as_ref();
        let was = was.and_then(|s| s.typed::<EndpointSlice>().ok());
        old.slice.endpoints = new.slice.endpoints;
        old.slice.ports = new.slice.ports;
        let parts = |s: &EndpointSlice| {
            (
                s.endpoints.clone().unwrap_or_default(),
                s.ports.clone().unwrap_or_default(),
                s.metadata.labels.clone(),
                s.metadata.annotations.clone(),
                s.metadata.owner_references.clone(),
            )
        };
        old.changed = was.is_none_or(|was| parts(&was) != parts(&old.slice));
        kept.push(old);
    }
    *fresh = rest;
}
