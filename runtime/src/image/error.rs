//! What can go wrong with images, in words for the person who reads `kubectl describe pod`.

use std::{io, path::PathBuf};

use super::digest::Digest;

/// An image operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    #[error("couldn't parse image name \"{reference}\": {reason}")]
    InvalidReference { reference: String, reason: String },

    #[error("image \"{reference}\" not found: {detail}")]
    NotFound { reference: String, detail: String },

    #[error(
        "pull access denied for \"{reference}\", repository does not exist or may require \
         authorization: {detail}"
    )]
    Unauthorized { reference: String, detail: String },

    #[error("registry {registry} cannot be reached: {detail}")]
    Unreachable { registry: String, detail: String },

    #[error("registry {registry} refused the request: {detail}")]
    Registry { registry: String, detail: String },

    #[error("{what} is corrupt: expected {expected}, got {actual}")]
    Corrupt {
        what: String,
        expected: String,
        actual: String,
    },

    #[error("layer {layer} cannot be unpacked: {reason}")]
    BadLayer { layer: String, reason: String },

    #[error("{what} cannot be used: {reason}")]
    BadManifest { what: String, reason: String },

    #[error("image \"{reference}\" has no variant for {wanted}, only for: {offered}")]
    NoPlatform {
        reference: String,
        wanted: String,
        offered: String,
    },

    #[error("no space left on device while writing {}", path.display())]
    NoSpace { path: PathBuf },

    #[error("image \"{0}\" is not present on this node")]
    NotPresent(String),

    #[error("image \"{name}\" ({id}) is in use by a container")]
    InUse { name: String, id: Digest },

    #[error("image name \"{name}\" is ambiguous: it is the start of {count} image ids")]
    Ambiguous { name: String, count: usize },

    #[error(
        "image index {} is damaged ({reason}); move it away and start again: \
         images will be pulled or loaded anew", path.display()
    )]
    DamagedIndex { path: PathBuf, reason: String },

    #[error("image archive cannot be loaded: {reason}")]
    BadArchive { reason: String },

    #[error("unable to find user \"{user}\": {reason}")]
    UnknownUser { user: String, reason: String },

    #[error("registry credentials cannot be read: {reason}")]
    BadCredentials { reason: String },

    #[error("registry client cannot be set up: {reason}")]
    ClientSetup { reason: String },

    #[error("{action} was cancelled")]
    Cancelled { action: &'static str },

    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

pub type Result<T, E = ImageError> = std::result::Result<T, E>;

impl ImageError {
    /// The reason that a waiting container shows (Kubernetes' kubelet `images` errors).
    pub fn waiting_reason(&self) -> &'static str {
        match self {
            Self::InvalidReference { .. } => "InvalidImageName",
            Self::Unreachable { .. } => "RegistryUnavailable",
            Self::DamagedIndex { .. } | Self::Ambiguous { .. } => "ImageInspectError",
            _ => "ErrImagePull",
        }
    }

    /// Wraps an I/O error; a full disk or quota becomes [`ImageError::NoSpace`].
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if is_no_space(&source) {
            return Self::NoSpace { path };
        }
        Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn bad_archive(reason: impl Into<String>) -> Self {
        Self::BadArchive {
            reason: reason.into(),
        }
    }
}

/// True for a full disk and for an exhausted quota.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}
