//! What an earlier agent left running, and the end of what nobody wants any more.

use crate::cpus;
use crate::pod;
use crate::services::Services;
use kabuki_runtime::{ShimClient, ShimEvents};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Pods that run in shims, by uid, with the ids of the shims.
#[derive(Debug, Default)]
pub(crate) struct Adopted {
    pub pods: HashMap<String, String>,
}

/// Looks through the shims. Spares go to their keeper; what dead ones left is removed.
pub(super) async fn find(services: &Arc<Services>) -> Adopted {
    let mut adopted = Adopted::default();
    let known: HashSet<String> = services
        .pods
        .all()
        .iter()
        .filter_map(|entry| entry.shim_id())
        .collect();
    let found = match services.spares.discover().await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "shims of an earlier agent cannot be found");
            return adopted;
        }
    };
    for id in found.cleaned {
        tracing::info!(shim.id = id, "leftovers of a dead shim removed");
    }
    for (id, error) in found.failed {
        tracing::warn!(shim.id = id, %error, "shim does not answer and is ended");
        pod::remove_shim(services, &id).await;
    }
    for shim in found.live {
        if !known.contains(shim.0.id()) {
            sort(services, shim, &mut adopted).await;
        }
    }
    adopted
}

async fn sort(services: &Services, shim: (ShimClient, ShimEvents), adopted: &mut Adopted) {
    let id = shim.0.id().to_string();
    match shim.0.status().await {
        // A pod may have taken it just now.
        Ok(_)
            if services
                .pods
                .all()
                .iter()
                .any(|e| e.shim_id().as_deref() == Some(&*id)) => {}
        Ok(status) if status.pod.is_none() => services.spares.adopt(shim),
        Ok(status) => {
            let uid = status.pod.map(|p| p.uid).unwrap_or_default();
            adopted.pods.insert(uid, id);
        }
        Err(error) => {
            tracing::warn!(shim.id = id, %error, "shim does not answer and is ended");
            pod::remove_shim(services, &id).await;
        }
    }
}

/// Ends pods that the API no longer has, and removes links, files and logs of pods that are
/// neither among them nor `known`.
pub(super) fn end_orphans(
    services: &Arc<Services>,
    orphans: HashMap<String, String>,
    known: HashSet<String>,
) {
    let services = services.clone();
    tokio::spawn(async move {
        for (uid, shim) in orphans {
            tracing::info!(pod.uid = uid, "pod is no longer wanted and is ended");
            pod::remove_shim(&services, &shim).await;
        }
        // A pod that came meanwhile is known by now.
        let mut keep = known;
        keep.extend(services.pods.all().iter().map(|entry| entry.uid.clone()));
        if services.cpus.retain(|uid| keep.contains(uid)) {
            cpus::share(&services);
        }
        if let Err(error) = services.network.sweep(&keep).await {
            tracing::warn!(%error, "links of former pods not removed");
        }
        for uid in names(&services.layout.pods()).chain(names(&services.layout.memory_volumes())) {
            if !keep.contains(&uid) && services.pods.get(&uid).is_none() {
                pod::remove_files(&services, &uid).await;
            }
        }
        for dir in names(&services.layout.pod_logs()) {
            let uid = dir.rsplit('_').next().unwrap_or_default();
            if !keep.contains(uid) && services.pods.get(uid).is_none() {
                pod::remove_logs(&services.layout, &dir);
            }
        }
    });
}

fn names(dir: &std::path::Path) -> impl Iterator<Item = String> + use<> {
    let found: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    found
        .into_iter()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}
