//! Pods from files: taken up when a file comes, ended when it goes, replaced when it changes, the
//! new one not before the old one has ended.

use super::actor::{Manager, ManagerMessage, ManagerState};
use crate::pod::PodMessage;
use crate::statics::{Folder, follow};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ractor::ActorRef;
use std::collections::HashSet;
use std::sync::Arc;

/// The grace of a pod that does not say.
const GRACE_S: i64 = 30;

/// What the manager knows of pods from files.
#[derive(Debug, Default)]
pub(super) struct Statics {
    /// Those that have actors, by uid.
    running: HashSet<String>,
    /// Those of them that are to end.
    ending: HashSet<String>,
    /// Those that wait until a pod of their name has ended.
    waiting: Vec<Arc<Pod>>,
}

impl Statics {
    /// Whether the pod is from a file, and not the API's to take away.
    pub fn runs(&self, uid: &str) -> bool {
        self.running.contains(uid)
    }
}

impl Manager {
    /// Reads the folder for the first time, and follows it from then on.
    pub(super) async fn begin_statics(
        &self,
        myself: &ActorRef<ManagerMessage>,
        state: &mut ManagerState,
    ) {
        let config = &self.services.config;
        let Some(dir) = config.static_pods.clone() else {
            return;
        };
        let (place, node) = (dir.clone(), config.node_name.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut folder = Folder::default();
            let pods = folder.read(&place, &node);
            (folder, pods)
        });
        let folder = match read.await {
            Ok((folder, Ok(pods))) => {
                self.set_statics(pods, state).await;
                folder
            }
            Ok((folder, Err(error))) => {
                tracing::error!(dir = %dir.display(), %error, "static pods cannot be read");
                folder
            }
            Err(_) => Folder::default(),
        };
        let following = follow(dir, config.node_name.clone(), folder, myself.clone());
        state.folder = Some(tokio::spawn(following));
    }

    /// The folder has these pods now.
    pub(super) async fn set_statics(&self, pods: Vec<Arc<Pod>>, state: &mut ManagerState) {
        self.services.mirrors.statics(&pods);
        let wanted: HashSet<&str> = pods
            .iter()
            .filter_map(|p| p.metadata.uid.as_deref())
            .collect();
        let gone: Vec<String> = state
            .statics
            .running
            .iter()
            .filter(|uid| !wanted.contains(uid.as_str()))
            .cloned()
            .collect();
        for uid in gone {
            self.dismiss(&uid, state);
        }
        state.statics.waiting = pods;
        self.take_up_statics(state).await;
    }

    /// Takes up those whose name is free.
    async fn take_up_statics(&self, state: &mut ManagerState) {
        for pod in std::mem::take(&mut state.statics.waiting) {
            let meta = &pod.metadata;
            let of = |field: &Option<String>| field.clone().unwrap_or_default();
            let uid = of(&meta.uid);
            let statics = &mut state.statics;
            if statics.running.contains(&uid) && !statics.ending.contains(&uid) {
                continue;
            }
            let same_name = self
                .services
                .pods
                .named(&of(&meta.namespace), &of(&meta.name));
            // After a restart of the manager its own entry is still there.
            if same_name.is_some_and(|held| held.uid != uid) || statics.ending.contains(&uid) {
                statics.waiting.push(pod);
                continue;
            }
            statics.running.insert(uid.clone());
            self.take_up(uid, pod, state).await;
        }
    }

    /// The file of a pod is gone, or says something else now: the pod ends in its own time.
    fn dismiss(&self, uid: &str, state: &mut ManagerState) {
        let (Some(entry), Some(slot)) = (self.services.pods.get(uid), state.slots.get(uid)) else {
            return;
        };
        if !state.statics.ending.insert(uid.to_string()) {
            return;
        }
        let mut pod = (*entry.pod()).clone();
        let own = pod.spec.as_ref();
        let grace_s = own.and_then(|s| s.termination_grace_period_seconds);
        let grace_s = grace_s.unwrap_or(GRACE_S).max(0);
        let deadline = Timestamp::now().checked_add(SignedDuration::from_secs(grace_s));
        let deadline = deadline.unwrap_or(Timestamp::MAX);
        pod.metadata.deletion_timestamp = Some(Time(deadline));
        pod.metadata.deletion_grace_period_seconds = Some(grace_s);
        entry.set_pod(Arc::new(pod));
        let _ = slot.cast(PodMessage::Changed);
    }

    /// A pod's life is over: whoever waited for its name can begin.
    pub(super) async fn static_ended(&self, uid: &str, state: &mut ManagerState) {
        if state.statics.running.remove(uid) {
            state.statics.ending.remove(uid);
            self.services.mirrors.forget(uid);
        }
        self.take_up_statics(state).await;
    }
}
