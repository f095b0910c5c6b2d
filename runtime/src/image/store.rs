//! The images of one node.
//!
//! Used by the agent's image actor and by the CLI's `image` verbs through it. All state is
//! behind one short lock and read from memory; files are written on blocking threads.
//! Invariants:
//! - an image is listed only when its configuration and all layers are on disk;
//! - layers that a running pull or load counts on are pinned and not removed;
//! - one process uses a store at a time (`lock`).

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::fs::{FlockOperation, flock};
use tokio::sync::Semaphore;

mod collect;
mod image;
mod keyed;

pub use collect::Removed;
pub(crate) use collect::blocking;
pub use image::Image;
pub(crate) use keyed::KeyedLocks;

use super::{
    config::ConfigFile,
    digest::Digest,
    error::{ImageError, Result},
    index::{IndexEntry, IndexFile},
    layers::LayerStore,
    layout::Layout,
    reference::Reference,
    registry::{Clients, RegistryConfig},
    unpack::UnpackLimits,
};

/// Downloads and unpackings at a time over all images: what containerd and Docker use.
const DEFAULT_CONCURRENT_LAYERS: usize = 3;
/// The fewest digits of an image id that are taken for one.
const MIN_ID_DIGITS: usize = 6;

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    pub limits: UnpackLimits,
    /// Layers that are downloaded and unpacked at the same time.
    pub concurrent_layers: usize,
    pub registries: Vec<RegistryConfig>,
    /// PEM certificates to trust in addition to the machine's.
    pub ca_file: Option<PathBuf>,
}

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct ImageStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub layout: Layout,
    pub layers: LayerStore,
    pub options: StoreOptions,
    pub clients: Clients,
    pub permits: Semaphore,
    /// One worker per layer and per blob; others wait for its result.
    pub layer_locks: KeyedLocks<Digest>,
    pub blob_locks: KeyedLocks<Digest>,
    state: Mutex<State>,
    /// Serialises changes of the index file and of what is removed.
    writing: Mutex<()>,
    _lock: File,
}

#[derive(Default)]
struct State {
    images: BTreeMap<Digest, Arc<Image>>,
    /// Layers in use by running pulls, by chain id, with the number of users.
    pins: HashMap<Digest, usize>,
}

/// Layers that must stay while this lives.
pub(crate) struct Pins {
    store: Arc<Inner>,
    chains: Vec<Digest>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            limits: UnpackLimits::default(),
            concurrent_layers: DEFAULT_CONCURRENT_LAYERS,
            registries: Vec::new(),
            ca_file: None,
        }
    }
}

impl ImageStore {
    /// Opens the store in `directory`, making it if need be. Blocking.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(directory, StoreOptions::default())
    }

    /// Opens the store with options. Blocking.
    ///
    /// # Errors
    /// [`ImageError::DamagedIndex`] if the index cannot be read; nothing is changed then.
    pub fn open_with(directory: impl Into<PathBuf>, options: StoreOptions) -> Result<Self> {
        let layout = Layout::prepare(directory.into())?;
        let lock = lock(&layout)?;
        let index = IndexFile::read(&layout.index())?;
        layout.clean()?;
        let inner = Inner {
            layers: LayerStore::open(layout.clone())?,
            clients: Clients::new(options.ca_file.clone()),
            permits: Semaphore::new(options.concurrent_layers.max(1)),
            layer_locks: KeyedLocks::default(),
            blob_locks: KeyedLocks::default(),
            state: Mutex::default(),
            writing: Mutex::default(),
            layout,
            options,
            _lock: lock,
        };
        for entry in index.images {
            match inner.restore(&entry) {
                Ok(image) => {
                    inner.state().images.insert(image.id, Arc::new(image));
                }
                Err(error) => {
                    let (id, tags) = (entry.id.to_string(), entry.tags.join(" "));
                    tracing::warn!(image.id = id, image.tags = tags, %error, "dropping an incomplete image");
                }
            }
        }
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Finds a present image by reference, by id or by the start of its id.
    ///
    /// # Errors
    /// [`ImageError::InvalidReference`] for what is neither, and [`ImageError::Ambiguous`].
    pub fn resolve(&self, name: &str) -> Result<Option<Arc<Image>>> {
        let state = self.inner.state();
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let reference = Reference::parse(name);
        if let Ok(reference) = &reference
            && let Some(found) = state.images.values().find(|image| image.is(reference))
        {
            return Ok(Some(found.clone()));
        }
        if is_hex && (MIN_ID_DIGITS..=64).contains(&hex.len()) {
            let found: Vec<_> = state
                .images
                .values()
                .filter(|image| image.id.hex().starts_with(hex))
                .collect();
            match found.as_slice() {
                [] => {}
                [image] => return Ok(Some(Arc::clone(image))),
                several => {
                    return Err(ImageError::Ambiguous {
                        name: name.to_owned(),
                        count: several.len(),
                    });
                }
            }
            if hex.len() == 64 {
                return Ok(None);
            }
        }
        reference.map(|_| None)
    }

    /// All images, by id.
    pub fn list(&self) -> Vec<Arc<Image>> {
        self.inner.state().images.values().cloned().collect()
    }

    /// Content of all unpacked layers, each counted once.
    pub fn used_bytes(&self) -> u64 {
        self.inner
            .layers
            .all()
            .iter()
            .map(|(_, info)| info.bytes)
            .sum()
    }

    /// Marks an image as used now, so that garbage collection takes others first. Written to
    /// disk with the next change of the index.
    pub fn touch(&self, id: &Digest) {
        if let Some(image) = self.inner.state().images.get_mut(id) {
            Arc::make_mut(image).last_used_s = now_s();
        }
    }
}

