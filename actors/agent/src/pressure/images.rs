//! Collecting images (Kubernetes, "Garbage collection of unused containers and images"): above a
//! high mark of disk usage, the longest unused go until it is below a low mark; and those that
//! nobody used for very long go in any case.

use crate::gate::used_images;
use crate::node::disk;
use crate::services::Services;
use kabuki_runtime::image::Removed;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How often usage is looked at: kubelet's own period.
const EVERY: Duration = Duration::from_secs(300);

/// Remembers when it last looked.
#[derive(Debug, Default)]
pub(super) struct Collector {
    looked: Option<Instant>,
}

impl Collector {
    /// Looks at the disk when that is due, and removes what is too much.
    pub async fn look(&mut self, services: &Services) {
        if self.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        if !services.pods.is_whole() {
            return;
        }
        self.looked = Some(Instant::now());
        let settings = &services.config.image_gc;
        let Some(found) = disk(&services.layout.images()).filter(|d| d.total_bytes > 0) else {
            return;
        };
        let used = found.total_bytes.saturating_sub(found.free_bytes);
        let percent = used.saturating_mul(100) / found.total_bytes;
        if percent >= i64::from(settings.high_percent) {
            let low = found.total_bytes / 100 * i64::from(settings.low_percent);
            let target = u64::try_from(used.saturating_sub(low)).unwrap_or(0);
            tracing::info!(disk.percent = percent, "unused images are removed");
            self.free(services, target).await;
        }
    }

    /// Removes unused images until so many bytes are free. Young ones stay.
    pub async fn free(&mut self, services: &Services, bytes: u64) {
        // Containers that an earlier agent left running are on images that no known pod names.
        if !services.pods.is_whole() {
            return;
        }
        let mut keep = used_images(services);
        let youngest = now_s().saturating_sub(services.config.image_gc.minimum_age.as_secs());
        let store = services.images.store();
        let young = store
            .list()
            .into_iter()
            .filter(|i| i.last_used_s > youngest);
        keep.extend(young.map(|image| image.id));
        report(store.collect_garbage(&keep, bytes).await, &keep);
    }
}

fn now_s() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

fn report<E: std::fmt::Display>(
    outcome: Result<Removed, E>,
    kept: &HashSet<kabuki_runtime::image::Digest>,
) {
    match outcome {
        Ok(removed) if removed.deleted.is_empty() => {}
        Ok(removed) => tracing::info!(
            images.removed = removed.deleted.len(),
            images.kept = kept.len(),
            bytes.freed = removed.freed_bytes,
            "images removed"
        ),
        Err(error) => tracing::warn!(%error, "images not removed"),
    }
}
