//! Unpacking one layer into a directory, in overlayfs' own notation.
//!
//! The layer is hostile until proven otherwise. Invariants:
//! - nothing outside the directory is created, changed or linked to, whatever the entries say:
//!   every path is resolved by the kernel inside the root (`tree`);
//! - bytes and entries are bounded, and a cancel flag stops the work between two reads;
//! - on an error the caller removes the directory; a half-unpacked layer has no name that
//!   anything looks at.
//!
//! Deletions (OCI image specification, "Whiteouts") become 0:0 character devices, opaque
//! directories get `trusted.overlay.opaque`.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use tar::EntryType;

mod tree;
mod write;

pub(crate) use tree::{OPAQUE_XATTR, Tree, open_descriptor_path as descriptor_path};

use super::{
    compression::decompress,
    error::{ImageError, Result},
    tarball::{Member, TarError, TarReader},
};

/// What one layer may cost.
#[derive(Debug, Clone, Copy)]
pub struct UnpackLimits {
    /// Bytes of the uncompressed archive.
    pub max_bytes: u64,
    /// Files, directories, links and deletions.
    pub max_entries: u64,
}

/// What came out of a layer.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// Content of regular files.
    pub bytes: u64,
    /// Directories that entries are in, but that have no entry themselves. What they look
    /// like is known only from the layers below.
    pub implicit: BTreeSet<PathBuf>,
    /// Extended attributes that are not for containers or that the disk cannot hold.
    pub skipped_xattrs: u64,
}

struct Unpacker<'a> {
    layer: &'a str,
    tree: Tree,
    limits: UnpackLimits,
    entries: u64,
    directory_times: Vec<(PathBuf, write::Mtime)>,
    result: Unpacked,
    buffer: Vec<u8>,
}

/// Passes bytes on until there are too many or nobody waits for them any more.
struct Guard<'a, R> {
    inner: R,
    left: u64,
    cancelled: &'a AtomicBool,
}

#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("it is larger than allowed when uncompressed")]
    TooLarge,
    #[error("cancelled")]
    Cancelled,
}

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
const COPY_BUFFER_BYTES: usize = 256 << 10;

impl Default for UnpackLimits {
    /// Far above any image in use, far below what ends a node: the largest public machine
    /// learning images have layers of some 20 GB, distributions some 100,000 files.
    fn default() -> Self {
        Self {
            max_bytes: 64 << 30,
            max_entries: 4_000_000,
        }
    }
}

/// Unpacks the uncompressed archive `source` into the empty directory `root` and reads
/// `source` to its end. `layer` names the layer in errors.
pub(crate) fn unpack<R: Read>(
    source: R,
    root: &Path,
    layer: &str,
    limits: UnpackLimits,
    cancelled: &AtomicBool,
) -> Result<Unpacked> {
    let mut unpacker = Unpacker {
        layer,
        tree: Tree::open(root)?,
        limits,
        entries: 0,
        directory_times: Vec::new(),
        result: Unpacked::default(),
        buffer: vec![0; COPY_BUFFER_BYTES],
    };
    let mut reader = TarReader::new(Guard {
        inner: source,
        left: limits.max_bytes,
        cancelled,
    });
    while let Some(member) = reader.next().map_err(|error| unpacker.tar_error(error))? {
        unpacker.entry(&member, &mut reader)?;
    }
    let mut rest = reader.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(|error| unpacker.tar_error(error.into()))?;
    unpacker.finish_directories()?;
    Ok(unpacker.result)
}

