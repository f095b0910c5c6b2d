//! Performing the effects of the state machine, each in a task of its own.

use super::actor::{LifeState, PodActor, PodMessage};
use super::{container, hook, resize, sandbox};
use crate::cpus;
use crate::event::{Note, about_pod};
use crate::probe::Around;
use crate::services::{PodEntry, Services};
use crate::volume;
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kabuki_lifecycle::{Effect, Fact, Instance, PodEvent, PodMachine, containers, statics};
use kabuki_model::ObjectKey;
use kabuki_model::request::{DeleteOptions, Request};
use kabuki_model::status::Reason;
use ractor::ActorRef;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// How long to wait before the API is asked again to let a pod go.
const DELETE_RETRY: Duration = Duration::from_millis(500);

impl PodActor {
    pub(super) fn perform(
        &self,
        effect: Effect,
        myself: &ActorRef<PodMessage>,
        state: &mut LifeState,
    ) {
        let (services, entry) = (self.services.clone(), self.entry.clone());
        match effect {
            Effect::PrepareVolumes => {
                let panicked = Fact::VolumesFailed {
                    volume: String::new(),
                    message: INTERNAL.to_string(),
                };
                let work = async move { volume::prepare(&services, &entry).await };
                run(state, myself, panicked, work);
            }
            Effect::PrepareSandbox => {
                let panicked = Fact::SandboxFailed {
                    message: INTERNAL.to_string(),
                };
                let own = myself.clone();
                let Some(pod) = state.machine.as_ref().map(PodMachine::granted) else {
                    return;
                };
                let work = async move { sandbox::prepare(&services, &entry, &pod, &own).await };
                run(state, myself, panicked, work);
            }
            Effect::PullImage {
                container,
                image,
                policy,
            } => {
                let own = myself.clone();
                let panicked = Fact::ImageFailed {
                    container: container.clone(),
                    failure: kabuki_lifecycle::ImageFailure::Pull,
                    message: INTERNAL.to_string(),
                };
                let work = async move {
                    let name = container.clone();
                    let started = move || {
                        let _ = own.cast(PodMessage::Fact(Fact::PullStarted { container: name }));
                    };
                    let pod = entry.pod();
                    match services.images.ensure(&pod, &image, policy, started).await {
                        Ok(e) => Fact::ImageReady {
                            container,
                            image_id: e.image_id,
                            pulled: e.pulled,
                        },
                        Err(e) => Fact::ImageFailed {
                            container,
                            failure: e.failure,
                            message: e.message,
                        },
                    }
                };
                run(state, myself, panicked, work);
            }
            Effect::CreateContainer(instance) => {
                let panicked = Fact::CreateFailed {
                    instance: instance.clone(),
                    message: INTERNAL.to_string(),
                };
                let Some(machine) = &state.machine else {
                    return;
                };
                let (pod, ips) = (machine.granted(), machine.state().ips.clone());
                let work =
                    async move { container::create(&services, &entry, pod, instance, ips).await };
                run(state, myself, panicked, work);
            }
            Effect::StartContainer(instance) => {
                let panicked = Fact::StartFailed {
                    instance: instance.clone(),
                    message: INTERNAL.to_string(),
                };
                let work = async move { container::start(&services, &entry, instance).await };
                run(state, myself, panicked, work);
            }
            Effect::Signal(instance) => {
                state.tasks.spawn(async move {
                    container::signal(&services, &entry, &instance, false).await;
                });
            }
            Effect::Kill(instance) => {
                state.tasks.spawn(async move {
                    container::signal(&services, &entry, &instance, true).await;
                });
            }
            Effect::RunHook {
                instance,
                hook: which,
            } => {
                let around = Around {
                    services,
                    entry,
                    instance,
                };
                hook::begin(around, which, state, myself);
            }
            Effect::RemoveContainer(instance) => {
                state.tasks.spawn(async move {
                    container::remove(&services, &entry, &instance).await;
                });
            }
            Effect::TeardownSandbox { keep_volumes } => {
                let work = async move {
                    sandbox::teardown(&services, &entry, keep_volumes).await;
                    services.room.freed();
                    if !keep_volumes && services.cpus.release(&entry.uid) {
                        cpus::share(&services);
                    }
                    Fact::SandboxGone
                };
                run(state, myself, Fact::SandboxGone, work);
            }
            Effect::Record(event) => self.record(event),
            Effect::WakeAt(at) => {
                let wait = Duration::try_from(at.duration_since(Timestamp::now()));
                // One more millisecond, because the clock that the alarm goes by is another one.
                let wait = wait.unwrap_or_default() + Duration::from_millis(1);
                state
                    .alarm
                    .set(Instant::now() + wait, myself, PodMessage::Woken);
            }
            Effect::StatusChanged => {
                if let Some(machine) = &state.machine {
                    let entry = &self.entry;
                    let (status, pod) = (machine.status(), machine.pod());
                    if statics::is_static(pod) {
                        return services.mirrors.report(&services, pod, status);
                    }
                    services
                        .statuses
                        .report(&entry.uid, &entry.namespace, &entry.name, status);
                }
            }
            Effect::AskForRoom { requests } => services.room.ask(&entry, requests, myself),
            Effect::ApplyResources { containers, whole } => {
                self.resize(containers, whole, myself, state);
            }
            Effect::Finished { delete_from_api } => {
                let manager = self.manager.clone();
                state.tasks.spawn(async move {
                    // What a file makes is not the API's to let go.
                    if delete_from_api && !statics::is_static(&entry.pod()) {
                        services.statuses.flush(&entry.uid).await;
                        delete(&services, &entry).await;
                    }
                    manager.finished(&entry.uid);
                });
            }
        }
    }

