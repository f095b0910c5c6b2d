//! What every pod of a node shares: settings, handles of the other actors, and the registry of
//! pods. It outlives every actor, so that a restarted one finds what its predecessor knew.

use crate::config::{AgentConfig, Layout};
use crate::cpus::Cpus;
use crate::directory::DirectoryHandle;
use crate::event::EventHandle;
use crate::image::ImageHandle;
use crate::metrics::MetricsHandle;
use crate::names::NamesHandle;
use crate::network::PodNetwork;
use crate::node::Zone;
use crate::pressure::PressureBoard;
use crate::probe::ProbeThread;
use crate::proxy::ProxyHandle;
use crate::room::Room;
use crate::spare::SpareHandle;
use crate::statics::MirrorHandle;
use crate::status::StatusHandle;
use crate::trace::Traces;
use crate::volume::{Keeper, Objects};
use k8s_openapi::api::core::v1::Pod;
use kabuki_lifecycle::process::NodeResources;
use kabuki_lifecycle::{Host, PodState};
use kabuki_model::kind::pod::Totals;
use kabuki_protocol::ApiHandle;
use kabuki_runtime::{Cgroups, ShimClient, ShimLauncher, SwiftMoves};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by all actors of the node.
pub(crate) struct Services {
    pub config: AgentConfig,
    pub layout: Layout,
    pub api: ApiHandle,
    pub host: Host,
    /// What the machine has.
    pub capacity: NodeResources,
    /// What of that is for pods.
    pub allocatable: NodeResources,
    pub launcher: ShimLauncher,
    pub network: PodNetwork,
    pub directory: DirectoryHandle,
    /// Where the node is.
    pub zone: Zone,
    pub proxy: ProxyHandle,
    pub names: NamesHandle,
    pub images: ImageHandle,
    pub events: EventHandle,
    pub statuses: StatusHandle,
    /// What the API shows of pods that come from files.
    pub mirrors: MirrorHandle,
    pub spares: SpareHandle,
    pub traces: Traces,
    pub pods: Registry,
    /// Who has which processors to itself.
    pub cpus: Cpus,
    /// What pods may have that are to be resized.
    pub room: Room,
    pub probes: ProbeThread,
    /// Config maps and secrets that running pods show.
    pub objects: Objects,
    pub cgroups: Cgroups,
    /// Only held.
    pub _moves: Option<SwiftMoves>,
    pub metrics: MetricsHandle,
    pub pressure: PressureBoard,
}

/// The pods of the node, by uid.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    held: Arc<Mutex<HashMap<String, Arc<PodEntry>>>>,
    whole: Arc<watch::Sender<bool>>,
}

/// What is known of one pod outside of its actor.
pub(crate) struct PodEntry {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// The name of its child in the tree.
    pub child: String,
    /// Its volumes.
    pub volumes: Keeper,
    now: Mutex<PodNow>,
    changes: watch::Sender<u64>,
}

/// What changes of it.
struct PodNow {
    pod: Arc<Pod>,
    vanished: bool,
    shim_id: Option<String>,
    shim: Option<ShimClient>,
    state: Option<PodState>,
    /// Room that it was told to have and does not count as its own yet.
    promised: Option<Totals>,
}

impl Registry {
    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<PodEntry>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every pod that the API has bound here has been seen, and what runs of each: only
    /// then is what no pod in here uses known to be unused.
    pub fn is_whole(&self) -> bool {
        let looked_at = || self.held().values().all(|entry| entry.state().is_some());
        *self.whole.borrow() && looked_at()
    }

    /// Every pod has been seen.
    pub fn set_whole(&self) {
        self.whole.send_replace(true);
    }

    pub fn get(&self, uid: &str) -> Option<Arc<PodEntry>> {
        self.held().get(uid).cloned()
    }

    pub fn all(&self) -> Vec<Arc<PodEntry>> {
        self.held().values().cloned().collect()
    }

    /// The pod of that name; of two, the one that is not being deleted.
    pub fn named(&self, namespace: &str, name: &str) -> Option<Arc<PodEntry>> {
        let held = self.held();
        let mut found: Vec<_> = held
            .values()
            .filter(|e| e.namespace == namespace && e.name == name)
            .collect();
        found.sort_by_key(|e| e.pod().metadata.deletion_timestamp.is_some());
        found.first().map(|e| Arc::clone(e))
    }

