//! A task for each probe that is to run.

use super::action::{Action, Around};
use crate::event::{Note, about_pod};
use crate::pod::PodMessage;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kabuki_lifecycle::probe::{ProbeKind, Prober, Wanted};
use kabuki_lifecycle::{Fact, Instance, containers};
use ractor::ActorRef;
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A task that ends when this is dropped.
struct Running(JoinHandle<()>);

impl Running {
    fn new(task: JoinHandle<()>) -> Self {
        Self(task)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The probes of a pod.
#[derive(Default)]
pub(crate) struct Probes {
    running: HashMap<(Instance, ProbeKind), Running>,
}

impl Probes {
    /// Ends and begins tasks so that the wanted probes run. `adopted`: the pod was found running.
    pub fn set(
        &mut self,
        wanted: Vec<Wanted>,
        adopted: bool,
        around: impl Fn(Instance) -> Around,
        life: &ActorRef<PodMessage>,
    ) {
        if wanted.is_empty() && self.running.is_empty() {
            return;
        }
        let is_wanted = |(instance, kind): &(Instance, ProbeKind)| {
            wanted
                .iter()
                .any(|w| w.kind == *kind && w.instance == *instance)
        };
        self.running.retain(|key, _| is_wanted(key));
        for one in wanted {
            let key = (one.instance.clone(), one.kind);
            let around = || around(one.instance.clone());
            self.running.entry(key).or_insert_with(|| {
                let task = work(around(), one.clone(), adopted, life.clone());
                Running::new(tokio::spawn(task))
            });
        }
    }
}

async fn work(around: Around, wanted: Wanted, adopted: bool, life: ActorRef<PodMessage>) {
    let Wanted { kind, probe, .. } = &wanted;
    let name = &wanted.instance.container;
    let pod = around.entry.pod();
    let Some((role, container)) = containers::container(&pod, name) else {
        return;
    };
    let ip = around.entry.state().and_then(|s| s.ips.first().cloned());
    let action = Action::of_probe(probe, &container, &ip.unwrap_or_default());
    let about = ObjectReference {
        field_path: Some(format!("spec.{}{{{name}}}", role.list())),
        ..about_pod(&pod)
    };
    let age = Timestamp::now().duration_since(wanted.since);
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(0);
    let epoch = Instant::now();
    let mut prober = Prober::new(*kind, probe, wanted.held, age_ms, adopted, 0);
    let limit = Duration::from_millis(prober.timeout_ms());
    loop {
        tokio::time::sleep_until(epoch + Duration::from_millis(prober.due_ms())).await;
        let outcome = action.probe(&around, limit).await;
        let now_ms = u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        let took = prober.took(outcome, now_ms);
        if let Some((reason, message)) = took.event {
            around.services.events.record(Note {
                about: about.clone(),
                warning: true,
                reason: reason.to_string(),
                message,
            });
        }
        if let Some(healthy) = took.turned {
            let turned = Fact::ProbeTurned {
                instance: wanted.instance.clone(),
                probe: *kind,
                healthy,
            };
            let _ = life.cast(PodMessage::Fact(turned));
        }
    }
}