    fn resize(
        &self,
        containers: Vec<Instance>,
        whole: bool,
        myself: &ActorRef<PodMessage>,
        state: &mut LifeState,
    ) {
        let Some(machine) = &state.machine else {
            return;
        };
        let held = &machine.state().resize;
        let step = resize::Step {
            had: kabuki_lifecycle::resize::granted(machine.pod(), &held.whole),
            granted: machine.granted(),
            shares: held.granted.clone(),
            containers: containers.clone(),
            whole,
        };
        let panicked = Fact::ResourcesApplied {
            containers,
            whole,
            error: Some(INTERNAL.to_string()),
        };
        let entry = self.entry.clone();
        let work = async move { resize::apply(&entry, step).await };
        run(state, myself, panicked, work);
    }

    fn record(&self, event: PodEvent) {
        let pod = self.entry.pod();
        let path = event.container.map(|name| {
            let role = containers::container(&pod, &name).map(|(role, _)| role);
            format!("spec.{}{{{name}}}", role.unwrap_or_default().list())
        });
        let about = ObjectReference {
            field_path: path,
            ..about_pod(&pod)
        };
        let (warning, reason, message) = (event.warning, event.reason, event.message);
        self.services.events.record(Note {
            about,
            warning,
            reason,
            message,
        });
    }
}

/// What a task that panicked says.
const INTERNAL: &str = "internal error";

/// Runs `work` in a task; its fact, or `panicked`, comes back as a message.
pub(super) fn run(
    state: &mut LifeState,
    myself: &ActorRef<PodMessage>,
    panicked: Fact,
    work: impl Future<Output = Fact> + Send + 'static,
) -> AbortHandle {
    let myself = myself.clone();
    state.tasks.spawn(async move {
        let fact = AssertUnwindSafe(work)
            .catch_unwind()
            .await
            .unwrap_or(panicked);
        let _ = myself.cast(PodMessage::Fact(fact));
    })
}

/// Asks the API to let the pod go, until it has.
async fn delete(services: &Services, entry: &PodEntry) {
    let key = ObjectKey::new(kabuki_model::Resource::PODS, &entry.namespace, &entry.name);
    loop {
        let options = DeleteOptions {
            grace_period_s: Some(0),
            uid: Some(entry.uid.as_str().into()),
            ..DeleteOptions::default()
        };
        let request = Request::Delete {
            key: key.clone(),
            options,
        };
        match services.api.request(request).await {
            Ok(_) => return,
            // Gone already, or there is a successor of the same name.
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::Conflict) => return,
            Err(error) => {
                tracing::debug!(pod.key = %key, %error, "the API does not let the pod go yet");
                tokio::time::sleep(DELETE_RETRY).await;
            }
        }
    }
}
