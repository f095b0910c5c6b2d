//! Volumes on disk with a size limit: a pod that fills one beyond it is evicted (Kubernetes,
//! "emptyDir configuration example"). Limits of volumes in memory are the kernel's business.

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

struct Limited {
    name: String,
    path: PathBuf,
    limit: Quantity,
    bytes: u64,
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
                    let _ = life.cast(PodMessage::Fact(Fact::Evicted { reason, message }));
                    return;
                }
            }
        });
    }
    tasks
}

fn limited(services: &Services, uid: &str, pod: &Pod) -> Vec<Limited> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let limited = volumes.filter_map(|v| {
        let empty = v.empty_dir.as_ref()?;
        if empty.medium.as_deref().is_some_and(|m| !m.is_empty()) {
            return None;
        }
        let limit = Quantity::try_from(empty.size_limit.as_ref()?).ok()?;
        let bytes = u64::try_from(limit.value_ceil()).ok().filter(|b| *b > 0)?;
        let path = volume::place(services, uid, v).ok()?.path;
        let name = v.name.clone();
        Some(Limited {
            name,
            path,
            limit,
            bytes,
        })
    });
    limited.collect()
}

/// What to say of the first volume that is too full. One that is not there yet is empty.
fn exceeded(limited: &[Limited]) -> Option<String> {
    let full = |v: &&Limited| disk_usage(&v.path).is_ok_and(|usage| usage.bytes > v.bytes);
    limited.iter().find(full).map(|v| {
        format!(
            "Usage of EmptyDir volume {:?} exceeds the limit {:?}.",
            v.name,
            v.limit.to_string()
        )
    })
}
