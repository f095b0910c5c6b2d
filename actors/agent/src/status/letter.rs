//! What is to be written of one pod, what was, and what the API was last seen to have.
//!
//! Somebody else may write after the agent: a request of a connection that died can be done late,
//! after newer ones. So what the API shows is compared with what was written last, as soon as both
//! are known, and written again where it differs. Only fields of the agent count, and only so many
//! times in a row: two writers that do not agree must not go on for ever.

use super::OWNED;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kabuki_model::{ObjectKey, Resource};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The conditions that the agent alone decides. `PodScheduled` and those of readiness gates belong
/// to others.
const CONDITIONS: &[&str] = &[
    "PodReadyToStartContainers",
    "Initialized",
    "ContainersReady",
    "Ready",
    "PodResizePending",
    "PodResizeInProgress",
];
/// One late write is the case that is known, and a handful of connections may have died.
const MAX_CORRECTIONS: u32 = 8;

pub(super) struct Letter {
    pub key: ObjectKey,
    pub patch: Arc<Value>,
    pub runs: bool,
    pub version: u64,
    pub written: u64,
    /// The revision of the pod with what was written last.
    written_at: u64,
    /// What the API has, when that is newer.
    seen: Option<(u64, Arc<Pod>)>,
    /// How often the same was written again.
    corrections: u32,
    pub waiting: Vec<oneshot::Sender<()>>,
}

impl Letter {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            key: ObjectKey::new(Resource::PODS, namespace, name),
            patch: Arc::new(Value::Null),
            runs: false,
            version: 0,
            written: 0,
            written_at: 0,
            seen: None,
            corrections: 0,
            waiting: Vec::new(),
        }
    }

    /// There is a new status to write.
    pub fn report(&mut self, uid: &str, status: &PodStatus) -> Result<(), serde_json::Error> {
        let mut value = serde_json::to_value(status)?;
        for field in OWNED {
            if value.get(field).is_none() {
                value[*field] = Value::Null;
            }
        }
        self.patch = Arc::new(json!({"metadata": {"uid": uid}, "status": value}));
        self.runs = status.phase.as_deref() == Some("Running");
        self.version += 1;
        self.corrections = 0;
        Ok(())
    }

    /// Has what was reported last written again, if anything was.
    pub fn repeat(&mut self) {
        if self.version > 0 {
            self.version += 1;
            self.corrections = 0;
        }
    }

    /// A version was written, and the pod is then at `revision`; or it was refused, or the pod is
    /// gone.
    pub fn written(&mut self, version: u64, revision: Option<u64>) {
        self.written = self.written.max(version);
        match revision {
            Some(revision) => self.written_at = self.written_at.max(revision),
            // To say again what was refused would not help.
            None => self.corrections = u32::MAX,
        }
        if self.written == self.version {
            for waiting in self.waiting.drain(..) {
                let _ = waiting.send(());
            }
        }
        self.compare();
    }

    /// The API has the pod like this. Says whether there is something to write.
    pub fn seen(&mut self, revision: u64, pod: &Arc<Pod>) -> bool {
        self.seen = Some((revision, pod.clone()));
        self.compare();
        self.written < self.version
    }

    /// Has the last status written again when the API shows another one after it.
    fn compare(&mut self) {
        // What is still to be written overwrites whatever is there.
        if self.written < self.version {
            return;
        }
        let Some((_, pod)) = self.seen.take_if(|(at, _)| *at > self.written_at) else {
            return;
        };
        if !differs(&self.patch["status"], pod.status.as_ref()) {
            return;
        }
        if self.corrections == MAX_CORRECTIONS {
            tracing::warn!(pod.key = %self.key, "somebody else keeps writing the pod's status");
        }
        self.corrections = self.corrections.saturating_add(1);
        if self.corrections <= MAX_CORRECTIONS {
            tracing::info!(pod.key = %self.key, "the pod's status was overwritten, it is written again");
            self.version += 1;
        }
    }
}

