//! Downloading one blob to a file, resuming what an earlier attempt left.
//!
//! Bytes go through a bounded channel to a blocking thread that writes and hashes them. The
//! file is called `.partial` until its digest is known to be right. A digest that is wrong
//! after resuming may be the fault of the earlier part (a crash can leave a hole), so such a
//! blob is fetched once more from the start; one that is wrong in one piece is the
//! registry's fault.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::mpsc;

use crate::image::{
    digest::{Digest, Hasher},
    error::{ImageError, Result},
    progress::{Phase, Reporter},
    registry::Session,
    store::{Inner, blocking},
};

/// Attempts in a row that brought no byte.
const MAX_FRUITLESS_ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Chunks between network and disk: about a megabyte.
const CHANNEL_CHUNKS: usize = 64;

/// What an attempt ended with.
enum Attempt {
    Done,
    /// The file had this length when the connection failed.
    Interrupted(u64, ImageError),
}

/// Downloads `digest` and returns the verified file.
pub(crate) async fn download(
    inner: &Inner,
    session: &Session,
    digest: Digest,
    size: u64,
    reporter: &mut Reporter,
) -> Result<PathBuf> {
    let (partial, path) = (inner.layout.partial(&digest), inner.layout.blob(&digest));
    if fs::metadata(&path).is_ok_and(|found| found.len() == size) {
        // Left by an interrupted unpacking, which verifies it again.
        return Ok(path);
    }
    let mut fruitless = 0;
    let mut pause = FIRST_PAUSE;
    loop {
        let before = fs::metadata(&partial).map_or(0, |found| found.len());
        match attempt(session, &partial, digest, size, reporter).await {
            Ok(Attempt::Done) => break,
            Ok(Attempt::Interrupted(length, error)) => {
                fruitless = if length > before { 0 } else { fruitless + 1 };
                if fruitless >= MAX_FRUITLESS_ATTEMPTS {
                    return Err(error);
                }
                tracing::debug!(blob = %digest, length, %error, "download interrupted, resuming");
            }
            Err(error @ ImageError::Corrupt { .. }) => {
                remove(&partial)?;
                if before == 0 {
                    return Err(error);
                }
                continue;
            }
            Err(error @ ImageError::Unreachable { .. }) => {
                fruitless += 1;
                if fruitless >= MAX_FRUITLESS_ATTEMPTS {
                    return Err(error);
                }
            }
            Err(error) => {
                if matches!(error, ImageError::NoSpace { .. }) {
                    // What cannot be finished must not keep the disk full.
                    remove(&partial)?;
                }
                return Err(error);
            }
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    fs::rename(&partial, &path).map_err(|e| ImageError::io("rename to", &path, e))?;
    Ok(path)
}

async fn attempt(
    session: &Session,
    partial: &Path,
    digest: Digest,
    size: u64,
    reporter: &mut Reporter,
) -> Result<Attempt> {
    let file = partial.to_owned();
    let mut sink = blocking("reading a partial download", move || Sink::open(file, size)).await?;
    if sink.length < size || size == 0 {
        let mut stream = session.blob(&digest, sink.length).await?;
        if stream.offset != sink.length {
            sink = blocking("starting over", move || sink.restart()).await?;
        }
        let (sender, receiver) = mpsc::channel(CHANNEL_CHUNKS);
        let mut length = sink.length;
        let writer = tokio::task::spawn_blocking(move || sink.write_all(receiver));
        let mut interruption = None;
        while let Some(chunk) = stream.bytes.next().await {
            let chunk: Bytes = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    interruption = Some(error);
                    break;
                }
            };
            length += chunk.len() as u64;
            if length > size {
                return Err(corrupt(&digest, size, format!("more than {size} bytes")));
            }
            // A closed channel means that writing failed, which the writer tells.
            if sender.send(chunk).await.is_err() {
                break;
            }
            reporter.bytes(Phase::Downloading, length);
        }
        drop(sender);
        sink = match writer.await {
            Ok(sink) => sink?,
            Err(_) => {
                return Err(ImageError::Cancelled {
                    action: "downloading",
                });
            }
        };
        if sink.length < size {
            let error = interruption.unwrap_or_else(|| ImageError::Unreachable {
                registry: session.host().to_owned(),
                detail: format!("it sent {} of {size} bytes of blob {digest}", sink.length),
            });
            return Ok(Attempt::Interrupted(sink.length, error));
        }
    }
    let actual = sink.hasher.finish();
    if actual != digest {
        return Err(corrupt(&digest, size, format!("{actual} of {size} bytes")));
    }
    Ok(Attempt::Done)
}

fn corrupt(digest: &Digest, size: u64, actual: String) -> ImageError {
    ImageError::Corrupt {
        what: format!("blob {digest}"),
        expected: format!("{digest} of {size} bytes"),
        actual,
    }
}

/// A partial file with the hash of what is in it.
struct Sink {
    path: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Sink {
    /// Opens what is there and hashes it. More than `size` bytes cannot be a part of it.
    fn open(path: PathBuf, size: u64) -> Result<Self> {
        let failed = |error: io::Error| ImageError::io("read", &path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(failed)?;
        // A cancelled attempt's thread may still be writing its last chunks.
        flock(&file, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
        let (mut hasher, mut length) = (Hasher::default(), 0);
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            length += read as u64;
        }
        let sink = Self {
            path,
            file,
            hasher,
            length,
        };
        if length > size {
            sink.restart()
        } else {
            Ok(sink)
        }
    }

    fn restart(mut self) -> Result<Self> {
        self.file
            .set_len(0)
            .map_err(|e| ImageError::io("shorten", &self.path, e))?;
        self.hasher = Hasher::default();
        self.length = 0;
        Ok(self)
    }

    fn write_all(mut self, mut chunks: mpsc::Receiver<Bytes>) -> Result<Self> {
        while let Some(chunk) = chunks.blocking_recv() {
            let written = self.file.write_all(&chunk);
            written.map_err(|error| ImageError::io("write", &self.path, error))?;
            self.hasher.update(&chunk);
            self.length += chunk.len() as u64;
        }
        Ok(self)
    }
}

fn remove(path: &Path) -> Result<()> {
    crate::image::layout::remove_all(path)
}
