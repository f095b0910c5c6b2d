//! Mirror pods: what the API shows of the pods that this node runs by itself. One for each static
//! pod, made anew when somebody deletes it, replaced when its file changed, and removed with the
//! file; the node writes the static pod's status to it.
//!
//! Who talks to it: the manager (static pods, mirrors that the API has), the pods (statuses).
//! Every request runs in a task, of each name one at a time; what became of it shows on the
//! watch, or leads to another attempt.

use crate::api;
use crate::services::Services;
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use kabuki_kit::{ChildSpec, Slot};
use kabuki_lifecycle::statics;
use kabuki_model::request::{DeleteOptions, Request};
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the API refuses is asked for again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// `NAMESPACE/NAME`.
type Name = String;

#[derive(RactorMessage)]
pub(crate) enum MirrorMessage {
    /// Something changed on the desk.
    Look,
    /// A request for a mirror is over, and the watch has had time to show it.
    Done(Name),
}

/// Reaches the keeper of mirrors.
#[derive(Clone)]
pub(crate) struct MirrorHandle {
    slot: Slot<MirrorMessage>,
    desk: Arc<Mutex<Desk>>,
}

/// What is known; it outlives the actor.
#[derive(Default)]
struct Desk {
    statics: BTreeMap<Name, Arc<Pod>>,
    mirrors: BTreeMap<Name, Arc<Pod>>,
    /// The newest status of each static pod, by its uid.
    statuses: HashMap<String, PodStatus>,
}

impl MirrorHandle {
    pub fn new() -> Self {
        Self {
            slot: Slot::new("mirrors"),
            desk: Arc::default(),
        }
    }

    pub fn child(&self, services: &Arc<Services>) -> ChildSpec {
        let (desk, services) = (self.desk.clone(), services.clone());
        ChildSpec::worker("mirrors", &self.slot, move |_| {
            let (desk, services) = (desk.clone(), services.clone());
            (Mirrors { desk, services }, ())
        })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The static pods are these.
    pub fn statics(&self, pods: &[Arc<Pod>]) {
        let named = pods.iter().map(|pod| (name_of(pod), pod.clone()));
        self.desk().statics = named.collect();
        let _ = self.slot.cast(MirrorMessage::Look);
    }

    /// The API has this mirror.
    pub fn seen(&self, services: &Services, mirror: Arc<Pod>) {
        let status = {
            let mut desk = self.desk();
            let known = desk.mirrors.insert(name_of(&mirror), mirror.clone());
            let is_new = known.is_none_or(|k| k.metadata.uid != mirror.metadata.uid);
            is_new.then(|| desk.status_for(&mirror)).flatten()
        };
        if let Some(status) = status {
            report(services, &mirror, &status);
        }
        let uid = mirror.metadata.uid.clone().unwrap_or_default();
        services.statuses.seen(&uid, &mirror);
        let _ = self.slot.cast(MirrorMessage::Look);
    }

    /// The API no longer has it.
    pub fn lost(&self, services: &Services, uid: &str) {
        let has_uid = |pod: &Arc<Pod>| pod.metadata.uid.as_deref() == Some(uid);
        self.desk().mirrors.retain(|_, pod| !has_uid(pod));
        services.statuses.forget(uid);
        let _ = self.slot.cast(MirrorMessage::Look);
    }

    /// The API's list is complete: it has mirrors of these uids only.
    pub fn listed(&self, services: &Services, uids: &HashSet<String>) {
        let held: Vec<String> = {
            let desk = self.desk();
            let uids = desk.mirrors.values().filter_map(|p| p.metadata.uid.clone());
            uids.collect()
        };
        for uid in held.iter().filter(|uid| !uids.contains(*uid)) {
            self.lost(services, uid);
        }
    }

    /// A static pod has this status.
    pub fn report(&self, services: &Services, pod: &Pod, status: &PodStatus) {
        let mirror = {
            let mut desk = self.desk();
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            desk.statuses.insert(uid, status.clone());
            let mirror = desk.mirrors.get(&name_of(pod)).cloned();
            mirror.filter(|mirror| statics::shows(mirror, pod))
        };
        if let Some(mirror) = mirror {
            report(services, &mirror, status);
        }
    }

    /// A static pod's life is over.
    pub fn forget(&self, uid: &str) {
        self.desk().statuses.remove(uid);
    }
}

impl Desk {
    /// The status that a mirror is to show.
    fn status_for(&self, mirror: &Pod) -> Option<PodStatus> {
        let pod = self.statics.get(&name_of(mirror))?;
        let uid = pod.metadata.uid.as_ref()?;
        let status = self.statuses.get(uid)?;
        statics::shows(mirror, pod).then(|| status.clone())
    }
}

fn report(services: &Services, mirror: &Pod, status: &PodStatus) {
    let meta = &mirror.metadata;
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let (uid, namespace, name) = (of(&meta.uid), of(&meta.namespace), of(&meta.name));
    // It counts the mirror's own generations, not the file's.
    let mut status = status.clone();
    status.observed_generation = meta.generation;
    for condition in status.conditions.iter_mut().flatten() {
        condition.observed_generation = meta.generation;
    }
    services.statuses.report(&uid, &namespace, &name, &status);
}

fn name_of(pod: &Pod) -> Name {
    let meta = &pod.metadata;
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}/{}", of(&meta.namespace), of(&meta.name))
}

/// What is to be done about one name.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Create(Arc<Pod>),
    Delete(Arc<Pod>),
}

