//! One instance of a container: set up, started, signalled, removed.

use super::actor::described;
use super::plan::{self, Ingredients};
use super::sandbox::chain;
use super::{log, sandbox, sources};
use crate::cpus::of_set;
use crate::services::{PodEntry, Services};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kabuki_lifecycle::process::{self, ConfigError};
use kabuki_lifecycle::{Fact, Instance, RunsAs, containers};
use kabuki_runtime::image::{Image, ImageError, Rootfs, resolve_user};
use kabuki_runtime::{ContainerSpec, ShimClient, ShimError};
use std::path::PathBuf;
use std::sync::Arc;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// Why an instance was not set up.
enum Trouble {
    /// The manifest asks for what is not there.
    Config(String),
    /// Something on the node failed.
    Create(String),
    /// The runtime cannot run the program. It finds out here, others at the start.
    Start(String),
}

impl From<ShimError> for Trouble {
    fn from(error: ShimError) -> Self {
        let message = chain(&error);
        match error {
            ShimError::SubPath(_) => Self::Config(message),
            ShimError::Refused(_) => Self::Start(message),
            // Nothing is known of the program when it is the shim that fails.
            _ => Self::Create(message),
        }
    }
}

impl From<ConfigError> for Trouble {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

/// The instance's id within its shim: names have no dots.
pub(crate) fn shim_container(instance: &Instance) -> String {
    format!("{}.{}", instance.container, instance.attempt)
}

/// The instance that [`shim_container`] named.
pub(super) fn instance_of(id: &str) -> Option<Instance> {
    let (container, attempt) = id.rsplit_once('.')?;
    Some(Instance {
        container: container.to_string(),
        attempt: attempt.parse().ok()?,
    })
}

/// What one instance writes, apart from volumes and its log.
pub(super) fn instance_dir(services: &Services, entry: &PodEntry, instance: &Instance) -> PathBuf {
    let pod = services.layout.pod(&entry.uid);
    pod.join("containers")
        .join(&instance.container)
        .join(instance.attempt.to_string())
}

/// Where the message file of an instance is on the node.
pub(super) fn message_file(services: &Services, entry: &PodEntry, instance: &Instance) -> PathBuf {
    instance_dir(services, entry, instance).join("message")
}

/// Sets an instance up to the moment before its program starts.
pub(super) async fn create(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    pod: Arc<Pod>,
    instance: Instance,
    pod_ips: Vec<String>,
) -> Fact {
    match try_create(services, entry, pod, &instance, pod_ips).await {
        Ok(user) => Fact::ContainerCreated {
            instance,
            user: Some(user),
        },
        Err(trouble) => {
            remove(services, entry, &instance).await;
            match trouble {
                Trouble::Config(message) => Fact::ConfigFailed { instance, message },
                Trouble::Create(message) => Fact::CreateFailed { instance, message },
                Trouble::Start(message) => Fact::StartFailed { instance, message },
            }
        }
    }
}

async fn try_create(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    pod: Arc<Pod>,
    instance: &Instance,
    pod_ips: Vec<String>,
) -> Result<RunsAs, Trouble> {
    let spec = pod.spec.as_ref();
    let container = containers::container(&pod, &instance.container);
    let container = container
        .ok_or_else(|| Trouble::Create("it is not in the manifest".to_string()))?
        .1
        .into_owned();
    let pid_of = target(entry, &pod, &instance.container)?;
    let shim = shim_of(entry).map_err(|e| Trouble::Create(chain(&e)))?;
    let sources = sources::fetch(services, &pod, &container).await?;
    let image = find_image(services, entry, &container)?;
    let facts = process::PodFacts {
        pod_ips,
        host_ips: services.host.ips.clone(),
        hostname: match spec {
            Some(spec) => sandbox::kernel_name(services, entry, spec).map_err(Trouble::Create)?,
            None => String::new(),
        },
        node: services.allocatable.clone(),
    };
    let (work, held, which) = (services.clone(), entry.clone(), instance.clone());
    // Reads users from the image and makes directories: all that blocks, in one go.
    let planned = tokio::task::spawn_blocking(move || {
        let choice = process::choose_user(&pod, &container, &image.config.user)?;
        let user = resolve_user(&image.layers, &choice.user).map_err(user_trouble)?;
        let numeric = choice
            .user
            .split(':')
            .next()
            .is_none_or(|u| u.parse::<u32>().is_ok());
        let found = process::Identity {
            uid: user.uid,
            numeric: numeric || choice.user.is_empty(),
        };
        process::check_non_root(&pod, &container.name, &choice, found)?;
        let dir = instance_dir(&work, &held, &which);
        // What a failed attempt left would be in the way.
        sandbox::remove_tree(&dir).map_err(|e| Trouble::Create(chain(&e)))?;
        let root = Rootfs::create(&image, &dir).map_err(|e| Trouble::Create(chain(&e)))?;
        plan::prepare_files(&work, &held, &which).map_err(|e| Trouble::Create(chain(&e)))?;
        let made = Ingredients {
            services: &work,
            entry: &held,
            instance: &which,
            pod: &pod,
            container: &container,
            image: &image,
            facts: &facts,
            sources: &sources,
        };
        Ok::<_, Trouble>(plan::plan(&made, choice, user, root)?)
    });
    let planned = planned
        .await
        .map_err(|e| Trouble::Create(e.to_string()))??;
    for skipped in planned.skipped {
        record_skipped(services, entry, skipped);
    }
    let planned_cpus = planned.spec.resources.cpuset_cpus.clone();
    let user = runs_as(&planned.spec);
    let created = shim
        .create(ContainerSpec {
            pid_of,
            ..planned.spec
        })
        .await?;
    // They may have become others since it was planned.
    let cpus = services.cpus.of(&entry.uid, &instance.container);
    if cpus != planned_cpus
        && let Some(cpus) = cpus
    {
        let updated = shim.update(&shim_container(instance), of_set(cpus)).await;
        updated.map_err(|e| Trouble::Create(chain(&e)))?;
    }
    for warning in created.1 {
        tracing::warn!(
            container.name = described(entry, instance),
            warning,
            "container"
        );
    }
    Ok(user)
}

fn runs_as(spec: &ContainerSpec) -> RunsAs {
    let mut groups = spec.supplemental_gids.clone();
    groups.push(spec.gid);
    groups.sort_unstable();
    groups.dedup();
    RunsAs {
        uid: spec.uid,
        gid: spec.gid,
        groups,
    }
}

/// The instance whose processes an added container is to see.
fn target(entry: &PodEntry, pod: &Pod, name: &str) -> Result<Option<String>, Trouble> {
    let Some(target) = containers::target_of(pod, name) else {
        return Ok(None);
    };
    let state = entry.state();
    let held = state.iter().flat_map(|s| &s.containers);
    let mut running = held.filter(|c| c.name == target && c.is_running());
    match running.next() {
        Some(held) => Ok(Some(shim_container(&Instance {
            container: target,
            attempt: held.attempt.unwrap_or(0),
        }))),
        None => Err(Trouble::Create(format!(
            "unable to find target container {target:?} in the pod"
        ))),
    }
}

fn user_trouble(error: ImageError) -> Trouble {
    match error {
        ImageError::UnknownUser { .. } => Trouble::Config(error.to_string()),
        other => Trouble::Create(chain(&other)),
    }
}

fn record_skipped(services: &Services, entry: &PodEntry, message: String) {
    let about = crate::event::about_pod(&entry.pod());
    let reason = "InvalidEnvironmentVariableNames".to_string();
    services.events.record(crate::event::Note {
        about,
        warning: true,
        reason,
        message,
    });
}

/// The image that the machine was told is there.
fn find_image(
    services: &Services,
    entry: &PodEntry,
    container: &Container,
) -> Result<Arc<Image>, Trouble> {
    let store = services.images.store();
    let state = entry.state();
    let held = state
        .iter()
        .flat_map(|s| &s.containers)
        .find(|c| c.name == container.name);
    let id = held.map(|c| c.image_id.clone()).unwrap_or_default();
    let name = container.image.clone().unwrap_or_default();
    for candidate in [&name, &id] {
        if let Ok(Some(image)) = store.resolve(candidate) {
            return Ok(image);
        }
    }
    Err(Trouble::Create(format!("image {name:?} is not present")))
}

fn shim_of(entry: &PodEntry) -> Result<ShimClient, ShimError> {
    entry
        .shim()
        .ok_or_else(|| ShimError::Gone(entry.uid.clone()))
}

/// Starts the program of an instance that is set up.
pub(super) async fn start(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    instance: Instance,
) -> Fact {
    let started = match shim_of(entry) {
        Ok(shim) => shim.start(&shim_container(&instance)).await,
        Err(error) => Err(error),
    };
    match started {
        Ok(ns) => {
            let at = Timestamp::from_nanosecond(i128::from(ns));
            log::link(services, entry, &instance);
            Fact::ContainerStarted {
                instance,
                at: at.unwrap_or_else(|_| Timestamp::now()),
            }
        }
        Err(error) => Fact::StartFailed {
            instance,
            message: chain(&error),
        },
    }
}

/// Asks an instance to end, or kills all of it.
pub(super) async fn signal(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    instance: &Instance,
    kill: bool,
) {
    let signal = if kill {
        SIGKILL
    } else {
        stop_signal_of(services, entry, instance)
    };
    let sent = match shim_of(entry) {
        Ok(shim) => shim.signal(&shim_container(instance), signal, kill).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        let name = described(entry, instance);
        tracing::warn!(
            container.name = name,
            signal,
            error = chain(&error),
            "not signalled"
        );
    }
}

/// The signal that asks a container to end: the manifest's, the image's, or SIGTERM.
fn stop_signal_of(services: &Services, entry: &PodEntry, instance: &Instance) -> i32 {
    let pod = entry.pod();
    let Some((_, container)) = containers::container(&pod, &instance.container) else {
        return SIGTERM;
    };
    let own = container
        .lifecycle
        .as_ref()
        .and_then(|l| l.stop_signal.clone());
    let of_image = || {
        let image = find_image(services, entry, &container).ok()?;
        Some(image.config.stop_signal.clone())
    };
    own.or_else(of_image)
        .and_then(|name| stop_signal(&name))
        .unwrap_or(SIGTERM)
}

/// A signal by name (with or without `SIG`) or number.
fn stop_signal(name: &str) -> Option<i32> {
    const NAMES: &[(&str, i32)] = &[
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("PIPE", libc::SIGPIPE),
        ("ALRM", libc::SIGALRM),
        ("TERM", libc::SIGTERM),
        ("CONT", libc::SIGCONT),
        ("STOP", libc::SIGSTOP),
        ("TSTP", libc::SIGTSTP),
        ("TTIN", libc::SIGTTIN),
        ("TTOU", libc::SIGTTOU),
        ("WINCH", libc::SIGWINCH),
        ("IO", libc::SIGIO),
        ("PWR", libc::SIGPWR),
    ];
    let plain = name.strip_prefix("SIG").unwrap_or(name);
    if let Some(offset) = plain.strip_prefix("RTMIN+") {
        return offset
            .parse()
            .ok()
            .filter(|n| (0..=30).contains(n))
            .map(|n: i32| 34 + n);
    }
    let by_name = NAMES
        .iter()
        .find(|(held, _)| *held == plain)
        .map(|(_, number)| *number);
    by_name.or_else(|| plain.parse().ok().filter(|n| (1..=64).contains(n)))
}

/// Removes what an instance left on the node; its log stays.
pub(super) async fn remove(services: &Arc<Services>, entry: &Arc<PodEntry>, instance: &Instance) {
    if let Ok(shim) = shim_of(entry)
        && let Err(error) = shim.delete(&shim_container(instance)).await
        && !matches!(error, ShimError::Gone(_))
    {
        let name = described(entry, instance);
        tracing::warn!(container.name = name, error = chain(&error), "not removed");
    }
    let dir = instance_dir(services, entry, instance);
    let removed = tokio::task::spawn_blocking(move || sandbox::remove_tree(&dir)).await;
    if let Err(error) = removed.map_err(std::io::Error::other).flatten() {
        tracing::warn!(container.name = described(entry, instance), %error, "files not removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_found_again_by_its_id() {
        let instance = Instance {
            container: "web-1".to_string(),
            attempt: 12,
        };
        assert_eq!(instance_of(&shim_container(&instance)), Some(instance));
        assert_eq!(instance_of("web"), None);
        assert_eq!(instance_of("web.x"), None);
    }

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(stop_signal("SIGQUIT"), Some(3));
        assert_eq!(stop_signal("USR1"), Some(10));
        assert_eq!(stop_signal("SIGRTMIN+3"), Some(37));
        assert_eq!(stop_signal("9"), Some(9));
        assert_eq!(stop_signal("99"), None);
        assert_eq!(stop_signal(""), None);
    }
}