impl Inner {
    pub fn state_images(&self) -> BTreeMap<Digest, Arc<Image>> {
        self.state().images.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `chains` from being removed.
    pub fn pin(self: &Arc<Self>, chains: Vec<Digest>) -> Pins {
        let mut state = self.state();
        for chain in &chains {
            *state.pins.entry(*chain).or_default() += 1;
        }
        drop(state);
        Pins {
            store: self.clone(),
            chains,
        }
    }

    /// Adds a complete image, or names to one that is known; a tag moves from the image that
    /// had it. Its layers are committed and pinned. Blocking.
    pub fn add(
        &self,
        config: &[u8],
        tags: Vec<String>,
        digests: Vec<String>,
    ) -> Result<Arc<Image>> {
        let id = Digest::of(config);
        let mut entry = IndexEntry {
            id,
            tags,
            digests,
            last_used_s: now_s(),
        };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.layout
            .write_atomically(&self.layout.blob(&id), config)?;
        let mut images = self.state_images();
        if let Some(known) = images.get(&id) {
            merge(&mut entry.tags, &known.repo_tags);
            merge(&mut entry.digests, &known.repo_digests);
        }
        let image = Arc::new(self.restore(&entry)?);
        for other in images.values_mut().filter(|other| other.id != id) {
            if other.repo_tags.iter().any(|tag| entry.tags.contains(tag)) {
                Arc::make_mut(other)
                    .repo_tags
                    .retain(|tag| !entry.tags.contains(tag));
            }
        }
        images.insert(id, image.clone());
        self.replace(images)?;
        Ok(image)
    }

    /// Writes the index, then makes the change visible. The caller holds `writing`.
    fn replace(&self, mut images: BTreeMap<Digest, Arc<Image>>) -> Result<()> {
        let mut state = self.state();
        // Marks of use that were set meanwhile.
        for (id, image) in &mut images {
            if let Some(known) = state.images.get(id)
                && known.last_used_s > image.last_used_s
            {
                Arc::make_mut(image).last_used_s = known.last_used_s;
            }
        }
        let entries = images.values().map(|image| image.entry()).collect();
        IndexFile::new(entries).write(&self.layout)?;
        state.images = images;
        Ok(())
    }

    /// Builds an image from its index entry and what is on disk.
    fn restore(&self, entry: &IndexEntry) -> Result<Image> {
        let path = self.layout.blob(&entry.id);
        let bytes = std::fs::read(&path).map_err(|e| ImageError::io("read", &path, e))?;
        let actual = Digest::of(&bytes);
        if actual != entry.id {
            return Err(ImageError::Corrupt {
                what: path.display().to_string(),
                expected: entry.id.to_string(),
                actual: actual.to_string(),
            });
        }
        let config = ConfigFile::parse(&bytes, &entry.id)?;
        let chains = config.chains();
        let mut size_bytes = 0;
        for chain in &chains {
            let info = self
                .layers
                .get(chain)
                .ok_or_else(|| ImageError::BadManifest {
                    what: format!("image {}", entry.id),
                    reason: format!("layer {chain} is missing"),
                })?;
            size_bytes += info.bytes;
        }
        Ok(Image {
            id: entry.id,
            repo_tags: entry.tags.clone(),
            repo_digests: entry.digests.clone(),
            size_bytes,
            layers: chains
                .iter()
                .rev()
                .map(|chain| self.layers.mount_path(chain))
                .collect(),
            config: config.config,
            created: config.created,
            last_used_s: entry.last_used_s,
            chains,
        })
    }

    fn is_idle(&self) -> bool {
        self.state().pins.is_empty()
    }

    /// Removes a layer unless it is pinned. Deciding and taking its name away are one step,
    /// so that whoever pins it afterwards finds it missing and unpacks it again. Blocking.
    fn remove_layer(&self, chain: &Digest) -> Result<u64> {
        let doomed = {
            let state = self.state();
            if state.pins.contains_key(chain) {
                return Ok(0);
            }
            self.layers.detach(chain)?
        };
        doomed.delete()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut state = self.store.state();
        for chain in &self.chains {
            if let Some(users) = state.pins.get_mut(chain) {
                *users -= 1;
                if *users == 0 {
                    state.pins.remove(chain);
                }
            }
        }
    }
}

fn merge(names: &mut Vec<String>, more: &[String]) {
    for name in more {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
}

/// A program that is being started has its parent's open files, this one among them, until it runs:
/// for so long the lock may outlive whoever gave it up.
const LOCK_LIMIT: Duration = Duration::from_millis(500);

fn lock(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    let failed = |error| ImageError::io("lock", &path, error);
    let file = File::create(&path).map_err(failed)?;
    let until = Instant::now() + LOCK_LIMIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let text = "another process uses this image store";
                return Err(failed(std::io::Error::other(text)));
            }
            Err(other) => return Err(failed(other.into())),
        }
    }
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
