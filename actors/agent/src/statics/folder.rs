//! The folder of static pods: read as a whole at every change that the kernel tells of.

use crate::manager::ManagerMessage;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kabuki_lifecycle::statics;
use ractor::ActorRef;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;

/// A folder that cannot be watched is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);
/// No manifest is larger.
const MAX_BYTES: u64 = 1 << 20;

/// A folder as it was last read.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    /// The last good version of each file.
    good: BTreeMap<PathBuf, Arc<Pod>>,
    /// What was last told of a file.
    told: BTreeMap<PathBuf, String>,
}

impl Folder {
    /// Reads all files. Names that begin with a dot do not count.
    pub fn read(&mut self, dir: &Path, node: &str) -> io::Result<Vec<Arc<Pod>>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let hidden = path
                .file_name()
                .is_none_or(|n| n.as_encoded_bytes()[0] == b'.');
            if !hidden && path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        self.good.retain(|path, _| files.contains(path));
        self.told.retain(|path, _| files.contains(path));
        for path in files {
            // One that is only being written says nothing yet.
            if std::fs::metadata(&path).is_ok_and(|m| m.len() == 0) {
                continue;
            }
            match read_one(&path, node) {
                Ok(pod) => {
                    self.told.remove(&path);
                    let known = self.good.get(&path);
                    if known.is_none_or(|k| k.metadata.uid != pod.metadata.uid) {
                        self.good.insert(path, Arc::new(pod));
                    }
                }
                Err(why) if self.told.get(&path) == Some(&why) => {}
                Err(why) => {
                    tracing::error!(file = %path.display(), error = why, "no static pod");
                    self.told.insert(path, why);
                }
            }
        }
        // Of two files with a pod of the same name the first counts.
        let mut named: BTreeMap<(Option<String>, Option<String>), Arc<Pod>> = BTreeMap::new();
        for pod in self.good.values() {
            let meta = &pod.metadata;
            let key = (meta.namespace.clone(), meta.name.clone());
            named.entry(key).or_insert_with(|| pod.clone());
        }
        Ok(named.into_values().collect())
    }
}

fn read_one(path: &Path, node: &str) -> Result<Pod, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("it has {size} bytes, more than {MAX_BYTES}"));
    }
    let text = std::fs::read(path).map_err(|e| e.to_string())?;
    let pod = statics::read(&path.to_string_lossy(), &text, node, Timestamp::now());
    pod.map_err(|e| e.to_string())
}

/// Reads the folder at every change, until the manager is gone.
pub(crate) async fn follow(
    dir: PathBuf,
    node: String,
    mut folder: Folder,
    manager: ActorRef<ManagerMessage>,
) {
    loop {
        let error = match watched(&dir) {
            Ok(changes) => {
                match follow_changes(&dir, &node, &mut folder, &manager, changes).await {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        tracing::error!(dir = %dir.display(), %error, "static pods cannot be watched");
        tokio::time::sleep(RETRY).await;
    }
}

fn watched(dir: &Path) -> io::Result<Receiver> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let kinds = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::MOVED_FROM
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(&changes, dir, kinds)?;
    // What the kernel tells is read as from a pipe.
    Receiver::from_owned_fd_unchecked(changes)
}

async fn follow_changes(
    dir: &Path,
    node: &str,
    folder: &mut Folder,
    manager: &ActorRef<ManagerMessage>,
    mut changes: Receiver,
) -> io::Result<()> {
    loop {
        // Also at the beginning: something may have changed before the watch.
        let pods = folder.read(dir, node)?;
        if manager.cast(ManagerMessage::Statics(pods)).is_err() {
            return Ok(());
        }
        changes.readable().await?;
        if drained(&mut changes)? {
            return Err(io::Error::other("the folder is gone"));
        }
    }
}

/// Takes all that the kernel has told. Whether the folder itself is gone.
fn drained(changes: &mut Receiver) -> io::Result<bool> {
    let mut buffer = [0; 8192];
    let mut gone = false;
    loop {
        match changes.try_read(&mut buffer) {
            Ok(0) => return Ok(gone),
            Ok(count) => gone |= buffer.get(..count).is_some_and(tells_of_end),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(gone),
            Err(error) => return Err(error),
        }
    }
}

/// Whether one of the events (`struct inotify_event`) is that the folder is gone.
fn tells_of_end(mut events: &[u8]) -> bool {
    const ENDS: u32 = libc::IN_DELETE_SELF | libc::IN_MOVE_SELF | libc::IN_IGNORED;
    let number = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..at + 4)?;
        Some(u32::from_ne_bytes(field.try_into().ok()?))
    };
    while let (Some(mask), Some(name)) = (number(events, 4), number(events, 12)) {
        if mask & ENDS != 0 {
            return true;
        }
        let next = 16_usize.saturating_add(usize::try_from(name).unwrap_or(usize::MAX));
        events = events.get(next..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pods: &[Arc<Pod>]) -> Vec<String> {
        let names = pods.iter().map(|pod| pod.metadata.name.clone());
        names.flatten().collect()
    }

    #[test]
    fn files_come_change_break_and_go() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str| dir.path().join(name);
        let text = |name: &str, image: &str| {
            format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
                 spec: {{containers: [{{name: c, image: {image}}}]}}\n"
            )
        };
        let mut folder = Folder::default();
        let mut read = || folder.read(dir.path(), "n1").expect("it reads");
        std::fs::write(file("b.yaml"), text("two", "i")).expect("written");
        std::fs::write(file("a.yaml"), text("one", "i")).expect("written");
        std::fs::write(file(".hidden.yaml"), text("three", "i")).expect("written");
        std::fs::write(file("c.yaml"), text("one", "other")).expect("written");
        let first = read();
        assert_eq!(names(&first), ["one-n1", "two-n1"]);
        std::fs::write(file("b.yaml"), "nonsense: [").expect("written");
        let uid = |pods: &[Arc<Pod>]| pods[1].metadata.uid.clone();
        assert_eq!(uid(&read()), uid(&first), "it goes on as it was");
        std::fs::write(file("b.yaml"), text("two", "j")).expect("written");
        assert_ne!(uid(&read()), uid(&first));
        std::fs::remove_file(file("b.yaml")).expect("removed");
        assert_eq!(names(&read()), ["one-n1"]);
    }
}
