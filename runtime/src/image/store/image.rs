//! What is known of one image.

use std::path::PathBuf;

use crate::image::{config::ImageConfig, digest::Digest, index::IndexEntry, reference::Reference};

/// An image that is present with all its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Digest of the configuration.
    pub id: Digest,
    /// `registry/repository:tag`
    pub repo_tags: Vec<String>,
    /// `registry/repository@digest`
    pub repo_digests: Vec<String>,
    /// Content of the unpacked files; layers that images share count for each.
    pub size_bytes: u64,
    pub config: ImageConfig,
    /// Directories for overlayfs' `lowerdir`, the top one first.
    pub layers: Vec<PathBuf>,
    /// As in the image's configuration (RFC 3339).
    pub created: Option<String>,
    /// Seconds since 1970.
    pub last_used_s: u64,
    pub(crate) chains: Vec<Digest>,
}

impl Image {
    pub(super) fn is(&self, reference: &Reference) -> bool {
        match (reference.digest(), reference.tagged()) {
            (Some(digest), _) => self.repo_digests.contains(&reference.digested(digest)),
            (None, Some(tagged)) => self.repo_tags.contains(&tagged),
            (None, None) => false,
        }
    }

    pub(super) fn entry(&self) -> IndexEntry {
        IndexEntry {
            id: self.id,
            tags: self.repo_tags.clone(),
            digests: self.repo_digests.clone(),
            last_used_s: self.last_used_s,
        }
    }
}
