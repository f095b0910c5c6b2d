//! Writes the statuses of pods to the API: of each pod the newest, one request at a time.
//!
//! What is to be written is kept outside of the actor, so nothing is lost when it restarts. A
//! request that fails is repeated until it succeeds or the pod is gone, and a status that somebody
//! else overwrites is written again (`letter`).

use crate::api;
use crate::trace::{Stage, Traces};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kabuki_kit::{ChildSpec, Slot};
use kabuki_model::request::Subresource;
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, StatusError};
use kabuki_protocol::ApiHandle;
use letter::Letter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

mod letter;

/// Requests at a time. The API commits many writes with one sync, so more than one is faster.
const AT_ONCE: usize = 64;
/// The first repetition of a failed request waits this long, the next ones twice as long each.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The fields that the agent owns: those that a status lacks are removed from the API's.
const OWNED: &[&str] = &["hostIP", "hostIPs", "podIP", "podIPs", "reason", "message"];

#[derive(RactorMessage)]
pub(crate) enum StatusMessage {
    Look,
    Written {
        uid: String,
        version: u64,
        outcome: Outcome,
    },
    Retry(String),
}

pub(crate) enum Outcome {
    /// At which revision the pod then is; nothing when it is gone or took nothing.
    Done(Option<u64>),
    Again,
}

/// Reaches the writer.
#[derive(Clone)]
pub(crate) struct StatusHandle {
    slot: Slot<StatusMessage>,
    desk: Arc<Desk>,
}

/// What is still to be written.
struct Desk {
    api: ApiHandle,
    traces: Traces,
    letters: Mutex<HashMap<String, Letter>>,
}

impl StatusHandle {
    pub fn new(api: ApiHandle, traces: Traces) -> Self {
        let desk = Desk {
            api,
            traces,
            letters: Mutex::default(),
        };
        Self {
            slot: Slot::new("statuses"),
            desk: Arc::new(desk),
        }
    }

    pub fn child(&self) -> ChildSpec {
        let desk = self.desk.clone();
        ChildSpec::worker("statuses", &self.slot, move |_| {
            (Statuses { desk: desk.clone() }, ())
        })
    }

    /// Has a status written, in place of one that still waits.
    pub fn report(&self, uid: &str, namespace: &str, name: &str, status: &PodStatus) {
        let mut letters = self.desk.letters();
        let letter = letters
            .entry(uid.to_string())
            .or_insert_with(|| Letter::new(namespace, name));
        if let Err(error) = letter.report(uid, status) {
            tracing::error!(pod.uid = uid, %error, "pod status is no JSON");
            return;
        }
        drop(letters);
        // A writer that restarts looks by itself.
        let _ = self.slot.cast(StatusMessage::Look);
    }

    /// The API has the pod like this: a status that was overwritten is written again.
    pub fn seen(&self, uid: &str, pod: &Arc<Pod>) {
        let revision = pod.metadata.resource_version.as_deref();
        let Some(revision) = revision.and_then(|r| r.parse().ok()) else {
            return;
        };
        let mut letters = self.desk.letters();
        let overwritten = letters
            .get_mut(uid)
            .is_some_and(|letter| letter.seen(revision, pod));
        drop(letters);
        if overwritten {
            let _ = self.slot.cast(StatusMessage::Look);
        }
    }

    /// Has all statuses written again: somebody took the whole node for not ready, and its pods
    /// with it.
    pub fn repeat_all(&self) {
        for letter in self.desk.letters().values_mut() {
            letter.repeat();
        }
        let _ = self.slot.cast(StatusMessage::Look);
    }

    /// Returns when the newest status of a pod is written, or the pod is gone.
    pub async fn flush(&self, uid: &str) {
        let written = {
            let mut letters = self.desk.letters();
            match letters.get_mut(uid) {
                Some(letter) if letter.written < letter.version => {
                    let (sender, written) = oneshot::channel();
                    letter.waiting.push(sender);
                    written
                }
                _ => return,
            }
        };
        let _ = written.await;
    }

    /// Forgets a pod whose life is over.
    pub fn forget(&self, uid: &str) {
        self.desk.letters().remove(uid);
    }
}

impl Desk {
    fn letters(&self) -> MutexGuard<'_, HashMap<String, Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Statuses {
    desk: Arc<Desk>,
}

#[derive(Default)]
struct StatusesState {
    /// Pods with a request under way or a repetition to come.
    busy: HashSet<String>,
    /// Repetitions in a row, by pod.
    failures: HashMap<String, u32>,
}

impl Statuses {
    fn look(&self, myself: &ActorRef<StatusMessage>, state: &mut StatusesState) {
        let letters = self.desk.letters();
        for (uid, letter) in letters.iter() {
            if state.busy.len() >= AT_ONCE {
                return;
            }
            if letter.written == letter.version || !state.busy.insert(uid.clone()) {
                continue;
            }
            let (uid, version) = (uid.clone(), letter.version);
            let (key, patch) = (letter.key.clone(), letter.patch.clone());
            let (runs, desk, myself) = (letter.runs, self.desk.clone(), myself.clone());
            tokio::spawn(async move {
                let status = Some(Subresource::Status);
                let written = api::patch_at(&desk.api, key.clone(), status, &patch).await;
                if runs && written.is_ok() {
                    desk.traces.reach(&uid, Stage::Report);
                }
                let outcome = outcome(&key, written);
                let _ = myself.cast(StatusMessage::Written {
                    uid,
                    version,
                    outcome,
                });
            });
        }
    }

    fn written(&self, uid: &str, version: u64, revision: Option<u64>) {
        if let Some(letter) = self.desk.letters().get_mut(uid) {
            letter.written(version, revision);
        }
    }
}

/// What a pod that is gone (or refuses its status for good) was to be told no longer matters.
fn outcome(key: &ObjectKey, written: Result<u64, StatusError>) -> Outcome {
    let error = match written {
        Ok(revision) => return Outcome::Done(Some(revision)),
        Err(error) => error,
    };
    match error.reason {
        Reason::NotFound => Outcome::Done(None),
        Reason::Invalid | Reason::BadRequest | Reason::Forbidden => {
            tracing::error!(pod.key = %key, %error, "pod status was refused");
            Outcome::Done(None)
        }
        _ => {
            tracing::debug!(pod.key = %key, %error, "pod status was not written yet");
            Outcome::Again
        }
    }
}

impl Actor for Statuses {
    type Msg = StatusMessage;
    type State = StatusesState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<StatusMessage>,
        (): (),
    ) -> Result<StatusesState, ActorProcessingErr> {
        let mut state = StatusesState::default();
        self.look(&myself, &mut state);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<StatusMessage>,
        message: StatusMessage,
        state: &mut StatusesState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            StatusMessage::Look => {}
            StatusMessage::Written {
                uid,
                version,
                outcome: Outcome::Done(revision),
            } => {
                state.busy.remove(&uid);
                state.failures.remove(&uid);
                self.written(&uid, version, revision);
            }
            StatusMessage::Written {
                uid,
                outcome: Outcome::Again,
                ..
            } => {
                let failures = state.failures.entry(uid.clone()).or_default();
                let delay = RETRY_FIRST
                    .saturating_mul(1 << (*failures).min(10))
                    .min(RETRY_MAX);
                *failures += 1;
                myself.send_after(delay, move || StatusMessage::Retry(uid));
            }
            StatusMessage::Retry(uid) => {
                state.busy.remove(&uid);
            }
        }
        self.look(&myself, state);
        Ok(())
    }
}
