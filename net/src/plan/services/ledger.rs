//! Who has which entries on this node, and what changes when somebody's plan does.
//!
//! Two services may claim one front (an external address, a port of the node). The first one has
//! it until it goes; then the next has it. Endpoints outside the cluster may be shared, and are
//! counted.

use super::{EntryKey, EntryValue, FrontKey, PortPlan, Primary, Scope, Shape, Target};
use kabuki_model::service::ServiceKey;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Whose plan it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A service.
    Service(ServiceKey),
    /// The ports of a pod on the node, by the pod's uid.
    Pod(Arc<str>),
}

/// What is to change. Nothing is in both lists unless its value is another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    /// Entries to be removed, with what they say.
    pub drop: Vec<(EntryKey, EntryValue)>,
    /// Entries to be added.
    pub add: Vec<(EntryKey, EntryValue)>,
}

impl Delta {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.add.is_empty()
    }
}

fn fronts(plans: &[PortPlan]) -> impl Iterator<Item = FrontKey> + '_ {
    plans.iter().flat_map(|p| p.fronts.iter().map(|f| f.key))
}

/// Entries by their keys.
pub type Entries = BTreeMap<EntryKey, EntryValue>;

#[derive(Debug, Default)]
struct Claim {
    /// The first one has it.
    owners: Vec<Owner>,
}

/// The plans of all services, and the ports of the node's pods.
#[derive(Debug, Default)]
pub struct Services {
    plans: HashMap<Owner, Box<[PortPlan]>>,
    claims: HashMap<FrontKey, Claim>,
    outside: HashMap<EntryKey, u32>,
    /// The order of endpoints that the kernel has, until all is planned.
    found: HashMap<Primary, [Vec<Target>; 2]>,
}

impl Services {
    /// Takes over the order of endpoints from what the kernel has, so that a restart moves
    /// nobody.
    pub fn adopt(&mut self, kernel: &Entries) {
        self.found.clear();
        for (key, value) in kernel {
            if let (EntryKey::Endpoint { primary, index }, EntryValue::Target(target)) =
                (key, value)
            {
                let lists = self.found.entry(*primary).or_default();
                let at = usize::from(*index >= Scope::Local.first_index());
                if let Some(list) = lists.get_mut(at) {
                    // In the order of the map: by their numbers.
                    list.push(*target);
                }
            }
        }
    }

    /// All is planned; what was adopted is not needed any more.
    pub fn forget_adopted(&mut self) {
        self.found = HashMap::new();
    }

    /// Puts plans in place of former ones; an empty one removes. Gives what is to change.
    pub fn update(&mut self, changes: Vec<(Owner, Vec<PortPlan>)>) -> Delta {
        let touched = self.touched(&changes);
        let before = self.entries_of(&touched);
        let former: HashMap<Owner, Box<[PortPlan]>> = changes
            .iter()
            .filter_map(|(owner, plans)| Some((owner.clone(), self.release(owner, plans)?)))
            .collect();
        for (owner, plans) in changes {
            self.claim(owner.clone(), plans, former.get(&owner).map(AsRef::as_ref));
        }
        let after = self.entries_of(&touched);
        self.delta(before, after)
    }

    /// What is to change in a packet filter that has these entries. Without `whole`, only what
    /// is missing is added, and nothing removed or changed.
    pub fn repair(&self, kernel: &Entries, whole: bool) -> Delta {
        let wanted = self.entries();
        let mut delta = Delta::default();
        for (key, value) in &wanted {
            match kernel.get(key) {
                Some(found) if found == value => {}
                Some(found) if whole => {
                    delta.drop.push((*key, found.clone()));
                    delta.add.push((*key, value.clone()));
                }
                Some(_) => {}
                None => delta.add.push((*key, value.clone())),
            }
        }
        if whole {
            let gone = kernel.iter().filter(|(key, _)| !wanted.contains_key(*key));
            delta.drop.extend(gone.map(|(k, v)| (*k, v.clone())));
            delta.drop.sort_by_key(|(key, _)| *key);
        }
        delta
    }

    /// All entries.
    pub fn entries(&self) -> Entries {
        let mut entries = Entries::new();
        for (owner, plans) in &self.plans {
            for plan in plans {
                plan.entries(
                    |front| self.has(owner, front),
                    |key, value| drop(entries.insert(key, value)),
                );
            }
        }
        entries
    }

    /// The shapes that are in use.
    pub fn shapes(&self) -> BTreeSet<Shape> {
        let mut shapes = BTreeSet::new();
        for (owner, plans) in &self.plans {
            for plan in plans {
                plan.entries(
                    |front| self.has(owner, front),
                    |_, value| {
                        if let EntryValue::Front { shape, .. } = value {
                            shapes.insert(shape);
                        }
                    },
                );
            }
        }
        shapes
    }