/// Compares what is there with what is to be.
fn steps(desk: &Desk) -> BTreeMap<Name, Step> {
    let mut steps = BTreeMap::new();
    for (name, mirror) in &desk.mirrors {
        let wanted = desk.statics.get(name);
        let right = wanted.is_some_and(|pod| statics::shows(mirror, pod));
        // One that somebody deletes waits for the node to let it go.
        if !right || mirror.metadata.deletion_timestamp.is_some() {
            steps.insert(name.clone(), Step::Delete(mirror.clone()));
        }
    }
    for (name, pod) in &desk.statics {
        if !desk.mirrors.contains_key(name) {
            steps.insert(name.clone(), Step::Create(pod.clone()));
        }
    }
    steps
}

struct Mirrors {
    desk: Arc<Mutex<Desk>>,
    services: Arc<Services>,
}

impl Mirrors {
    fn look(&self, myself: &ActorRef<MirrorMessage>, busy: &mut HashSet<Name>) {
        let steps = steps(&self.desk.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, step) in steps {
            if !busy.insert(name.clone()) {
                continue;
            }
            let (services, myself) = (self.services.clone(), myself.clone());
            tokio::spawn(async move {
                let done = match &step {
                    Step::Create(pod) => create(&services, pod).await,
                    Step::Delete(mirror) => delete(&services, mirror).await,
                };
                if let Err(error) = done {
                    tracing::debug!(pod.key = name, %error, "mirror pod not kept yet");
                }
                // The watch may be behind the answer, so a look at once would ask twice.
                tokio::time::sleep(RETRY).await;
                let _ = myself.cast(MirrorMessage::Done(name));
            });
        }
    }
}

async fn create(services: &Services, pod: &Pod) -> Result<(), StatusError> {
    let node = &services.config.node_name;
    let held = api::get::<Node>(&services.api, Resource::NODES, "", node).await?;
    let uid = held.and_then(|node| node.metadata.uid.clone());
    let uid =
        uid.ok_or_else(|| StatusError::not_found(&ObjectKey::new(Resource::NODES, "", node)))?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mirror = statics::mirror(pod, &uid);
    let created = api::create(&services.api, Resource::PODS, namespace, &mirror).await;
    match created {
        Err(error) if error.reason != Reason::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

async fn delete(services: &Services, mirror: &Pod) -> Result<(), StatusError> {
    let meta = &mirror.metadata;
    let of = |field: &Option<String>| field.clone().unwrap_or_default();
    let options = DeleteOptions {
        grace_period_s: Some(0),
        uid: meta.uid.as_deref().map(Into::into),
        ..DeleteOptions::default()
    };
    let key = ObjectKey::new(Resource::PODS, &of(&meta.namespace), &of(&meta.name));
    let request = Request::Delete { key, options };
    match services.api.request(request).await {
        Err(error) if !matches!(error.reason, Reason::NotFound | Reason::Conflict) => Err(error),
        _ => Ok(()),
    }
}

impl Actor for Mirrors {
    type Msg = MirrorMessage;
    /// The names with a request under way.
    type State = HashSet<Name>;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<MirrorMessage>,
        (): (),
    ) -> Result<HashSet<Name>, ActorProcessingErr> {
        let mut busy = HashSet::new();
        self.look(&myself, &mut busy);
        Ok(busy)
    }

    async fn handle(
        &self,
        myself: ActorRef<MirrorMessage>,
        message: MirrorMessage,
        busy: &mut HashSet<Name>,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            MirrorMessage::Look => {}
            MirrorMessage::Done(name) => {
                busy.remove(&name);
            }
        }
        self.look(&myself, busy);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(hash: &str) -> Arc<Pod> {
        let annotations = json!({statics::HASH: hash, statics::SOURCE: "file"});
        let meta = json!({"name": "a", "namespace": "n", "annotations": annotations});
        Arc::new(serde_json::from_value(json!({"metadata": meta})).expect("a pod"))
    }

    fn mirror(hash: &str, deleted: bool) -> Arc<Pod> {
        let deleted = deleted.then_some("2026-01-01T00:00:00Z");
        let meta = json!({"name": "a", "namespace": "n", "deletionTimestamp": deleted,
            "annotations": {statics::MIRROR: hash}});
        Arc::new(serde_json::from_value(json!({"metadata": meta})).expect("a pod"))
    }

    #[test]
    fn mirrors_follow_their_pods() {
        let step = |pod: Option<Arc<Pod>>, mirror: Option<Arc<Pod>>| {
            let mut desk = Desk::default();
            let named = |pod: Arc<Pod>| (name_of(&pod), pod);
            desk.statics.extend(pod.map(named));
            desk.mirrors.extend(mirror.map(named));
            steps(&desk).remove("n/a")
        };
        let (one, two) = (pod("1"), mirror("2", false));
        assert_eq!(
            step(Some(one.clone()), None),
            Some(Step::Create(one.clone()))
        );
        assert_eq!(step(Some(one.clone()), Some(mirror("1", false))), None);
        let (other, alone) = (Some(one.clone()), Some(two.clone()));
        assert_eq!(step(other, alone.clone()), Some(Step::Delete(two.clone())));
        assert_eq!(step(None, alone), Some(Step::Delete(two)));
        let going = mirror("1", true);
        let deleted = Some(going.clone());
        assert_eq!(step(Some(one), deleted), Some(Step::Delete(going)));
    }
}