    /// As [`Self::named`]. While not every pod has been seen, one that is not known may still come,
    /// and what runs of one that is may not be known: both are waited for.
    pub async fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodEntry>> {
        let entry = match self.named(namespace, name) {
            Some(entry) => entry,
            None => {
                // Fails only when the registry is gone.
                let _ = self.whole.subscribe().wait_for(|whole| *whole).await;
                self.named(namespace, name)?
            }
        };
        // Fails only when the entry is gone.
        let _ = entry.changes().wait_for(|_| entry.state().is_some()).await;
        Some(entry)
    }

    pub fn insert(&self, entry: Arc<PodEntry>) {
        self.held().insert(entry.uid.clone(), entry);
    }

    pub fn remove(&self, uid: &str) {
        self.held().remove(uid);
    }
}

impl PodEntry {
    pub fn new(uid: &str, pod: Arc<Pod>, shim_id: Option<String>) -> Self {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let mark = uid.get(..8).unwrap_or(uid);
        Self {
            uid: uid.to_string(),
            child: format!("{namespace}_{name}_{mark}"),
            namespace,
            name,
            changes: watch::channel(0).0,
            volumes: Keeper::default(),
            now: Mutex::new(PodNow {
                pod,
                vanished: false,
                shim_id,
                shim: None,
                state: None,
                promised: None,
            }),
        }
    }

    fn now(&self) -> MutexGuard<'_, PodNow> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The manifest as last seen.
    pub fn pod(&self) -> Arc<Pod> {
        self.now().pod.clone()
    }

    pub fn set_pod(&self, pod: Arc<Pod>) {
        self.now().pod = pod;
        self.changes.send_modify(|n| *n += 1);
    }

    /// Whether the API has forgotten it.
    pub fn vanished(&self) -> bool {
        self.now().vanished
    }

    pub fn set_vanished(&self) {
        self.now().vanished = true;
    }

    /// The shim that has (or is about to have) the pod.
    pub fn shim_id(&self) -> Option<String> {
        self.now().shim_id.clone()
    }

    /// The connection to it.
    pub fn shim(&self) -> Option<ShimClient> {
        self.now().shim.clone()
    }

    pub fn set_shim(&self, shim: Option<ShimClient>) {
        let mut now = self.now();
        now.shim_id = shim.as_ref().map(|s| s.id().to_string());
        now.shim = shim;
    }

    /// The state that the pod's actor last had.
    pub fn state(&self) -> Option<PodState> {
        self.now().state.clone()
    }

    pub fn set_state(&self, state: PodState) {
        self.now().state = Some(state);
        self.changes.send_modify(|n| *n += 1);
    }

    /// Room that it was told to have.
    pub fn promised(&self) -> Option<Totals> {
        self.now().promised
    }

    pub fn promise(&self, room: Option<Totals>) {
        self.now().promised = room;
    }

    /// Wakes whoever waits for another state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The directory of its logs: `NAMESPACE_NAME_UID`.
    pub fn log_dir(&self) -> String {
        format!("{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kabuki_lifecycle::PodMachine;

    fn entry(name: &str) -> Arc<PodEntry> {
        let metadata = ObjectMeta {
            namespace: Some("default".to_string()),
            name: Some(name.to_string()),
            ..ObjectMeta::default()
        };
        let pod = Pod {
            metadata,
            ..Pod::default()
        };
        Arc::new(PodEntry::new(name, Arc::new(pod), None))
    }

    #[tokio::test]
    async fn a_pod_is_looked_for_until_all_are_known_and_what_runs_of_it_is() {
        let registry = Registry::default();
        let mut web = Box::pin(registry.find("default", "web"));
        let mut none = Box::pin(registry.find("default", "none"));
        assert!((&mut web).now_or_never().is_none(), "it may still come");
        assert!((&mut none).now_or_never().is_none(), "it may still come");
        let entry = entry("web");
        registry.insert(entry.clone());
        registry.set_whole();
        assert!(none.await.is_none());
        assert!(
            (&mut web).now_or_never().is_none(),
            "nothing is known of it"
        );
        let machine = PodMachine::new(entry.pod(), Host::default(), jiff::Timestamp::UNIX_EPOCH);
        entry.set_state(machine.state().clone());
        let found = web.await.expect("it is there");
        assert_eq!(found.name, "web");
    }
}
