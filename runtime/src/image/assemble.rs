//! Making all layers of an image present, whether from a registry or from an archive.
//!
//! Each layer is fetched and unpacked on its own; committing waits for the layer below.
//! Who else wants the same layer waits for it and then finds it done. A permit is held only
//! while fetching and unpacking, never while waiting for another layer, so waiting ends.

use std::{
    fs::File,
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::future::try_join_all;
use tokio::sync::watch;

use super::{
    archive::Span,
    digest::Digest,
    error::{ImageError, Result},
    layers::{Expected, StagedLayer},
    layout::remove_all,
    progress::{Phase, ProgressFn, Reporter},
    pull::download,
    registry::SharedSession,
    store::{Inner, blocking},
};

/// One layer to make present.
pub(crate) struct LayerPlan {
    pub diff_id: Digest,
    pub chain: Digest,
    /// The name in reports: the blob's digest if there is one.
    pub label: Digest,
    /// Bytes as transported.
    pub size: u64,
    pub origin: Origin,
}

/// Where a layer's bytes are.
pub(crate) enum Origin {
    Registry(SharedSession),
    /// In an archive; `verify` if `label` and `size` are the blob's.
    Archive {
        span: Span,
        verify: bool,
    },
}

/// Makes all layers present; `layers` are lowest first and pinned by the caller.
pub(crate) async fn assemble(
    inner: &Arc<Inner>,
    layers: Vec<LayerPlan>,
    progress: Option<ProgressFn>,
) -> Result<()> {
    let chains: Vec<Digest> = layers.iter().map(|layer| layer.chain).collect();
    // How many layers from the bottom are committed.
    let (done, _) = watch::channel(0);
    let work = layers.into_iter().enumerate().map(|(position, layer)| {
        let mut reporter = Reporter::new(progress.clone(), layer.label, layer.size);
        let (done, below) = (&done, &chains[..position]);
        async move {
            reporter.phase(Phase::Waiting);
            ensure(inner, layer, below, done, &mut reporter).await?;
            done.send_modify(|count| *count = (*count).max(position + 1));
            Ok(())
        }
    });
    try_join_all(work).await?;
    Ok(())
}

async fn ensure(
    inner: &Arc<Inner>,
    layer: LayerPlan,
    below: &[Digest],
    done: &watch::Sender<usize>,
    reporter: &mut Reporter,
) -> Result<()> {
    let sole_worker = inner.layer_locks.lock(layer.chain).await;
    if inner.layers.get(&layer.chain).is_some() {
        wait_for(done, below.len()).await;
        reporter.phase(Phase::Present);
        return Ok(());
    }
    let staged = fetch(inner, &layer, reporter).await?;
    wait_for(done, below.len()).await;
    let (inner, chain, below) = (inner.clone(), layer.chain, below.to_vec());
    blocking("committing a layer", move || {
        // Moved here: a cancelled pull must not let another one commit the same layer.
        let _sole_worker = sole_worker;
        inner.layers.commit(staged, &chain, &below)
    })
    .await?;
    reporter.phase(Phase::Complete);
    Ok(())
}

async fn wait_for(done: &watch::Sender<usize>, count: usize) {
    let mut done = done.subscribe();
    // Fails only when the sender is gone, which the caller holds.
    let _ = done.wait_for(|committed| *committed >= count).await;
}

async fn fetch(
    inner: &Arc<Inner>,
    layer: &LayerPlan,
    reporter: &mut Reporter,
) -> Result<StagedLayer> {
    match &layer.origin {
        Origin::Archive { span, verify } => {
            let _permit = permit(inner).await?;
            let expected = Expected {
                blob: verify.then_some((layer.label, layer.size)),
                diff_id: layer.diff_id,
            };
            stage(inner, span.reader(), expected, reporter).await
        }
        Origin::Registry(session) => {
            let _sole_download = inner.blob_locks.lock(layer.label).await;
            let _permit = permit(inner).await?;
            reporter.phase(Phase::Downloading);
            let path = download(inner, session, layer.label, layer.size, reporter).await?;
            let expected = Expected {
                blob: Some((layer.label, layer.size)),
                diff_id: layer.diff_id,
            };
            let file = File::open(&path).map_err(|e| ImageError::io("open", &path, e))?;
            let staged = stage(inner, file, expected, reporter).await;
            // Unpacked or unusable: in both cases the blob has done its duty.
            remove_all(&path)?;
            staged
        }
    }
}

async fn permit(inner: &Inner) -> Result<tokio::sync::SemaphorePermit<'_>> {
    let permit = inner.permits.acquire().await;
    permit.map_err(|_| ImageError::Cancelled { action: "pulling" })
}

async fn stage(
    inner: &Arc<Inner>,
    source: impl Read + Send + 'static,
    expected: Expected,
    reporter: &mut Reporter,
) -> Result<StagedLayer> {
    reporter.phase(Phase::Unpacking);
    let cancel = CancelOnDrop::default();
    let (inner, cancelled) = (inner.clone(), cancel.0.clone());
    let source = Counted {
        source,
        reporter: reporter.clone(),
        count: 0,
    };
    let limits = inner.options.limits;
    blocking("unpacking", move || {
        inner.layers.stage(source, &expected, limits, &cancelled)
    })
    .await
}

/// Tells the unpacking thread that nobody waits for it any more.
#[derive(Default)]
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Counted<R> {
    source: R,
    reporter: Reporter,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count += read as u64;
        self.reporter.bytes(Phase::Unpacking, self.count);
        Ok(read)
    }
}
