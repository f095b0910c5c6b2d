//! Keeps a running pod's volumes up to date: with the objects that they name, with the pod's own
//! labels and annotations, and with new tokens before the old ones end.
//!
//! One task for each pod that has such volumes; it sleeps until something changed. A change that
//! cannot be shown (a key is gone that the volume names) leaves the volume as it was, as kubelet
//! does.

use super::content::{self, Objects};
use super::objects::{Known, Watched};
use super::writer;
use super::{VolumeError, blocking, fs_group, place};
use crate::services::{PodEntry, Services};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use kabuki_lifecycle::volume;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A token that could not be renewed is asked for again after this time.
const TOKEN_RETRY: Duration = Duration::from_secs(10);
/// A reader that was led to the old files a moment ago finds them for this long.
const OLD_FILES_STAY: Duration = Duration::from_secs(2);

type Shown = (
    Option<BTreeMap<String, String>>,
    Option<BTreeMap<String, String>>,
);

/// Keeps the volumes for as long as the set lives. Most pods need one task, many none.
/// `are_there` says that an earlier agent made them.
pub(crate) fn watch(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    are_there: bool,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let pod = entry.pod();
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let volumes: Vec<Volume> = volumes.filter(|v| volume::shows_api(v)).cloned().collect();
    if volumes.is_empty() {
        return tasks;
    }
    let changed = Arc::new(Notify::new());
    let keys = content::keys(&pod);
    let watched: Vec<_> = keys.iter().map(|k| services.objects.follow(k)).collect();
    for object in &watched {
        let (mut known, changed) = (object.subscribe(), changed.clone());
        tasks.spawn(async move {
            while known.changed().await.is_ok() {
                changed.notify_one();
            }
        });
    }
    if volumes.iter().any(volume::shows_pod) {
        let (changed, entry) = (changed.clone(), entry.clone());
        tasks.spawn(async move {
            let (mut changes, mut last) = (entry.changes(), shown(&entry.pod()));
            while changes.changed().await.is_ok() {
                let now = shown(&entry.pod());
                if now != last {
                    last = now;
                    changed.notify_one();
                }
            }
        });
    }
    let live = Live {
        services: services.clone(),
        entry: entry.clone(),
        volumes,
        watched,
    };
    tasks.spawn(async move {
        if are_there {
            live.entry.volumes.open().await;
        }
        live.run(&changed).await;
    });
    tasks
}

fn shown(pod: &Pod) -> Shown {
    let meta = &pod.metadata;
    (meta.labels.clone(), meta.annotations.clone())
}

struct Live {
    services: Arc<Services>,
    entry: Arc<PodEntry>,
    volumes: Vec<Volume>,
    watched: Vec<Arc<Watched>>,
}

impl Live {
    async fn run(&self, changed: &Notify) {
        let mut cleaning = JoinSet::new();
        loop {
            let wait = match self.sync(&mut cleaning).await {
                Ok(wait) => wait,
                Err(error) => {
                    let pod = &self.entry.uid;
                    tracing::warn!(pod.uid = pod, %error, "a volume was not updated");
                    Some(TOKEN_RETRY)
                }
            };
            while cleaning.try_join_next().is_some() {}
            let due = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed.notified() => {}
                () = self.entry.volumes.opened() => {}
                () = due => {}
            }
        }
    }

    /// Brings all volumes up to date, and says when to look again without any change.
    async fn sync(&self, cleaning: &mut JoinSet<()>) -> Result<Option<Duration>, VolumeError> {
        let pod = self.entry.pod();
        let wait = self.renew(&pod).await?;
        let mut kept = self.entry.volumes.lock().await;
        let Some(objects) = self.objects() else {
            return Ok(wait);
        };
        if !kept.is_open || !kept.is_new(&objects) {
            return Ok(wait);
        }
        let contents = content::contents(&objects, &kept.tokens)?;
        let facts = content::facts(&self.services);
        let group = pod.spec.as_ref().and_then(fs_group);
        for volume in &self.volumes {
            let place = place(&self.services, &self.entry.uid, volume)?;
            let files = match volume::files(&pod, &facts, volume, &contents) {
                Ok(files) => files,
                Err(error) => {
                    let (pod, volume) = (&self.entry.uid, &volume.name);
                    tracing::debug!(pod.uid = pod, volume, %error, "a volume stays as it was");
                    continue;
                }
            };
            let update = move || writer::update(&place.path, &files, group);
            for old in blocking(update).await? {
                cleaning.spawn(remove_later(self.entry.clone(), old));
            }
        }
        kept.written(&objects);
        Ok(wait)
    }

    /// The objects as the watches know them; `None` while one of them does not know yet.
    fn objects(&self) -> Option<Objects> {
        let mut all = Objects::default();
        for object in &self.watched {
            match object.known() {
                Known::Nothing => return None,
                Known::Absent => {}
                Known::Present(held) => drop(all.insert(object.key.clone(), held)),
            }
        }
        Some(all)
    }

    /// Asks for the tokens that are due, and says when the next one is.
    async fn renew(&self, pod: &Pod) -> Result<Option<Duration>, VolumeError> {
        let wishes = volume::token_wishes(pod);
        if wishes.is_empty() {
            return Ok(None);
        }
        let now = Timestamp::now();
        let (is_open, held) = {
            let kept = self.entry.volumes.lock().await;
            (kept.is_open, kept.tokens.clone())
        };
        // The first ones are asked for with everything else that the pod needs.
        if !is_open {
            return Ok(None);
        }
        for wish in &wishes {
            if held.get(wish).is_none_or(|h| h.renew_at <= now) {
                let token = content::token(&self.services, &self.entry, pod, wish).await?;
                let mut kept = self.entry.volumes.lock().await;
                kept.tokens.insert(wish.clone(), token);
            }
        }
        let kept = self.entry.volumes.lock().await;
        let next = kept.tokens.values().map(|h| h.renew_at).min();
        let wait = next.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        Ok(wait.map(|w| w.max(Duration::from_secs(1))))
    }
}

/// Removes the files that were replaced, a while after they were.
async fn remove_later(entry: Arc<PodEntry>, old: PathBuf) {
    tokio::time::sleep(OLD_FILES_STAY).await;
    let kept = entry.volumes.lock().await;
    if kept.is_open {
        let removed = blocking(move || writer::remove_old(&old)).await;
        if let Err(error) = removed {
            tracing::warn!(pod.uid = entry.uid, %error, "replaced files of a volume stay");
        }
    }
}
