//! What each change may do.

use super::Invariant;
use crate::simulation::people::count_of;
use crate::simulation::placing::node_key;
use crate::simulation::world::World;
use kabuki_model::command::Change;
use kabuki_model::k8s_openapi::api::core::v1::{Node, Pod};
use kabuki_model::{ObjectKey, Quantity, Resource, Stored};
use std::sync::Arc;

type Check = Result<(), (Invariant, String)>;

impl World {
    /// Takes note of a change that was written for certain, and checks it.
    pub fn audit_change(&mut self, change: &Change) {
        let line = format!(
            "{} {} at {}",
            if change.removed { "removed" } else { "stored" },
            change.object.key,
            change.revision()
        );
        self.say(format_args!("{line}"));
        let checks = [
            self.check_order(change),
            self.check_names(change),
            self.check_namespaces(change),
            self.check_binding(change),
            self.check_new_pod(change),
            check_count(change),
        ];
        for (invariant, detail) in checks.into_iter().filter_map(Result::err) {
            self.violate(invariant, detail);
        }
        self.note(change);
    }

    fn note(&mut self, change: &Change) {
        let object = &change.object;
        self.audit.revision = change.revision();
        let history = self
            .audit
            .histories
            .entry(object.key.resource.clone())
            .or_default();
        history.push(change.revision());
        if change.removed {
            self.audit.objects.remove(&object.key);
            self.note_forced(object);
        } else {
            self.audit.uids.insert(object.uid.clone());
            self.audit
                .objects
                .insert(object.key.clone(), object.clone());
        }
        self.note_wish(change);
    }

    /// A pod that went while its node still ran it was forced away.
    fn note_forced(&mut self, object: &Stored) {
        let runs = |uid: &str| {
            self.machines
                .values()
                .any(|m| m.runtime.get(uid).is_some_and(|s| s.runs_anything()))
        };
        if object.key.resource == Resource::PODS && runs(&object.uid) {
            self.audit.forced.insert(object.uid.clone());
        }
    }

    fn check_order(&self, change: &Change) -> Check {
        let key = &change.object.key;
        if change.revision() != self.audit.revision + 1 {
            let detail = format!(
                "{key} has {} after {}",
                change.revision(),
                self.audit.revision
            );
            return Err((Invariant::RevisionsFollowOneAnother, detail));
        }
        if change.previous.as_ref() != self.audit.objects.get(key) {
            let detail = format!(
                "{key}: before was {:?}, it says {:?}",
                self.audit.objects.get(key),
                change.previous
            );
            return Err((Invariant::ChangesAreChained, detail));
        }
        Ok(())
    }

    fn check_names(&self, change: &Change) -> Check {
        let object = &change.object;
        match self.audit.objects.get(&object.key) {
            Some(present) if present.uid != object.uid => {
                let detail = format!("{object:?} takes the place of {present:?}");
                Err((Invariant::OneObjectPerName, detail))
            }
            None if self.audit.uids.contains(&object.uid) => Err((
                Invariant::UidsAreUnique,
                format!("{object:?} has a uid that was used"),
            )),
            _ => Ok(()),
        }
    }

    fn check_namespaces(&self, change: &Change) -> Check {
        let key = &change.object.key;
        if !key.namespace.is_empty() && change.previous.is_none() {
            let namespace = ObjectKey::new(Resource::NAMESPACES, "", &key.namespace);
            let open = self
                .audit
                .objects
                .get(&namespace)
                .is_some_and(|n| !is_going(n));
            if !open {
                let detail = format!("{key} came to be");
                return Err((Invariant::ClosedNamespacesStayClosed, detail));
            }
        }
        if change.removed && key.resource == Resource::NAMESPACES {
            let left = self.audit.objects.keys().find(|k| k.namespace == key.name);
            if let Some(left) = left {
                return Err((Invariant::NamespacesGoEmpty, format!("{key} left {left}")));
            }
        }
        Ok(())
    }

