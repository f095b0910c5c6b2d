//! A task for each probe that is to run, all of them on one thread.

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
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The thread that a node's probes run on. Those that are due on the same beat come one after the
/// other, where a pool of threads would wake each other for every one of them. Ends when dropped.
pub(crate) struct ProbeThread {
    handle: Handle,
    /// The clock of all probes begins here.
    epoch: Instant,
    _end: oneshot::Sender<()>,
}

impl ProbeThread {
    /// Starts it in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The operating system refuses another thread.
    pub fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (handle, epoch) = (runtime.handle().clone(), Instant::now());
        let (_end, ended) = oneshot::channel();
        let run = move || {
            // Nothing is ever sent: the other side goes.
            let _ = runtime.block_on(ended);
        };
        std::thread::Builder::new()
            .name("probes".to_string())
            .spawn(run)?;
        Ok(Self {
            handle,
            epoch,
            _end,
        })
    }
}

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
        thread: &ProbeThread,
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
                let epoch = thread.epoch;
                let task = work(around(), one.clone(), adopted, life.clone(), epoch);
                Running::new(thread.handle.spawn(task))
            });
        }
    }
}

async fn work(
    around: Around,
    wanted: Wanted,
    adopted: bool,
    life: ActorRef<PodMessage>,
    epoch: Instant,
) {
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
    let since_epoch = || u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut prober = Prober::new(*kind, probe, wanted.held, age_ms, adopted, since_epoch());
    let limit = Duration::from_millis(prober.timeout_ms());
    loop {
        tokio::time::sleep_until(epoch + Duration::from_millis(prober.due_ms())).await;
        let outcome = action.probe(&around, limit).await;
        let took = prober.took(outcome, since_epoch());
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
