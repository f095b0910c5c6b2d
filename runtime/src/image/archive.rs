//! Image archives: OCI image layouts and `docker save` files, as tar, tar.gz or tar.zst.
//!
//! An archive is never unpacked: its members are found in one pass and then read in place.
//! What is compressed, or comes as a stream, is first written to a scratch file. Names in
//! the archive are looked up in a table, so they can lead nowhere else.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use tar::EntryType;
use tempfile::TempDir;

mod docker;
mod layout;
mod load;

pub use load::LoadOptions;

use super::{
    compression::decompress,
    digest::Digest,
    error::{ImageError, Result, is_no_space},
    layout::Layout,
    manifest::MAX_DOCUMENT_BYTES,
    tarball::{TarError, TarReader},
    unpack::split,
};

/// Members of an archive: a layer takes one to three.
const MAX_MEMBERS: usize = 100_000;
/// Links from member to member, as old `docker save` files have them.
const MAX_LINKS: usize = 8;

/// Where an archive's bytes are.
#[derive(Clone)]
enum Backing {
    File {
        file: Arc<File>,
        /// The directory of a copy, which goes when the last reader has gone.
        _scratch: Option<Arc<TempDir>>,
    },
    Memory(Bytes),
}

/// A part of an archive.
#[derive(Clone)]
pub(crate) struct Span {
    backing: Backing,
    offset: u64,
    pub length: u64,
}

/// An archive with a table of its members.
pub(crate) struct Archive {
    backing: Backing,
    members: HashMap<Vec<u8>, Found>,
}

enum Found {
    File { offset: u64, length: u64 },
    Link(Vec<u8>),
}

/// One image of an archive.
struct Listed {
    config: Span,
    /// The configuration's digest, if the archive says it.
    id: Option<Digest>,
    /// The manifest's digest, if there is one.
    digest: Option<Digest>,
    /// Lowest first, each with its digest and size if the archive says them.
    layers: Vec<(Span, Option<(Digest, u64)>)>,
    names: Vec<String>,
}

impl Archive {
    /// Opens an archive file. Blocking.
    pub fn open(path: &Path, layout: &Layout) -> Result<Self> {
        let file = File::open(path).map_err(|e| ImageError::io("open", path, e))?;
        if is_plain(&file).map_err(|e| ImageError::io("read", path, e))? {
            return Self::scan(Backing::File {
                file: Arc::new(file),
                _scratch: None,
            });
        }
        Self::copy(file, layout)
    }

    /// Takes an archive that can be read only once. Blocking.
    pub fn copy(source: impl Read + Send, layout: &Layout) -> Result<Self> {
        let scratch = layout.scratch()?;
        let path = scratch.path().join("archive.tar");
        let failed = |error: io::Error| match error.raw_os_error() {
            None => ImageError::bad_archive(error.to_string()),
            Some(_) => ImageError::io("copy archive to", &path, error),
        };
        let mut file = File::create_new(&path).map_err(failed)?;
        let mut plain = decompress(BufReader::new(source)).map_err(failed)?;
        io::copy(&mut plain, &mut file).map_err(failed)?;
        let file = File::open(&path).map_err(failed)?;
        Self::scan(Backing::File {
            file: Arc::new(file),
            _scratch: Some(Arc::new(scratch)),
        })
    }

    /// Takes an archive in memory, for example one that is part of the program. Blocking.
    pub fn memory(bytes: Bytes, layout: &Layout) -> Result<Self> {
        let plain = {
            let mut start = bytes.as_ref();
            is_tar(&mut start)
        };
        match plain {
            true => Self::scan(Backing::Memory(bytes)),
            false => Self::copy(bytes.as_ref(), layout),
        }
    }

    fn scan(backing: Backing) -> Result<Self> {
        let whole = Span {
            backing: backing.clone(),
            offset: 0,
            length: u64::MAX,
        };
        let mut reader = TarReader::new(BufReader::with_capacity(256 << 10, whole.reader()));
        let mut members = HashMap::new();
        while let Some(member) = reader.next().map_err(tar_error)? {
            let found = match member.kind {
                EntryType::Regular | EntryType::Continuous => Found::File {
                    offset: member.offset,
                    length: member.size,
                },
                EntryType::Directory => continue,
                EntryType::Symlink => Found::Link(resolve_link(&member.path, &member.link)?),
                EntryType::Link => Found::Link(name_of(&member.link)?),
                _ => {
                    let path = String::from_utf8_lossy(&member.path).into_owned();
                    return Err(ImageError::bad_archive(format!(
                        "member {path:?} is neither a file nor a link"
                    )));
                }
            };
            members.insert(name_of(&member.path)?, found);
            if members.len() > MAX_MEMBERS {
                let reason = format!("it has more than {MAX_MEMBERS} members");
                return Err(ImageError::bad_archive(reason));
            }
        }
        Ok(Self { backing, members })
    }

