//! Archives for `cp`, made and taken apart on threads of their own.

use crate::cli::failure::{Failure, Outcome, fail};
use anyhow::Context;
use bytes::Bytes;
use kabuki_protocol::node::CHUNK_BYTES;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Packs a file or folder under a name. The chunks end when all is packed.
pub fn pack(from: PathBuf, name: String) -> (mpsc::Receiver<Bytes>, JoinHandle<Outcome>) {
    let (chunks, received) = mpsc::channel(4);
    let packing = tokio::task::spawn_blocking(move || {
        let writer = io::BufWriter::with_capacity(CHUNK_BYTES, Sender(chunks));
        let mut archive = tar::Builder::new(writer);
        archive.follow_symlinks(false);
        let packed = match from.is_dir() {
            true => archive.append_dir_all(&name, &from),
            false => archive.append_path_with_name(&from, &name),
        };
        match packed.and_then(|()| archive.into_inner()?.flush()) {
            // The container's side has ended: what it says matters, not this.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other.with_context(|| format!("cannot pack {}", from.display()))?),
        }
    });
    (received, packing)
}

struct Sender(mpsc::Sender<Bytes>);

impl Write for Sender {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let chunk = &buffer[..buffer.len().min(CHUNK_BYTES)];
        let sent = self.0.blocking_send(Bytes::copy_from_slice(chunk));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes an archive apart while it comes.
pub struct Unpacker {
    chunks: Option<std::sync::mpsc::Sender<Bytes>>,
    unpacking: JoinHandle<Outcome>,
}

impl Unpacker {
    /// What is called `wanted` in the archive becomes `target` (or goes into it, if that is a
    /// folder).
    pub fn begin(wanted: String, target: PathBuf, preserve: bool) -> Self {
        let (chunks, received) = std::sync::mpsc::channel();
        let reader = Receiver {
            received,
            rest: Bytes::new(),
        };
        let unpacking =
            tokio::task::spawn_blocking(move || unpack(reader, &wanted, &target, preserve));
        Self {
            chunks: Some(chunks),
            unpacking,
        }
    }

    /// The next bytes of the archive.
    pub fn send(&mut self, bytes: Bytes) {
        // A side that has failed says why when it is finished.
        if let Some(chunks) = &self.chunks {
            let _ = chunks.send(bytes);
        }
    }

    /// Waits until all is unpacked.
    pub async fn finish(mut self) -> Outcome {
        self.chunks = None;
        self.unpacking
            .await
            .map_err(|_| Failure::new("unpacking was interrupted"))?
    }
}

struct Receiver {
    received: std::sync::mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            match self.received.recv() {
                Ok(bytes) => self.rest = bytes,
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

fn unpack(reader: impl Read, wanted: &str, target: &Path, preserve: bool) -> Outcome {
    let target = match target.is_dir() && wanted != "." {
        true => target.join(wanted),
        false => target.to_path_buf(),
    };
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_permissions(preserve);
    let (mut folders, mut any) = (Vec::new(), false);
    for entry in archive.entries().context("cannot read the archive")? {
        let mut entry = entry.context("cannot read the archive")?;
        any = true;
        let path = entry
            .path()
            .context("the archive holds a path that cannot be read")?;
        let Some(below) = below(&path, wanted) else {
            fail!(
                "the archive holds {}, which is outside of what was asked for",
                path.display()
            );
        };
        let kind = entry.header().entry_type();
        // A link out of a container could lead anything that follows to anywhere here.
        if kind.is_symlink() || kind.is_hard_link() {
            eprintln!("warning: skipping link {}", path.display());
            continue;
        }
        let to = if below.as_os_str().is_empty() {
            target.clone()
        } else {
            target.join(below)
        };
        if kind.is_dir() {
            std::fs::create_dir_all(&to)
                .with_context(|| format!("cannot make {}", to.display()))?;
            folders.push((entry.header().mode().ok(), to));
            continue;
        }
        if let Some(parent) = to.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        entry
            .unpack(&to)
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    if preserve {
        set_modes(&folders);
    }
    match any {
        true => Ok(()),
        false => fail!("{wanted}: nothing was copied; does it exist in the container?"),
    }
}

/// A folder may be without the right to write, so its mode comes last.
fn set_modes(folders: &[(Option<u32>, PathBuf)]) {
    use std::os::unix::fs::PermissionsExt;
    for (mode, path) in folders.iter().rev() {
        if let Some(mode) = mode {
            let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o777));
        }
    }
}

/// The path below `wanted`; `None` when it is not below, or leads up.
fn below(path: &Path, wanted: &str) -> Option<PathBuf> {
    let mut parts = path
        .components()
        .filter(|c| *c != Component::CurDir)
        .peekable();
    if wanted != "." {
        match parts.next()? {
            Component::Normal(first) if first == wanted => {}
            _ => return None,
        }
    }
    let mut below = PathBuf::new();
    for part in parts {
        match part {
            Component::Normal(name) => below.push(name),
            _ => return None,
        }
    }
    Some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_out_of_the_target() {
        let below = |path: &str| below(Path::new(path), "logs");
        assert_eq!(below("logs"), Some(PathBuf::new()));
        assert_eq!(below("./logs/a/b"), Some(PathBuf::from("a/b")));
        assert_eq!(below("logs/../../etc"), None);
        assert_eq!(below("/etc/passwd"), None);
        assert_eq!(below("other"), None);
    }

    #[tokio::test]
    async fn what_is_packed_can_be_unpacked() {
        let dir = tempfile::tempdir().expect("a folder");
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join("deep")).expect("makes");
        std::fs::write(from.join("deep/a"), "text").expect("writes");
        let (mut chunks, packing) = pack(from, "from".to_string());
        let target = dir.path().join("to");
        let mut unpacker = Unpacker::begin("from".to_string(), target.clone(), true);
        while let Some(chunk) = chunks.recv().await {
            unpacker.send(chunk);
        }
        packing.await.expect("joins").expect("packs");
        unpacker.finish().await.expect("unpacks");
        assert_eq!(
            std::fs::read_to_string(target.join("deep/a")).expect("reads"),
            "text"
        );
    }
}
