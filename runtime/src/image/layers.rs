//! Unpacked layers, by chain id.
//!
//! A layer is staged in `tmp/`, synced, and renamed into `layers/`: what has a name there is
//! whole. Staging needs nothing of the layers below, so layers of one image are staged at the
//! same time; committing does, because a directory that the layer does not describe takes
//! its owner and mode from them. That is why the chain id and not the diff id is the key.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufReader, Read},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{
    compression::decompress,
    digest::{Digest, HashingReader},
    error::{ImageError, Result},
    layout::{Layout, remove_all, sync_directory},
    overlay::LayerView,
    unpack::{self, UnpackLimits},
};

/// What is known of a layer without looking into it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LayerInfo {
    pub diff_id: Digest,
    /// Content of its files.
    pub bytes: u64,
}

pub(crate) struct LayerStore {
    layout: Layout,
    known: Mutex<HashMap<Digest, LayerInfo>>,
}

/// An unpacked layer without a name. Dropping it removes it.
pub(crate) struct StagedLayer {
    directory: TempDir,
    info: LayerInfo,
    implicit: Vec<PathBuf>,
}

/// A layer that nothing can find any more.
pub(crate) struct DetachedLayer {
    directory: TempDir,
    bytes: u64,
}

/// What a layer's bytes must turn out to be.
pub(crate) struct Expected {
    /// Digest and size as transported; None when that was verified before or is unknown.
    pub blob: Option<(Digest, u64)>,
    pub diff_id: Digest,
}

impl LayerStore {
    pub fn open(layout: Layout) -> Result<Self> {
        let directory = layout.layers();
        let mut known = HashMap::new();
        let entries =
            fs::read_dir(&directory).map_err(|e| ImageError::io("read", &directory, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| ImageError::io("read", &directory, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let chain = format!("sha256:{name}").parse::<Digest>().ok();
            match chain.and_then(|chain| Some((chain, read_info(&entry.path())?))) {
                Some((chain, info)) => {
                    known.insert(chain, info);
                }
                None => {
                    tracing::warn!(path = %entry.path().display(), "removing a damaged layer");
                    remove_all(&entry.path())?;
                }
            }
        }
        let store = Self {
            layout,
            known: Mutex::new(known),
        };
        store.relink()?;
        Ok(store)
    }

    pub fn get(&self, chain: &Digest) -> Option<LayerInfo> {
        self.known().get(chain).copied()
    }

    pub fn all(&self) -> Vec<(Digest, LayerInfo)> {
        self.known()
            .iter()
            .map(|(chain, info)| (*chain, *info))
            .collect()
    }

    /// Unpacks a layer under no name. Blocking.
    pub fn stage(
        &self,
        source: impl Read + Send,
        expected: &Expected,
        limits: UnpackLimits,
        cancelled: &AtomicBool,
    ) -> Result<StagedLayer> {
        let name = match &expected.blob {
            Some((digest, _)) => digest.to_string(),
            None => expected.diff_id.to_string(),
        };
        let directory = self.layout.scratch()?;
        let root = directory.path().join("fs");
        fs::create_dir(&root).map_err(|error| ImageError::io("create", &root, error))?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755))
            .map_err(|error| ImageError::io("set mode of", &root, error))?;

        let unreadable = |error: std::io::Error| ImageError::BadLayer {
            layer: name.clone(),
            reason: error.to_string(),
        };
        let mut transported = BufReader::with_capacity(128 << 10, HashingReader::new(source));
        let plain = decompress(&mut transported).map_err(unreadable)?;
        let mut plain = HashingReader::new(plain);
        let unpacked = unpack::unpack(&mut plain, &root, &name, limits, cancelled)?;
        let (diff_id, _) = plain.finish().map_err(unreadable)?;
        if let Some((digest, size)) = expected.blob {
            let (actual, length) = transported.into_inner().finish().map_err(unreadable)?;
            let expected = format!("{digest} of {size} bytes");
            check(&name, &expected, &format!("{actual} of {length} bytes"))?;
        }
        check(&name, &expected.diff_id.to_string(), &diff_id.to_string())?;
        if unpacked.skipped_xattrs > 0 {
            let count = unpacked.skipped_xattrs;
            tracing::warn!(layer = %name, count, "extended attributes were left out");
        }
        let info = LayerInfo {
            diff_id,
            bytes: unpacked.bytes,
        };
        let implicit = unpacked.implicit.into_iter().collect();
        Ok(StagedLayer {
            directory,
            info,
            implicit,
        })
    }