    fn find(&self, name: &str) -> Option<Span> {
        let mut name = name.as_bytes();
        for _ in 0..MAX_LINKS {
            match self.members.get(name)? {
                Found::Link(target) => name = target,
                &Found::File { offset, length } => {
                    return Some(Span {
                        backing: self.backing.clone(),
                        offset,
                        length,
                    });
                }
            }
        }
        None
    }

    fn require(&self, name: &str) -> Result<Span> {
        self.find(name)
            .ok_or_else(|| ImageError::bad_archive(format!("member {name:?} is missing")))
    }

    /// The images in it. Blocking.
    fn images(&self) -> Result<Vec<Listed>> {
        let tagged = docker::images(self)?;
        match (layout::images(self)?, tagged) {
            (None, None) => Err(ImageError::bad_archive(
                "it has neither an index.json (OCI) nor a manifest.json (docker save)",
            )),
            (None, Some(images)) => Ok(images),
            (Some(mut images), tagged) => {
                // Newer `docker save` writes both; the names are complete in one only.
                for other in tagged.unwrap_or_default() {
                    let same = |image: &&mut Listed| image.config.is_same(&other.config);
                    if let Some(image) = images.iter_mut().find(same) {
                        for name in other.names {
                            if !image.names.contains(&name) {
                                image.names.push(name);
                            }
                        }
                    }
                }
                Ok(images)
            }
        }
    }
}

impl Span {
    pub fn reader(&self) -> SpanReader {
        SpanReader {
            span: self.clone(),
            position: 0,
        }
    }

    /// The whole content of a small member.
    fn read_small(&self, what: &str) -> Result<Bytes> {
        if self.length > MAX_DOCUMENT_BYTES {
            let reason = format!("{what} is larger than {MAX_DOCUMENT_BYTES} bytes");
            return Err(ImageError::bad_archive(reason));
        }
        let mut bytes = Vec::with_capacity(self.length as usize);
        self.reader()
            .read_to_end(&mut bytes)
            .map_err(|error| ImageError::bad_archive(format!("{what}: {error}")))?;
        Ok(bytes.into())
    }

    fn is_same(&self, other: &Span) -> bool {
        self.offset == other.offset && self.length == other.length
    }
}

/// Reads a part of an archive, independently of others.
pub(crate) struct SpanReader {
    span: Span,
    position: u64,
}

impl Read for SpanReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.span.length - self.position;
        let want = left.min(buffer.len() as u64) as usize;
        let start = self.span.offset.saturating_add(self.position);
        let read = match &self.span.backing {
            Backing::File { file, .. } => file.read_at(&mut buffer[..want], start)?,
            Backing::Memory(bytes) => {
                let rest = usize::try_from(start)
                    .ok()
                    .and_then(|start| bytes.get(start..));
                rest.unwrap_or_default().read(&mut buffer[..want])?
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

/// A member's name without `./` and doubled slashes. One with `..` is refused.
fn name_of(path: &[u8]) -> Result<Vec<u8>> {
    let components = split(path).map_err(|reason| {
        let path = String::from_utf8_lossy(path).into_owned();
        let reason = reason.replace("the layer", "the archive");
        ImageError::bad_archive(format!("member {path:?}: {reason}"))
    })?;
    Ok(components.join(&b'/'))
}

/// The member that a symbolic link leads to.
fn resolve_link(path: &[u8], target: &[u8]) -> Result<Vec<u8>> {
    let outside = || {
        let path = String::from_utf8_lossy(path).into_owned();
        ImageError::bad_archive(format!("member {path:?} links to something outside of it"))
    };
    if target.starts_with(b"/") {
        return Err(outside());
    }
    let name = name_of(path)?;
    let mut components: Vec<&[u8]> = name.split(|&byte| byte == b'/').collect();
    components.pop();
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop().ok_or_else(outside)?;
            }
            component => components.push(component),
        }
    }
    Ok(components.join(&b'/'))
}

fn tar_error(error: TarError) -> ImageError {
    match error {
        TarError::Read(error) if is_no_space(&error) => ImageError::io("read", "archive", error),
        error => ImageError::bad_archive(error.to_string()),
    }
}

fn is_plain(file: &File) -> io::Result<bool> {
    let mut start = [0; 512];
    let read = file.read_at(&mut start, 0)?;
    // Pipes and devices cannot be read twice.
    Ok(file.metadata()?.is_file() && is_tar(&mut &start[..read]))
}

fn is_tar(start: &mut &[u8]) -> bool {
    const COMPRESSED: [&[u8]; 4] = [
        &[0x1f, 0x8b],
        &[0x28, 0xb5, 0x2f, 0xfd],
        &[0xfd, b'7', b'z', b'X'],
        b"BZh",
    ];
    !COMPRESSED.iter().any(|magic| start.starts_with(magic))
}
