//! Snapshot files: written whole or not at all, the two newest kept.

use super::directory::{WalError, sync_parent};
use kabuki_store::{Position, Restored, Snapshot, read_snapshot};
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Message};
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

/// Written bytes between syncs: a log sync that happens meanwhile waits for at most this much.
const SYNC_EVERY_BYTES: usize = 1 << 20;

/// How many are kept. The log reaches back to the oldest of them.
const KEPT: usize = 2;

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Saved {
    /// The entry up to which the state is in the file.
    pub(crate) at: Position,
    pub(crate) bytes: u64,
}

pub(crate) fn path(root: &Path, index: u64) -> PathBuf {
    root.join(format!("snapshot-{index:020}"))
}

/// The indexes of the snapshots that are there, oldest first.
pub(crate) fn list(root: &Path) -> Result<Vec<u64>, WalError> {
    let failed = |e| WalError::io("list", root, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let index = name.to_str().and_then(|n| n.strip_prefix("snapshot-"));
        // Anything else with the prefix is a temporary file, or not ours.
        found.extend(index.and_then(|i| i.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes the snapshot's file.
pub(crate) fn save(
    root: &Path,
    snapshot: &Snapshot,
    conf_state: &ConfState,
) -> Result<Saved, WalError> {
    let path = path(root, snapshot.position().index);
    let temporary = path.with_extension("new");
    let extra = conf_state.write_to_bytes().map_err(|e| {
        let message = e.to_string();
        WalError::Log {
            what: "encode the configuration of",
            path: path.clone(),
            message,
        }
    })?;
    let bytes = write(&temporary, snapshot, &extra).inspect_err(|_| {
        // A part of a snapshot is of no use, and room may be what is missing.
        let _ = std::fs::remove_file(&temporary);
    })?;
    std::fs::rename(&temporary, &path).map_err(|e| WalError::io("rename to", &path, e))?;
    sync_parent(&path)?;
    Ok(Saved {
        at: snapshot.position(),
        bytes,
    })
}

fn write(path: &Path, snapshot: &Snapshot, extra: &[u8]) -> Result<u64, WalError> {
    let failed = |e| WalError::io("write", path, e);
    let mut file = File::create(path).map_err(failed)?;
    let (mut total, mut unsynced) = (0, 0);
    for piece in snapshot.encode(extra) {
        let piece = piece.map_err(|e| failed(std::io::Error::other(e)))?;
        file.write_all(&piece).map_err(failed)?;
        total += piece.len() as u64;
        unsynced += piece.len();
        if unsynced >= SYNC_EVERY_BYTES {
            file.sync_data().map_err(failed)?;
            unsynced = 0;
            // Nobody reads it until a restart, and pages that were used just now are the cheapest
            // ones to go on with. Only advice: what comes of it does not matter.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
    file.sync_all().map_err(failed)?;
    Ok(total)
}

/// Reads the state that another server sent, and makes its file durable: it may become one of
/// ours.
pub(crate) fn read_received(path: &Path, message: &Message) -> Result<Snapshot, WalError> {
    let file = File::open(path).map_err(|e| WalError::io("open", path, e))?;
    file.sync_all().map_err(|e| WalError::io("sync", path, e))?;
    let (snapshot, conf_state) = read(path, file)?;
    let metadata = message.get_snapshot().get_metadata();
    let at = snapshot.position();
    if (at.index, at.term) != (metadata.index, metadata.term) {
        let what = format!("it holds entry {}, not {}", at.index, metadata.index);
        return Err(WalError::damaged(path, what));
    }
    if !same_servers(&conf_state, metadata.get_conf_state()) {
        return Err(WalError::damaged(
            path,
            "it names other servers than its sender did",
        ));
    }
    Ok(snapshot)
}

fn same_servers(one: &ConfState, other: &ConfState) -> bool {
    let sorted = |ids: &[u64]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids
    };
    let all = |conf: &ConfState| {
        [
            sorted(&conf.voters),
            sorted(&conf.voters_outgoing),
            sorted(&conf.learners),
            sorted(&conf.learners_next),
        ]
    };
    all(one) == all(other) && one.auto_leave == other.auto_leave
}

/// Makes a file that `read_received` has accepted one of ours.
pub(crate) fn adopt(
    root: &Path,
    file: &Path,
    snapshot: &Snapshot,
    conf_state: &ConfState,
) -> Result<(), WalError> {
    let path = path(root, snapshot.position().index);
    match std::fs::rename(file, &path) {
        Ok(()) => sync_parent(&path),
        // On another file system, or done already: this is repeated after a full disk.
        Err(_) => save(root, snapshot, conf_state).map(|_| ()),
    }
}

/// Removes what is older than the kept ones, and temporary files of an interrupted writer.
/// Returns the index of the oldest that is left.
pub(crate) fn prune(root: &Path) -> Result<u64, WalError> {
    let found = list(root)?;
    let (old, kept) = found.split_at(found.len().saturating_sub(KEPT));
    for index in old {
        let path = path(root, *index);
        std::fs::remove_file(&path).map_err(|e| WalError::io("remove", &path, e))?;
    }
    Ok(kept.first().copied().unwrap_or_default())
}

/// Removes what an interrupted writer left.
pub(crate) fn sweep(root: &Path) -> Result<(), WalError> {
    for entry in std::fs::read_dir(root).map_err(|e| WalError::io("list", root, e))? {
        let path = entry.map_err(|e| WalError::io("list", root, e))?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if name.starts_with("snapshot-") && name.ends_with(".new") {
            std::fs::remove_file(&path).map_err(|e| WalError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// Reads the newest snapshot.
pub(crate) fn load_newest(root: &Path) -> Result<(Snapshot, ConfState), WalError> {
    let found = list(root)?;
    let Some(newest) = found.last().copied() else {
        return Err(WalError::damaged(root, "there is no snapshot file in it"));
    };
    let previous = found.iter().rev().nth(1).copied();
    let path = path(root, newest);
    let refuse = |what: String| WalError::Damaged {
        path: path.clone(),
        what,
        remedy: match previous {
            Some(previous) => format!(
                "move the file away to start from {} and the log, or {}",
                self::path(root, previous).display(),
                super::directory::RESTORE
            ),
            None => super::directory::RESTORE.to_owned(),
        },
    };
    let file = File::open(&path).map_err(|e| WalError::io("open", &path, e))?;
    let (snapshot, conf_state) = read(&path, file).map_err(|e| match e {
        WalError::Damaged { what, .. } => refuse(what),
        other => other,
    })?;
    if snapshot.position().index != newest {
        return Err(refuse(format!(
            "it holds entry {}",
            snapshot.position().index
        )));
    }
    Ok((snapshot, conf_state))
}

/// Reads a snapshot file.
pub(crate) fn read(path: &Path, file: File) -> Result<(Snapshot, ConfState), WalError> {
    let read = read_snapshot(BufReader::with_capacity(1 << 20, file));
    let Restored { snapshot, extra } = read.map_err(|e| match e.problem {
        kabuki_store::Problem::Io(e) => WalError::io("read", path, e),
        _ => WalError::damaged(path, format!("damaged {e}")),
    })?;
    let conf_state = ConfState::parse_from_bytes(&extra)
        .map_err(|e| WalError::damaged(path, format!("its configuration cannot be read: {e}")))?;
    Ok((snapshot, conf_state))
}