    /// Gives a staged layer its name. `below` are the layers under it, lowest first, all
    /// committed. Blocking.
    pub fn commit(
        &self,
        staged: StagedLayer,
        chain: &Digest,
        below: &[Digest],
    ) -> Result<LayerInfo> {
        let root = staged.directory.path().join("fs");
        if !staged.implicit.is_empty() {
            let below = below
                .iter()
                .rev()
                .map(|chain| self.layout.layer_fs(chain))
                .collect();
            complete_directories(&root, &staged.implicit, &LayerView::new(below)?)?;
        }
        let record = serde_json::to_vec(&staged.info).map_err(|error| ImageError::Io {
            action: "describe",
            path: root.clone(),
            source: error.into(),
        })?;
        let record_path = staged.directory.path().join("layer.json");
        fs::write(&record_path, record).map_err(|e| ImageError::io("write", &record_path, e))?;
        // One call for all files of the layer, instead of one per file.
        File::open(&root)
            .and_then(|directory| Ok(rustix::fs::syncfs(&directory)?))
            .map_err(|error| ImageError::io("sync", &root, error))?;

        let target = self.layout.layer(chain);
        remove_all(&target)?;
        let directory = staged.directory.keep();
        if let Err(error) = fs::rename(&directory, &target) {
            remove_all(&directory)?;
            return Err(ImageError::io("rename to", &target, error));
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(0o711))
            .map_err(|error| ImageError::io("set mode of", &target, error))?;
        sync_directory(&self.layout.layers())?;
        self.link(chain)?;
        self.known().insert(*chain, staged.info);
        Ok(staged.info)
    }

    /// Forgets a layer and takes its name away: a layer that is half deleted must not have
    /// one. Quick; deleting the files is up to the result.
    pub fn detach(&self, chain: &Digest) -> Result<DetachedLayer> {
        let directory = self.layout.scratch()?;
        let path = self.layout.layer(chain);
        let bytes = self.known().remove(chain).map_or(0, |info| info.bytes);
        let link = self.layout.link(chain);
        if fs::read_link(&link).is_ok_and(|target| target == link_target(chain)) {
            remove_all(&link)?;
        }
        match fs::rename(&path, directory.path().join("layer")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ImageError::io("remove", path, error))
            }
            _ => Ok(DetachedLayer { directory, bytes }),
        }
    }

    /// The directory to mount: the short link if it is this layer's.
    pub fn mount_path(&self, chain: &Digest) -> PathBuf {
        let link = self.layout.link(chain);
        match fs::read_link(&link) {
            Ok(target) if target == link_target(chain) => link,
            _ => self.layout.layer_fs(chain),
        }
    }

    fn link(&self, chain: &Digest) -> Result<()> {
        let link = self.layout.link(chain);
        match symlink(link_target(chain), &link) {
            // Taken by this layer before, or by another one: then the long path is used.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(ImageError::io("create link", link, error)),
            Ok(()) => Ok(()),
        }
    }

    /// Makes the short names agree with the layers.
    fn relink(&self) -> Result<()> {
        let links = self.layout.links();
        let entries = fs::read_dir(&links).map_err(|e| ImageError::io("read", &links, e))?;
        for entry in entries {
            let path = entry.map_err(|e| ImageError::io("read", &links, e))?.path();
            if !path.exists() {
                remove_all(&path)?;
            }
        }
        for (chain, _) in self.all() {
            self.link(&chain)?;
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Digest, LayerInfo>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DetachedLayer {
    /// Deletes the files and returns the bytes of their content. Blocking.
    pub fn delete(self) -> Result<u64> {
        let path = self.directory.path().to_owned();
        self.directory
            .close()
            .map_err(|error| ImageError::io("remove", path, error))?;
        Ok(self.bytes)
    }
}

fn link_target(chain: &Digest) -> PathBuf {
    Path::new("../layers").join(chain.hex()).join("fs")
}

fn read_info(directory: &Path) -> Option<LayerInfo> {
    let record = fs::read(directory.join("layer.json")).ok()?;
    let has_files = directory.join("fs").is_dir();
    serde_json::from_slice(&record).ok().filter(|_| has_files)
}

fn check(what: &str, expected: &str, actual: &str) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(ImageError::Corrupt {
        what: format!("layer {what}"),
        expected: expected.to_owned(),
        actual: actual.to_owned(),
    })
}

/// Gives directories that have no entry of their own the looks of those below.
fn complete_directories(root: &Path, implicit: &[PathBuf], below: &LayerView) -> Result<()> {
    let tree = unpack::Tree::open(root)?;
    for path in implicit {
        let Some(found) = below.directory_metadata(path)? else {
            continue;
        };
        let failed = |error: std::io::Error| ImageError::io("complete", root.join(path), error);
        let directory = File::from(tree.directory(path).map_err(failed)?);
        let here = unpack::descriptor_path(&directory);
        chown(&here, Some(found.uid()), Some(found.gid())).map_err(failed)?;
        directory
            .set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777))
            .and_then(|()| directory.set_modified(found.modified()?))
            .map_err(failed)?;
    }
    Ok(())
}
