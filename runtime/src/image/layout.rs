//! Where things are in the store's directory, and how files get there safely.
//!
//! ```text
//! index.json            which images there are (replaced atomically)
//! lock                  held by the one process that uses the store
//! blobs/<hex>           configurations; downloaded layers until they are unpacked
//! blobs/<hex>.partial   a layer that is being downloaded, kept for resuming
//! layers/<hex>/fs       an unpacked layer, by chain id
//! layers/<hex>/layer.json
//! l/<short>             links to layers/<hex>/fs: short names for mount options
//! tmp/                  everything unfinished; emptied when the store is opened
//! ```

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::{
    digest::Digest,
    error::{ImageError, Result},
};

/// Hexadecimal digits in a short layer name: 48 bits, and a collision is noticed.
const SHORT_NAME_LEN: usize = 12;

#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Makes the directories and removes what an earlier process left unfinished.
    pub fn prepare(root: PathBuf) -> Result<Self> {
        let layout = Self { root };
        // Images may hold setuid programs and device nodes: only root may look inside.
        make_directory(&layout.root, 0o700)?;
        for name in ["blobs", "layers", "l", "tmp"] {
            make_directory(&layout.root.join(name), 0o711)?;
        }
        Ok(layout)
    }

    pub fn clean(&self) -> Result<()> {
        let tmp = self.tmp();
        let entries = fs::read_dir(&tmp).map_err(|e| ImageError::io("read", &tmp, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| ImageError::io("read", &tmp, e))?;
            remove_all(&entry.path())?;
        }
        Ok(())
    }

    pub fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub fn partial(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(format!("{}.partial", digest.hex()))
    }

    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub fn layer(&self, chain: &Digest) -> PathBuf {
        self.layers().join(chain.hex())
    }

    pub fn layer_fs(&self, chain: &Digest) -> PathBuf {
        self.layer(chain).join("fs")
    }

    pub fn links(&self) -> PathBuf {
        self.root.join("l")
    }

    pub fn link(&self, chain: &Digest) -> PathBuf {
        let mut name = chain.hex();
        name.truncate(SHORT_NAME_LEN);
        self.links().join(name)
    }

    /// A directory for something unfinished; removed when dropped.
    pub fn scratch(&self) -> Result<TempDir> {
        TempDir::new_in(self.tmp())
            .map_err(|e| ImageError::io("create directory in", self.tmp(), e))
    }

    /// Writes a whole file so that after a crash either the old or the new content is there.
    pub fn write_atomically(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let failed = |error: io::Error| ImageError::io("write", path, error);
        let mut file = tempfile::NamedTempFile::new_in(self.tmp()).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        let parent = path.parent().unwrap_or(&self.root);
        sync_directory(parent)
    }
}

pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| ImageError::io("sync", path, error))
}

/// Removes a file or a tree; nothing there is fine.
pub(crate) fn remove_all(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ImageError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|error| ImageError::io("create directory", path, error))
}