    fn check_binding(&self, change: &Change) -> Check {
        let object = &change.object;
        if object.key.resource != Resource::PODS || change.removed {
            return Ok(());
        }
        let before = change.previous.as_ref().and_then(|p| node_of(p));
        let after = node_of(object);
        if before.is_some() && before != after {
            let detail = format!("{} moved from {before:?} to {after:?}", object.key);
            return Err((Invariant::PodsAreBoundOnce, detail));
        }
        match after.filter(|_| before.is_none()) {
            Some(node) => self.check_capacity(&node, object),
            None => Ok(()),
        }
    }

    /// The pods on the node, with the one that is being bound, and what the node has.
    fn check_capacity(&self, name: &str, bound: &Arc<Stored>) -> Check {
        let Some(node) = self.audit.objects.get(&node_key(name)) else {
            let detail = format!("{} goes to {name}, which is not there", bound.key);
            return Err((Invariant::PodsGoOnlyWhereTheyAreTaken, detail));
        };
        let Ok(node) = node.typed::<Node>() else {
            return Ok(());
        };
        let allocatable = node
            .status
            .as_ref()
            .and_then(|s| s.allocatable.clone())
            .unwrap_or_default();
        let has = |what: &str| {
            allocatable
                .get(what)
                .and_then(|q| Quantity::try_from(q).ok())
        };
        let pods: Vec<Arc<Pod>> = self
            .audit
            .of(&Resource::PODS)
            .filter(|p| p.key != bound.key && node_of(p).as_deref() == Some(name))
            .chain([bound])
            .filter_map(|p| p.typed::<Pod>().ok())
            .filter(|p| !is_finished(p))
            .collect();
        let cpu: i64 = pods.iter().map(|p| cpu_milli(p)).sum();
        let most = has("cpu").map_or(0, |q| milli(&q));
        let slots = has("pods").map_or(0, |q| milli(&q) / 1000);
        if cpu > most || pods.len() as i64 > slots {
            let detail = format!(
                "{name} has {most} m and room for {slots} pods; {} pods ask for {cpu} m",
                pods.len()
            );
            return Err((Invariant::NodesAreNotOvercommitted, detail));
        }
        Ok(())
    }

    /// A container of a pod runs: no other pod of the name may.
    pub fn audit_started(&mut self, name: &str, key: &ObjectKey, uid: &str) {
        let other = self.machines.iter().find_map(|(node, machine)| {
            let (other, _) = machine
                .runtime
                .iter()
                .find(|(other, held)| held.key == *key && *other != uid && held.runs_anything())?;
            Some((node.clone(), other.clone()))
        });
        if let Some((node, other)) = other
            && !self.audit.forced.contains(&*other)
        {
            let detail = format!("{key} runs as {uid} on {name} and as {other} on {node}");
            self.violate(Invariant::NoTwoPodsOfOneName, detail);
        }
    }
}

/// Each writer of the counter adds one to what it has read.
fn check_count(change: &Change) -> Check {
    let Some(previous) = change.previous.as_ref().filter(|_| !change.removed) else {
        return Ok(());
    };
    let data = |o: &Stored| o.to_value().map(|v| v["data"].clone()).unwrap_or_default();
    match (count_of(previous), count_of(&change.object)) {
        // Others may change what is not data.
        (Some(before), Some(after))
            if after != before + 1 && data(previous) != data(&change.object) =>
        {
            let detail = format!("{after} was written over {before}");
            Err((Invariant::NoUpdateIsLost, detail))
        }
        _ => Ok(()),
    }
}

pub(super) fn is_going(object: &Stored) -> bool {
    object.meta().deletion_timestamp.is_some()
}

pub(super) fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

pub(super) fn node_of(pod: &Stored) -> Option<String> {
    let pod = pod.typed::<Pod>().ok()?;
    let node = pod.spec.as_ref()?.node_name.clone()?;
    (!node.is_empty()).then_some(node)
}

fn cpu_milli(pod: &Pod) -> i64 {
    let containers = pod.spec.iter().flat_map(|s| &s.containers);
    let asked = containers.filter_map(|c| c.resources.as_ref()?.requests.as_ref()?.get("cpu"));
    asked
        .filter_map(|q| Quantity::try_from(q).ok())
        .map(|q| milli(&q))
        .sum()
}

fn milli(quantity: &Quantity) -> i64 {
    quantity.milli_ceil()
}
