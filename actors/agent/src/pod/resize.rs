//! Giving a running pod other resources: the pod's cgroup is widened first, and tightened when
//! its containers keep within the new bounds.

use super::sandbox::{chain, to_resources};
use super::shim_container;
use crate::services::PodEntry;
use k8s_openapi::api::core::v1::Pod;
use kabuki_lifecycle::resize::{Shares, memory_limit};
use kabuki_lifecycle::{Fact, Instance, containers, resources};
use kabuki_runtime::{Resources, ShimClient};
use std::sync::Arc;

/// What is to be applied: the pod as it was last applied, and as it was granted.
pub(super) struct Step {
    pub had: Arc<Pod>,
    pub granted: Arc<Pod>,
    pub shares: Shares,
    pub containers: Vec<Instance>,
    pub whole: bool,
}

/// Applies it, and tells how that went.
pub(super) async fn apply(entry: &PodEntry, step: Step) -> Fact {
    let error = match entry.shim() {
        Some(shim) => try_apply(&shim, &step).await.err(),
        None => Some("the pod's shim is gone".to_string()),
    };
    Fact::ResourcesApplied {
        containers: step.containers,
        whole: step.whole,
        error,
    }
}

async fn try_apply(shim: &ShimClient, step: &Step) -> Result<(), String> {
    check_memory(shim, step).await?;
    let (had, wants) = (of_pod(&step.had), of_pod(&step.granted));
    let update = async |resources: Resources| {
        let done = shim.update_pod(resources).await;
        done.map(drop).map_err(|e| chain(&e))
    };
    if had != wants {
        update(wider(&had, &wants)).await?;
    }
    for instance in &step.containers {
        let Some((_, container)) = containers::container(&step.granted, &instance.container) else {
            continue;
        };
        let limits = to_resources(&resources::container_limits(&container));
        let done = shim.update(&shim_container(instance), limits).await;
        done.map_err(|e| chain(&e))?;
    }
    if had != wants && step.whole {
        update(wants).await?;
    }
    Ok(())
}

/// A limit below what is used would have the kernel kill the container: it is not even tried. Use
/// may still grow in between, so this is the best effort that Kubernetes promises.
async fn check_memory(shim: &ShimClient, step: &Step) -> Result<(), String> {
    let (_, used) = shim.stats().await.map_err(|e| chain(&e))?;
    for instance in &step.containers {
        let limit = step.shares.get(&instance.container).and_then(memory_limit);
        let id = shim_container(instance);
        let stats = used.iter().find(|(held, _)| *held == id);
        let (Some(limit), Some((_, stats))) = (limit, stats) else {
            continue;
        };
        let usage = i64::try_from(stats.memory_usage_bytes).unwrap_or(i64::MAX);
        if limit > 0 && usage > limit {
            return Err(format!(
                "attempting to set the memory limit of container {} ({limit}) below its current \
                 usage ({usage})",
                instance.container
            ));
        }
    }
    Ok(())
}

/// The bounds of the pod's cgroup. What has none says so, because it may have had one.
fn of_pod(pod: &Pod) -> Resources {
    let resources = to_resources(&resources::pod_limits(pod));
    Resources {
        cpu_quota_us: resources.cpu_quota_us.or(Some(-1)),
        memory_limit: resources.memory_limit.or(Some(-1)),
        ..resources
    }
}

/// The bounds that hold both.
fn wider(a: &Resources, b: &Resources) -> Resources {
    let larger = |a: Option<i64>, b: Option<i64>| match (a, b) {
        (Some(a), Some(b)) if a >= 0 && b >= 0 => Some(a.max(b)),
        _ => Some(-1),
    };
    Resources {
        cpu_shares: a.cpu_shares.max(b.cpu_shares),
        cpu_quota_us: larger(a.cpu_quota_us, b.cpu_quota_us),
        cpu_period_us: a.cpu_period_us.or(b.cpu_period_us),
        memory_limit: larger(a.memory_limit, b.memory_limit),
        ..b.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_way_both_bounds_hold() {
        let of = |quota: i64, memory: i64| Resources {
            cpu_quota_us: Some(quota),
            memory_limit: Some(memory),
            ..Resources::default()
        };
        assert_eq!(wider(&of(10, 300), &of(20, 200)), of(20, 300));
        assert_eq!(wider(&of(-1, 300), &of(20, -1)), of(-1, -1));
    }
}
