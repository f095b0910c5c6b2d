//! Nodes and what is on them, kept up to date change by change. Placements that were decided
//! but are not yet seen to be stored count as if they were (they are *assumed*), until they are
//! seen or refused.
//!
//! Invariant: what a node has given away is exactly the sum of the pods that are held on it.

use crate::candidates::Candidates;
use crate::filter;
use crate::node::Node;
use crate::pod::{Class, Pending};
use crate::score::ImageSpread;
use kabuki_model::k8s_openapi::api::core::v1::Node as ApiNode;
use kabuki_model::{Resource, Stored};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Classes whose candidates are remembered; beyond that all are forgotten and made anew.
const MAX_CLASSES: usize = 256;

/// The nodes and pods that the scheduler knows.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: Vec<Node>,
    by_name: BTreeMap<Arc<str>, usize>,
    held: HashMap<Arc<str>, Held>,
    pub(crate) spread: ImageSpread,
    /// Nodes that changed, the latest last.
    changed: VecDeque<usize>,
    /// How many changes were dropped from the front of `changed`.
    dropped: u64,
    /// Counts changes after which nothing about candidates can be kept.
    pub(crate) epoch: u64,
    candidates: HashMap<String, Candidates>,
}

/// A pod on a node.
#[derive(Debug)]
struct Held {
    node: usize,
    class: Arc<Class>,
    assumed: bool,
}

impl Cluster {
    /// Takes over a change of a node. Says which node may now take pods that it did not take
    /// before.
    pub fn apply_node(&mut self, stored: &Stored, removed: bool) -> Option<Arc<str>> {
        debug_assert_eq!(stored.key.resource, Resource::NODES);
        let name = stored.key.name.clone();
        if removed {
            self.remove_node(&name);
            return None;
        }
        let api: Arc<ApiNode> = stored.typed().ok()?;
        let index = self.node_index(&name);
        let was_present = self.nodes[index].present;
        self.spread_images(index, -1);
        let change = self.nodes[index].update(&api);
        self.spread_images(index, 1);
        if !was_present {
            self.spread.total += 1;
        }
        if change.images || !was_present {
            self.epoch += 1;
        }
        if change.fit {
            self.touch(index);
        }
        change.fit.then_some(name)
    }

    fn remove_node(&mut self, name: &Arc<str>) {
        let Some(&index) = self.by_name.get(name) else {
            return;
        };
        if !self.nodes[index].present {
            return;
        }
        self.spread_images(index, -1);
        self.spread.total -= 1;
        let node = &mut self.nodes[index];
        node.present = false;
        node.images.clear();
        self.epoch += 1;
    }

    fn spread_images(&mut self, index: usize, by: i64) {
        for image in self.nodes[index].images.keys() {
            let count = self.spread.nodes.entry(image.clone()).or_default();
            *count += by;
            if *count <= 0 {
                self.spread.nodes.remove(image);
            }
        }
    }

    /// Takes over a change of a pod. Says which node may now take pods that it did not take
    /// before.
    pub fn apply_pod(&mut self, pod: &Pending, removed: bool) -> Option<Arc<str>> {
        let gone = removed || pod.is_finished;
        match &pod.node {
            Some(node) if !gone => {
                let index = self.node_index(node);
                let same = self.held.get(&pod.uid).is_some_and(|held| {
                    held.node == index && held.class.identity == pod.class.identity
                });
                if same {
                    if let Some(held) = self.held.get_mut(&pod.uid) {
                        held.assumed = false;
                    }
                    return None;
                }
                let freed = self.release(&pod.uid);
                self.hold(pod, index, false);
                freed
            }
            // A change of a pod that is about to be bound does not undo that.
            None if !gone => None,
            _ => self.release(&pod.uid),
        }
    }

    /// Counts a pod on a node from now on.
    pub fn assume(&mut self, pod: &Pending, node: &Arc<str>) {
        let index = self.node_index(node);
        self.release(&pod.uid);
        self.hold(pod, index, true);
    }

    /// Takes back what was assumed of a pod, unless it was seen to be stored meanwhile. Says
    /// which node may now take other pods.
    pub fn forget(&mut self, uid: &Arc<str>) -> Option<Arc<str>> {
        match self.held.get(uid) {
            Some(held) if held.assumed => self.release(uid),
            _ => None,
        }
    }

    /// Whether a node would take a pod of the class.
    pub fn takes(&self, node: &str, class: &Class) -> bool {
        let node = self.by_name.get(node).map(|index| &self.nodes[*index]);
        node.is_some_and(|n| n.present && filter::refusals(class, n).is_empty())
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        usize::try_from(self.spread.total).unwrap_or(0)
    }

    fn hold(&mut self, pod: &Pending, node: usize, assumed: bool) {
        self.nodes[node].put(&pod.class);
        self.touch(node);
        let class = pod.class.clone();
        self.held.insert(
            pod.uid.clone(),
            Held {
                node,
                class,
                assumed,
            },
        );
    }

    fn release(&mut self, uid: &Arc<str>) -> Option<Arc<str>> {
        let held = self.held.remove(uid)?;
        self.nodes[held.node].take(&held.class);
        self.touch(held.node);
        Some(self.nodes[held.node].name.clone())
    }

    fn node_index(&mut self, name: &Arc<str>) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        // Places of nodes that are gone are used again.
        let free = self.nodes.iter().position(|n| !n.present && n.pods == 0);
        let index = free.unwrap_or(self.nodes.len());
        let node = Node::named(name.clone());
        if let Some(gone) = self.nodes.get_mut(index) {
            self.by_name.remove(&gone.name);
            *gone = node;
        } else {
            self.nodes.push(node);
        }
        self.by_name.insert(name.clone(), index);
        index
    }

    fn touch(&mut self, node: usize) {
        self.changed.push_back(node);
        let keep = self.nodes.len().saturating_mul(2).max(1024);
        while self.changed.len() > keep {
            self.changed.pop_front();
            self.dropped += 1;
        }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How many changes of nodes there were.
    pub(crate) fn change_count(&self) -> u64 {
        self.dropped + self.changed.len() as u64
    }

    /// The nodes that changed after the first `seen` changes; `None` when that is no longer
    /// known.
    pub(crate) fn changed_since(&self, seen: u64) -> Option<impl Iterator<Item = usize> + '_> {
        let skip = usize::try_from(seen.checked_sub(self.dropped)?).ok()?;
        Some(self.changed.iter().skip(skip).copied())
    }

    /// What is remembered of a class, up to date.
    pub(crate) fn candidates(&mut self, class: &Class, seed: u64) -> &mut Candidates {
        let mut known = self.candidates.remove(&class.identity).unwrap_or_default();
        known.update(class, self, seed);
        if self.candidates.len() >= MAX_CLASSES {
            self.candidates.clear();
        }
        self.candidates
            .entry(class.identity.clone())
            .insert_entry(known)
            .into_mut()
    }

    /// Forgets what is remembered of classes, so that all is asked again.
    #[cfg(test)]
    pub(crate) fn forget_candidates(&mut self) {
        self.candidates.clear();
    }
}