/// Unpacks one layer, compressed or not, into the empty directory `root`, as the image store does
/// for each layer that it stages. Returns the bytes that its files have. It gives no name to what
/// comes out and knows no digest: it is there for tools and for those who attack it.
///
/// # Errors
/// [`ImageError::BadLayer`] when the layer is at fault, [`ImageError::Cancelled`], and what the
/// disk has to say. The directory is then to be removed.
pub fn unpack_layer(
    layer: impl BufRead + Send,
    root: &Path,
    name: &str,
    limits: UnpackLimits,
    cancelled: &AtomicBool,
) -> Result<u64> {
    let plain = decompress(layer).map_err(|error| ImageError::BadLayer {
        layer: name.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(unpack(plain, root, name, limits, cancelled)?.bytes)
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, member: &Member, reader: &mut TarReader<R>) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.max_entries {
            let limit = self.limits.max_entries;
            return Err(self.bad(format!("it has more than {limit} entries")));
        }
        let components = split(&member.path).map_err(|reason| self.bad_entry(member, &reason))?;
        let Some((name, parents)) = components.split_last() else {
            return match member.kind {
                EntryType::Directory => self.root_directory(member),
                _ => Err(self.bad_entry(member, "only a directory can be the root")),
            };
        };
        if *name == OPAQUE_MARKER {
            return self.opaque(member, parents);
        }
        if name.starts_with(WHITEOUT_META_PREFIX) {
            // Bookkeeping of aufs, without meaning for anything else.
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
            return match hidden {
                b"" | b"." | b".." => Err(self.bad_entry(member, "its deletion names nothing")),
                hidden => self.whiteout(member, parents, hidden),
            };
        }
        self.create(member, parents, name, reader)
    }

    fn bad(&self, reason: impl Into<String>) -> ImageError {
        ImageError::BadLayer {
            layer: self.layer.to_owned(),
            reason: reason.into(),
        }
    }

    fn bad_entry(&self, member: &Member, reason: &str) -> ImageError {
        let path = String::from_utf8_lossy(&member.path);
        let path: String = path.chars().take(200).collect();
        self.bad(format!("entry {path:?}: {reason}"))
    }

    /// An error of creating something: by the entry's fault, the disk's or the machine's.
    fn write_error(&self, member: &Member, error: io::Error) -> ImageError {
        let reason = match error.raw_os_error() {
            Some(libc::ENAMETOOLONG) => "its name is too long",
            Some(libc::ELOOP) => "its parent is a chain of links without end",
            Some(libc::ENOTDIR) => "its parent is not a directory",
            Some(libc::EEXIST) => "its parent is a link to nothing",
            Some(libc::ENOENT) => "what it refers to is not in the layer",
            Some(libc::EINVAL) => "its name or attributes are invalid",
            Some(libc::EXDEV) => "it refers to something outside of the layer",
            Some(libc::EMLINK) => "it has too many hard links",
            _ => {
                let path = self.tree.path().join(lossy_path(&member.path));
                return ImageError::io("unpack", path, error);
            }
        };
        self.bad_entry(member, reason)
    }

    fn tar_error(&self, error: TarError) -> ImageError {
        let error = match error {
            TarError::Malformed(reason) => return self.bad(reason),
            TarError::Read(error) => error,
        };
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Stop>())
        {
            Some(Stop::Cancelled) => {
                return ImageError::Cancelled {
                    action: "unpacking",
                };
            }
            Some(stop @ Stop::TooLarge) => {
                return self.bad(format!("{stop} ({} bytes)", self.limits.max_bytes));
            }
            None => {}
        }
        match error.raw_os_error() {
            Some(_) => ImageError::io("read layer for", self.tree.path(), error),
            None if error.kind() == io::ErrorKind::UnexpectedEof => self.bad("it is truncated"),
            None => self.bad(error.to_string()),
        }
    }
}

impl<R: Read> Read for Guard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other(Stop::Cancelled));
        }
        let read = self.inner.read(buffer)?;
        self.left = match self.left.checked_sub(read as u64) {
            Some(left) => left,
            None => return Err(io::Error::other(Stop::TooLarge)),
        };
        Ok(read)
    }
}

/// The path's components; leading slashes and `.` mean nothing, `..` is never meant well.
pub(crate) fn split(path: &[u8]) -> Result<Vec<&[u8]>, String> {
    if path.contains(&0) {
        return Err("its name contains a NUL byte".into());
    }
    let mut components = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err("it points outside of the layer with \"..\"".into()),
            component => components.push(component),
        }
    }
    Ok(components)
}

fn lossy_path(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path).into_owned();
    text.trim_start_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
