//! The shell around the scheduler's core: watches feed the cluster and the queue, a plan is made
//! of what is ready, and its placements are bound in one request.

use super::audit::Invariant;
use super::bugs::Bug;
use super::calls::{Caller, Outcome};
use super::watching::{Followed, Watcher};
use super::world::{Happening, World};
use kabuki_model::identity::Identity;
use kabuki_model::request::{Binding, Content, PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use kabuki_schedule::{Cluster, Failure, Pending, Queue, plan};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Pods that are decided about at once.
const BATCH: usize = 64;

#[derive(Default)]
pub(super) struct Scheduler {
    cluster: Cluster,
    pub queue: Queue,
    /// The nodes as the scheduler has seen them, to hold its decisions against.
    seen: BTreeMap<Arc<str>, Arc<Stored>>,
    life: u64,
    /// When it decides next.
    plan_at: Option<Duration>,
}

impl World {
    pub fn begin_scheduler(&mut self) {
        let life = self.scheduler.life + 1;
        self.scheduler = Scheduler {
            life,
            ..Scheduler::default()
        };
        self.follow(Watcher::Scheduler, Resource::NODES, "");
        self.follow(Watcher::Scheduler, Resource::PODS, "");
    }

    pub fn end_scheduler(&mut self) {
        self.scheduler.life += 1;
        self.unfollow(&Watcher::Scheduler);
    }

    pub fn crash_scheduler(&mut self) {
        self.say(format_args!("scheduler crashes"));
        self.end_scheduler();
        self.calls
            .values_mut()
            .filter(|c| c.caller == Caller::Scheduler)
            .for_each(|c| {
                c.caller = Caller::Nobody;
            });
        self.begin_scheduler();
    }

    pub fn scheduler_told(&mut self, changes: Vec<Followed>) {
        let now = self.time();
        let bug = self.bug;
        let scheduler = &mut self.scheduler;
        for change in changes {
            let freed = if change.object.key.resource == Resource::NODES {
                scheduler.node_changed(&change, bug)
            } else {
                let shown = match bug {
                    Some(bug) => bug.break_scheduled(&change.object),
                    None => change.object.clone(),
                };
                let Some(pod) = Pending::read(&shown) else {
                    continue;
                };
                let freed = scheduler.cluster.apply_pod(&pod, change.removed);
                match pod.is_ours && !change.removed {
                    true => scheduler.queue.put(Arc::new(pod), now),
                    false => scheduler.queue.remove(&pod.uid),
                }
                freed
            };
            if let Some(node) = freed {
                scheduler.queue.node_changed(&scheduler.cluster, &node, now);
            }
        }
        self.schedule_plan();
    }

    fn schedule_plan(&mut self) {
        let delay = match self.scheduler.queue.next_wakeup() {
            _ if self.scheduler.queue.has_ready() => self.random.micros(10, 2000),
            Some(at) => self.until(at),
            None => return,
        };
        let at = self.now + delay;
        if self.scheduler.plan_at.is_none_or(|planned| at < planned) {
            self.scheduler.plan_at = Some(at);
            let life = self.scheduler.life;
            self.after(delay, Happening::Plan { life });
        }
    }

    pub fn plan(&mut self, life: u64) {
        if life != self.scheduler.life {
            return;
        }
        self.scheduler.plan_at = None;
        let (now, seed) = (self.time(), self.random.next());
        let pods = self.scheduler.queue.take(now, BATCH);
        if pods.is_empty() {
            return self.schedule_plan();
        }
        let mut bindings = Vec::new();
        for decision in plan(&mut self.scheduler.cluster, &pods, seed) {
            let pod = &decision.pod;
            match decision.outcome {
                Ok(node) => {
                    self.check_placement(pod, &node);
                    bindings.push(Binding {
                        pod: pod.key.clone(),
                        uid: pod.uid.clone(),
                        node,
                    });
                }
                Err(failure) => {
                    self.scheduler.queue.park(&pod.uid, now);
                    self.complain(pod, &failure);
                }
            }
        }
        if !bindings.is_empty() {
            let request = Request::Bind(bindings);
            self.call(Caller::Scheduler, Identity::scheduler(), request);
        }
        self.schedule_plan();
    }

    /// A pod goes only to a node that, as far as the scheduler knows, takes such pods.
    fn check_placement(&mut self, pod: &Pending, node: &Arc<str>) {
        let refusal = match self.scheduler.seen.get(node) {
            None => Some("it does not know the node".to_string()),
            Some(seen) => repels(seen, &pod.stored),
        };
        if let Some(refusal) = refusal {
            let detail = format!("{} goes to {node}: {refusal}", pod.key);
            self.violate(Invariant::PodsGoOnlyWhereTheyAreTaken, detail);
        }
    }

    fn complain(&mut self, pod: &Pending, failure: &Failure) {
        if pod.complaint.as_ref() == Some(&failure.message) {
            return;
        }
        let patch = json!({
            "metadata": {"uid": &*pod.uid},
            "status": {"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": failure.message,
            }]},
        });
        let request = Request::Patch {
            key: pod.key.clone(),
            subresource: Some(Subresource::Status),
            patch_type: PatchType::Strategic,
            patch: patch.to_string().into(),
            options: WriteOptions::default(),
        };
        self.call(Caller::Nobody, Identity::scheduler(), request);
    }

    pub fn scheduler_answered(&mut self, request: &Request, outcome: Outcome) {
        let Request::Bind(bindings) = request else {
            return;
        };
        let outcomes: Vec<Option<StatusError>> = match outcome.map(|a| a.content) {
            Ok(Content::Bindings(outcomes)) => outcomes,
            Ok(_) => Vec::new(),
            Err(error) => bindings.iter().map(|_| Some(error.clone())).collect(),
        };
        let now = self.time();
        let scheduler = &mut self.scheduler;
        for (binding, outcome) in bindings.iter().zip(outcomes) {
            let Some(error) = outcome else {
                scheduler.queue.remove(&binding.uid);
                continue;
            };
            if let Some(node) = scheduler.cluster.forget(&binding.uid) {
                scheduler.queue.node_changed(&scheduler.cluster, &node, now);
            }
            let about_pod = error.resource == Resource::PODS.as_str();
            match error.reason {
                Reason::NotFound if about_pod => scheduler.queue.remove(&binding.uid),
                _ => scheduler.queue.retry(&binding.uid, now),
            }
        }
        self.schedule_plan();
    }
}

impl Scheduler {
    fn node_changed(&mut self, change: &Followed, bug: Option<Bug>) -> Option<Arc<str>> {
        let name = change.object.key.name.clone();
        match change.removed {
            true => self.seen.remove(&name),
            false => self.seen.insert(name, change.object.clone()),
        };
        let shown = match bug {
            Some(bug) => bug.break_scheduled(&change.object),
            None => change.object.clone(),
        };
        self.cluster.apply_node(&shown, change.removed)
    }
}

/// Why a node takes no such pod: written anew, and simply, so that it is not the scheduler's own
/// opinion of itself.
fn repels(node: &Stored, pod: &Stored) -> Option<String> {
    let (node, pod) = (node.to_value().ok()?, pod.to_value().ok()?);
    if node["spec"]["unschedulable"] == true {
        return Some("it is cordoned".to_string());
    }
    let tolerations = pod["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let tolerates = |key: &serde_json::Value| tolerations.iter().any(|t| t["key"] == *key);
    let taints = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    taints
        .iter()
        .find(|t| t["effect"] == "NoSchedule" && !tolerates(&t["key"]))
        .map(|t| format!("it has the taint {}", t["key"]))
}

/// The key of a node.
pub(super) fn node_key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::NODES, "", name)
}
