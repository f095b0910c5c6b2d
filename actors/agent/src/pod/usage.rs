//! Limits of what is on disk: a pod that fills a volume, or writes more than its containers may
//! (writable layers and logs), is evicted (Kubernetes, "emptyDir configuration example" and "Local
//! ephemeral storage"). Limits of volumes in memory are the kernel's business.

use super::PodMessage;
use crate::services::{PodEntry, Services};
use crate::volume;
use k8s_openapi::api::core::v1::Pod;
use kabuki_lifecycle::Fact;
use kabuki_model::Quantity;
use kabuki_runtime::image::disk_usage;
use ractor::ActorRef;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often usage is looked at; the same as Kubernetes' eviction monitor. No event tells of it.
const INTERVAL: Duration = Duration::from_secs(10);

/// A pod that uses more than it may is not waited for: kubelet's own.
const EVICTION_GRACE_S: i64 = 1;

/// Something on disk that must not grow beyond a limit.
struct Limited {
    what: What,
    paths: Vec<PathBuf>,
    limit: Quantity,
    bytes: u64,
}

enum What {
    Volume(String),
    Container(String),
    Pod,
}

impl What {
    /// Kubelet's words.
    fn exceeds(&self, limit: &Quantity) -> String {
        let limit = limit.to_string();
        match self {
            Self::Volume(name) => {
                format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}.")
            }
            Self::Container(name) => {
                format!("Container {name} exceeded its local ephemeral storage limit {limit:?}.")
            }
            Self::Pod => format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {limit}."
            ),
        }
    }
}

/// Looks after the pod's limited volumes for as long as the set lives. Most pods have none.
pub(super) fn watch(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    life: &ActorRef<PodMessage>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let limited = limited(services, &entry.uid, &entry.pod());
    if !limited.is_empty() {
        let (limited, life) = (Arc::new(limited), life.clone());
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(INTERVAL);
            loop {
                ticks.tick().await;
                let limited = limited.clone();
                let found = tokio::task::spawn_blocking(move || exceeded(&limited)).await;
                if let Ok(Some(message)) = found {
                    let reason = "Evicted".to_string();
                    let _ = life.cast(PodMessage::Fact(Fact::Evicted {
                        reason,
                        message,
                        grace_s: Some(EVICTION_GRACE_S),
                    }));
                    return;
                }
            }
        });
    }
    tasks
}

fn limited(services: &Services, uid: &str, pod: &Pod) -> Vec<Limited> {
    let mut all = volumes(services, uid, pod);
    let Some(entry) = services.pods.get(uid) else {
        return all;
    };
    let (own, logs) = (
        services.layout.pod(uid),
        services.layout.pod_logs().join(entry.log_dir()),
    );
    let mut sum = Quantity::ZERO;
    for container in pod.spec.iter().flat_map(|s| &s.containers) {
        let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
        let limit = limits.and_then(|l| Quantity::try_from(l.get("ephemeral-storage")?).ok());
        let Some((limit, bytes)) = limit.and_then(positive) else {
            continue;
        };
        sum = [sum, limit].into_iter().sum();
        let name = container.name.clone();
        all.push(Limited {
            paths: vec![own.join("containers").join(&name), logs.join(&name)],
            what: What::Container(name),
            limit,
            bytes,
        });
    }
    if let Some((limit, bytes)) = positive(sum) {
        all.push(Limited {
            what: What::Pod,
            paths: vec![own, logs],
            limit,
            bytes,
        });
    }
    all
}

/// A limit that limits, and its bytes.
fn positive(limit: Quantity) -> Option<(Quantity, u64)> {
    let bytes = u64::try_from(limit.value_ceil()).ok();
    bytes.filter(|b| *b > 0).map(|bytes| (limit, bytes))
}

fn volumes(services: &Services, uid: &str, pod: &Pod) -> Vec<Limited> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let limited = volumes.filter_map(|v| {
        let empty = v.empty_dir.as_ref()?;
        if empty.medium.as_deref().is_some_and(|m| !m.is_empty()) {
            return None;
        }
        let limit = Quantity::try_from(empty.size_limit.as_ref()?).ok()?;
        let (limit, bytes) = positive(limit)?;
        let path = volume::place(services, uid, v).ok()?.path;
        Some(Limited {
            what: What::Volume(v.name.clone()),
            paths: vec![path],
            limit,
            bytes,
        })
    });
    limited.collect()
}

/// What to say of the first that is too large. What is not there yet is empty.
fn exceeded(limited: &[Limited]) -> Option<String> {
    let full = |l: &&Limited| {
        let used = l.paths.iter().filter_map(|path| disk_usage(path).ok());
        used.map(|usage| usage.bytes).sum::<u64>() > l.bytes
    };
    limited.iter().find(full).map(|l| l.what.exceeds(&l.limit))
}