    /// Every owner with a plan.
    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.plans.keys()
    }

    /// The current plans of one owner.
    pub fn plans(&self, owner: &Owner) -> &[PortPlan] {
        self.plans.get(owner).map(AsRef::as_ref).unwrap_or_default()
    }

    fn has(&self, owner: &Owner, front: &FrontKey) -> bool {
        let claim = self.claims.get(front);
        claim.is_some_and(|claim| claim.owners.first() == Some(owner))
    }

    /// Those whose entries may change: who changes, and who waits for a front of theirs.
    fn touched(&self, changes: &[(Owner, Vec<PortPlan>)]) -> BTreeSet<Owner> {
        let mut touched = BTreeSet::new();
        for (owner, _) in changes {
            for front in fronts(self.plans(owner)) {
                let claim = self.claims.get(&front);
                let waiting = claim.into_iter().flat_map(|c| c.owners.iter());
                touched.extend(waiting.cloned());
            }
            touched.insert(owner.clone());
        }
        touched
    }

    fn entries_of(&self, owners: &BTreeSet<Owner>) -> Vec<(EntryKey, EntryValue)> {
        let mut entries = Vec::new();
        for owner in owners {
            for plan in self.plans(owner) {
                plan.entries(
                    |front| self.has(owner, front),
                    |key, value| entries.push((key, value)),
                );
            }
        }
        entries
    }

    /// Gives up the fronts that the next plans have no more; the place in the row for others is
    /// kept.
    fn release(&mut self, owner: &Owner, next: &[PortPlan]) -> Option<Box<[PortPlan]>> {
        let plans = self.plans.remove(owner)?;
        let kept: HashSet<FrontKey> = fronts(next).collect();
        for front in fronts(&plans).filter(|front| !kept.contains(front)) {
            if let Some(claim) = self.claims.get_mut(&front) {
                claim.owners.retain(|o| o != owner);
                if claim.owners.is_empty() {
                    self.claims.remove(&front);
                }
            }
        }
        Some(plans)
    }

    fn claim(&mut self, owner: Owner, mut plans: Vec<PortPlan>, former: Option<&[PortPlan]>) {
        if plans.is_empty() {
            return;
        }
        for plan in &mut plans {
            let before = former
                .into_iter()
                .flatten()
                .find(|f| f.primary == plan.primary);
            match (before, self.found.get(&plan.primary)) {
                (Some(before), _) => plan.arrange(&before.cluster, &before.local),
                (None, Some([cluster, local])) => plan.arrange(cluster, local),
                (None, None) => {}
            }
            for front in &plan.fronts {
                let claim = self.claims.entry(front.key).or_default();
                if !claim.owners.contains(&owner) {
                    claim.owners.push(owner.clone());
                }
            }
        }
        self.plans.insert(owner, plans.into());
    }

    /// The difference of two lists of entries. Counts those that are shared.
    fn delta(
        &mut self,
        before: Vec<(EntryKey, EntryValue)>,
        after: Vec<(EntryKey, EntryValue)>,
    ) -> Delta {
        let mut changes: BTreeMap<EntryKey, (Option<EntryValue>, Option<EntryValue>)> =
            BTreeMap::new();
        let mut shared: BTreeMap<EntryKey, i64> = BTreeMap::new();
        for (key, value) in before {
            match key {
                EntryKey::Outside { .. } => *shared.entry(key).or_default() -= 1,
                key => changes.entry(key).or_default().0 = Some(value),
            }
        }
        for (key, value) in after {
            match key {
                EntryKey::Outside { .. } => *shared.entry(key).or_default() += 1,
                key => changes.entry(key).or_default().1 = Some(value),
            }
        }
        let mut delta = Delta::default();
        for (key, change) in shared {
            let count = self.outside.get(&key).copied().unwrap_or(0);
            let next = u32::try_from(i64::from(count) + change).unwrap_or(0);
            match next {
                0 => drop(self.outside.remove(&key)),
                next => drop(self.outside.insert(key, next)),
            }
            match (count, next) {
                (0, 1..) => delta.add.push((key, EntryValue::Present)),
                (1.., 0) => delta.drop.push((key, EntryValue::Present)),
                _ => {}
            }
        }
        for (key, (before, after)) in changes {
            if before != after {
                delta.drop.extend(before.map(|value| (key, value)));
                delta.add.extend(after.map(|value| (key, value)));
            }
        }
        delta.drop.sort_by_key(|(key, _)| *key);
        delta.add.sort_by_key(|(key, _)| *key);
        delta
    }
}
