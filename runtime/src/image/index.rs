//! The index of images: which names lead to which configuration.
//!
//! One small JSON file, replaced atomically. Everything else that is known of an image is in
//! its configuration and manifest, which are blobs whose digests are checked when they are
//! read. A damaged index is an error, never an empty one: names would silently be gone.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    digest::Digest,
    error::{ImageError, Result},
    layout::Layout,
};

const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IndexFile {
    pub version: u32,
    pub images: Vec<IndexEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IndexEntry {
    /// Digest of the configuration.
    pub id: Digest,
    /// `registry/repository:tag`
    pub tags: Vec<String>,
    /// `registry/repository@digest`
    pub digests: Vec<String>,
    /// Seconds since 1970, for collecting what was unused longest.
    pub last_used_s: u64,
}

impl IndexFile {
    /// Reads the index; there is none in a new store.
    pub fn read(path: &Path) -> Result<Self> {
        let damaged = |reason: String| ImageError::DamagedIndex {
            path: path.to_owned(),
            reason,
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self::new(Vec::new()));
            }
            Err(error) => return Err(ImageError::io("read", path, error)),
        };
        let index: Self = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if index.version != VERSION {
            let version = index.version;
            return Err(damaged(format!(
                "its version is {version}, known is {VERSION}"
            )));
        }
        Ok(index)
    }

    pub fn new(images: Vec<IndexEntry>) -> Self {
        Self {
            version: VERSION,
            images,
        }
    }

    pub fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.index();
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| ImageError::io("write", &path, error.into()))?;
        layout.write_atomically(&path, &json)
    }
}