/// Whether a status lacks anything of what the agent wrote.
fn differs(wrote: &Value, found: Option<&PodStatus>) -> bool {
    let found = serde_json::to_value(found).unwrap_or_default();
    wrote
        .as_object()
        .into_iter()
        .flatten()
        .any(|(field, wrote)| {
            let found = &found[field];
            match field.as_str() {
                "conditions" => CONDITIONS
                    .iter()
                    .any(|name| condition(wrote, name) != condition(found, name)),
                _ => wrote != found,
            }
        })
}

fn condition<'a>(conditions: &'a Value, name: &str) -> Option<&'a Value> {
    let mut conditions = conditions.as_array()?.iter();
    conditions.find(|c| c["type"] == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(phase: &str, ready: &str, gate: &str) -> PodStatus {
        let value = json!({
            "phase": phase,
            "podIP": "10.0.0.2",
            "conditions": [
                {"type": "Ready", "status": ready},
                {"type": "example.com/gate", "status": gate},
            ],
        });
        serde_json::from_value(value).expect("a status")
    }

    fn pod(status: PodStatus) -> Arc<Pod> {
        Arc::new(Pod {
            status: Some(status),
            ..Pod::default()
        })
    }

    /// A pod that runs, as the agent wrote it at revision 10.
    fn written() -> Letter {
        let mut letter = Letter::new("default", "web");
        letter
            .report("u", &status("Running", "True", "False"))
            .expect("JSON");
        letter.written(1, Some(10));
        letter
    }

    #[test]
    fn what_was_overwritten_is_written_again() {
        let mut letter = written();
        assert!(!letter.seen(10, &pod(status("Running", "True", "False"))));
        assert!(letter.seen(11, &pod(status("Pending", "False", "False"))));
        letter.written(2, Some(12));
        assert!(!letter.seen(12, &pod(status("Running", "True", "False"))));
        let mut without_address = status("Running", "True", "False");
        without_address.pod_ip = None;
        assert!(letter.seen(13, &pod(without_address)));
    }

    #[test]
    fn what_was_there_before_is_no_difference() {
        let mut letter = written();
        assert!(!letter.seen(9, &pod(status("Pending", "False", "False"))));
    }

    #[test]
    fn an_overwriting_that_is_seen_before_the_answer_is_not_forgotten() {
        let mut letter = written();
        letter
            .report("u", &status("Succeeded", "False", "False"))
            .expect("JSON");
        assert!(letter.seen(12, &pod(status("Pending", "False", "False"))));
        letter.written(2, Some(11));
        assert_eq!((letter.written, letter.version), (2, 3));
        // Had the answer been the later one, nothing would be to do.
        let mut letter = written();
        letter
            .report("u", &status("Succeeded", "False", "False"))
            .expect("JSON");
        assert!(letter.seen(11, &pod(status("Pending", "False", "False"))));
        letter.written(2, Some(12));
        assert_eq!((letter.written, letter.version), (2, 2));
    }

    #[test]
    fn what_was_refused_is_not_said_again() {
        let mut letter = written();
        letter
            .report("u", &status("Succeeded", "False", "False"))
            .expect("JSON");
        letter.written(2, None);
        assert!(!letter.seen(11, &pod(status("Running", "True", "False"))));
    }

    #[test]
    fn what_others_own_is_left_to_them() {
        let mut letter = written();
        let mut changed = status("Running", "True", "True");
        changed.nominated_node_name = Some("n2".to_string());
        assert!(!letter.seen(11, &pod(changed)));
    }

    #[test]
    fn two_writers_that_do_not_agree_come_to_rest() {
        let mut letter = written();
        let mut writes = 0;
        for revision in (11..1000).step_by(2) {
            if letter.seen(revision, &pod(status("Failed", "False", "False"))) {
                writes += 1;
                letter.written(letter.version, Some(revision + 1));
            }
        }
        assert_eq!(writes, MAX_CORRECTIONS);
        // A new status begins anew.
        letter
            .report("u", &status("Running", "False", "False"))
            .expect("JSON");
        letter.written(letter.version, Some(1000));
        assert!(letter.seen(1001, &pod(status("Failed", "False", "False"))));
    }
}
