//! Logs of containers, read from their files (CRI log format). Following waits for the kernel's
//! word that a file changed, or for the container's end; it never polls.

mod follow;
mod format;

use super::{Ends, container, stream};
use crate::pod::log_file;
use crate::services::{PodEntry, Services};
use bytes::Bytes;
use follow::Follower;
use format::Filter;
use kabuki_lifecycle::Instance;
use kabuki_lifecycle::machine::{Image, Life};
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, LogRequest, Outcome};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Opens a log.
pub(super) async fn open(
    services: &Arc<Services>,
    request: LogRequest,
) -> Result<NodeStream, StatusError> {
    let entry = container::pod(services, &request.pod).await?;
    let name = container::only(&entry, &request.container)?;
    let instance = choose(&entry, &name, request.previous)?;
    let path = log_file(services, &entry, &instance);
    let (caller, ends) = stream();
    tokio::spawn(async move {
        let done = serve(&entry, &instance, &path, &request, &ends).await;
        let outcome = match done {
            Ok(()) => Ok(Outcome::Complete),
            Err(error) => Err(StatusError::internal(format!(
                "log {}: {error}",
                path.display()
            ))),
        };
        ends.send(FromNode::Done(outcome)).await;
    });
    Ok(caller)
}

/// Which instance's log is meant.
fn choose(entry: &PodEntry, name: &str, previous: bool) -> Result<Instance, StatusError> {
    let state = entry.state();
    let held = state
        .iter()
        .flat_map(|s| &s.containers)
        .find(|c| c.name == name);
    let newest = held.and_then(|c| c.attempt);
    let attempt = match (newest, previous) {
        (Some(newest), false) => Some(newest),
        (Some(newest), true) => {
            // One that waits for its restart has no present instance: the last is the newest.
            let waits = held.is_some_and(|c| matches!(c.life, Life::Waiting { .. }));
            let last = if waits {
                Some(newest)
            } else {
                newest.checked_sub(1)
            };
            let last = last.ok_or_else(|| {
                StatusError::bad_request(format!(
                    "previous terminated container {name:?} in pod {:?} not found",
                    entry.name
                ))
            })?;
            Some(last)
        }
        (None, _) => None,
    };
    let Some(attempt) = attempt else {
        let reason = match held.map(|c| (&c.image, &c.life)) {
            Some((Image::Failed { .. }, _)) => "trying and failing to pull image",
            Some((_, Life::Waiting { reason, .. })) => reason.as_str(),
            _ => "ContainerCreating",
        };
        return Err(StatusError::new(
            Reason::BadRequest,
            format!(
                "container {name:?} in pod {:?} is waiting to start: {reason}",
                entry.name
            ),
        ));
    };
    Ok(Instance {
        container: name.to_string(),
        attempt,
    })
}

async fn serve(
    entry: &Arc<PodEntry>,
    instance: &Instance,
    path: &Path,
    request: &LogRequest,
    ends: &Ends,
) -> io::Result<()> {
    let mut filter = Filter::new(request);
    // Begun before the first reading, so that nothing falls between.
    let mut follower = match request.follow {
        true => Some(Follower::new(entry, instance, path)?),
        false => None,
    };
    let mut reader = match Reader::open(path.to_path_buf(), request.tail_lines).await {
        // Its file comes with its first line.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        reader => Some(reader?),
    };
    loop {
        let ended = follower.as_ref().is_none_or(Follower::has_ended);
        if reader.is_none() && follower.is_some() {
            reader = Reader::open(path.to_path_buf(), None).await.ok();
        }
        while let Some(current) = reader.as_mut() {
            if !drain(current, &mut filter, ends).await? {
                return Ok(());
            }
            if !current.is_rotated(path) {
                break;
            }
            reader = Reader::open(path.to_path_buf(), None).await.ok();
        }
        match follower.as_mut() {
            // What it wrote before its end has been read after it was known to have ended.
            Some(follower) if !ended => tokio::select! {
                changed = follower.changed() => changed?,
                () = ends.output.closed() => return Ok(()),
            },
            _ => {
                let rest = filter.finish();
                if !rest.is_empty() {
                    ends.send(FromNode::Output(rest.into())).await;
                }
                return Ok(());
            }
        }
    }
}

/// Sends all that there is; `false` when no more is wanted.
async fn drain(reader: &mut Reader, filter: &mut Filter, ends: &Ends) -> io::Result<bool> {
    loop {
        let chunk = reader.read().await?;
        if chunk.is_empty() {
            return Ok(true);
        }
        let mut out = filter.feed(&chunk);
        while !out.is_empty() {
            let rest = out.split_off(out.len().min(CHUNK_BYTES));
            if !ends.send(FromNode::Output(Bytes::from(out))).await {
                return Ok(false);
            }
            out = rest;
        }
        if filter.is_full() {
            return Ok(false);
        }
    }
}

/// A log file, read on a thread that may block.
struct Reader {
    file: Option<File>,
    inode: u64,
}

impl Reader {
    /// Opens at the beginning, or before the last lines.
    async fn open(path: PathBuf, tail: Option<u64>) -> io::Result<Self> {
        let opened = tokio::task::spawn_blocking(move || {
            let mut file = File::open(&path)?;
            if let Some(lines) = tail {
                let start = tail_start(&mut file, lines)?;
                file.seek(SeekFrom::Start(start))?;
            }
            let inode = inode(&file.metadata()?);
            Ok(Self {
                file: Some(file),
                inode,
            })
        });
        opened.await.map_err(io::Error::other)?
    }

    async fn read(&mut self) -> io::Result<Vec<u8>> {
        let Some(mut file) = self.file.take() else {
            return Ok(Vec::new());
        };
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; CHUNK_BYTES];
            let count = file.read(&mut buffer);
            (
                file,
                count.map(|count| {
                    buffer.truncate(count);
                    buffer
                }),
            )
        });
        let (file, chunk) = read.await.map_err(io::Error::other)?;
        self.file = Some(file);
        chunk
    }

    /// Whether another file has taken its place.
    fn is_rotated(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| inode(&found) != self.inode)
    }
}

fn inode(found: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

/// Where the last `lines` lines begin, reading from the end.
fn tail_start(file: &mut File, lines: u64) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(size);
    }
    let mut end = size;
    let mut found = 0;
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        file.seek(SeekFrom::Start(start))?;
        let mut chunk = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.read_exact(&mut chunk)?;
        for (at, byte) in chunk.iter().enumerate().rev() {
            let at = start + at as u64;
            // The newline at the very end belongs to the last line.
            if *byte == b'\n' && at + 1 < size {
                found += 1;
                if found == lines {
                    return Ok(at + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"one\ntwo\nthree\n").expect("written");
        assert_eq!(tail_start(&mut file, 0).expect("found"), 14);
        assert_eq!(tail_start(&mut file, 1).expect("found"), 8);
        assert_eq!(tail_start(&mut file, 2).expect("found"), 4);
        assert_eq!(tail_start(&mut file, 9).expect("found"), 0);
        let long = vec![b'x'; CHUNK_BYTES * 2];
        file.write_all(&long).expect("written");
        assert_eq!(tail_start(&mut file, 1).expect("found"), 14);
    }
}
