//! What an operator does with a directory while no server uses it.

use super::directory::{Directory, WalError, server, write_whole};
use super::log::{Log, write_first};
use super::snapshots;
use crate::raft::Start;
use crate::raft::core::replay;
use kabuki_store::{Position, Snapshot, Store};
use raft::eraftpb::ConfState;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// The server that a directory was made for; `None` when it has no state, or one that does not
/// say (then it is server 1's).
///
/// # Errors
/// The file cannot be read.
pub fn server_id(directory: &Path) -> Result<Option<u64>, WalError> {
    server(directory)
}

/// Writes a state to one file, whole or not at all: a backup, for [`restore`].
///
/// # Errors
/// The file cannot be written.
pub fn backup(file: &Path, snapshot: &Snapshot) -> Result<(), WalError> {
    write_whole(file, |output| {
        for piece in snapshot.encode(&[]) {
            output.write_all(&piece.map_err(std::io::Error::other)?)?;
        }
        Ok(())
    })
}

/// Makes the state of a new cluster, with server `id` as the only voter, from a backup or from
/// any snapshot file of a server's directory. The other servers of the old cluster must not come
/// back: they join as new ones, with empty directories.
///
/// **What is lost**: every write that came after the backup. Revisions begin again where the
/// backup ended, so clients that had seen later ones must list again.
///
/// # Errors
/// [`WalError::NotEmpty`]; the file is damaged or cannot be read; the directory cannot be
/// written. An interrupted restore leaves a directory that counts as empty.
pub fn restore(directory: &Path, file: &Path, id: u64) -> Result<(), WalError> {
    let input = File::open(file).map_err(|e| WalError::io("open", file, e))?;
    // The servers of that time are not those of the new cluster.
    let (snapshot, _) = snapshots::read(file, input)?;
    let (made, fresh) = Directory::open(directory)?;
    if !fresh {
        let path = directory.to_owned();
        return Err(WalError::NotEmpty { path });
    }
    let mut store = Store::from_snapshot(snapshot);
    let at = store.view().position();
    // A log begins after an entry, and an older program's backup may have none.
    store.advance(Position {
        index: at.index.max(1),
        term: at.term.max(1),
    });
    write_first(&made, id, &store.snapshot(), &[id])
}

/// Makes the server of this directory, as server `new_id`, the only voter of a cluster that has
/// lost its majority for good. The other servers must not come back: they join as new ones, with
/// empty directories. Every entry of the log is taken for committed.
///
/// **What may be lost**: a write that was acknowledged after this server was last in touch with
/// the majority. So choose the server whose [`last_index`] is highest (of the highest term).
/// **What may appear**: a write that was never acknowledged, because it reached this server only.
///
/// # Errors
/// The directory has no state, is in use or is damaged. When it was interrupted, do it again:
/// nothing is lost by that.
pub fn force_single_voter(directory: &Path, new_id: u64) -> Result<(), WalError> {
    let (snapshot, term) = newest(directory)?;
    let (made, _) = Directory::open(directory)?;
    let mut store = Store::from_snapshot(snapshot);
    let at = store.view().position();
    // An entry that no other server has: the log that is there ends before it, and is
    // forgotten when the directory is opened.
    store.advance(Position {
        index: at.index + 1,
        term: term + 1,
    });
    let mut conf_state = ConfState::default();
    conf_state.set_voters(vec![new_id]);
    made.set_server(new_id)?;
    snapshots::save(made.root(), &store.snapshot(), &conf_state)?;
    Ok(())
}

/// The last entry of a directory, committed or not: which server has most.
///
/// # Errors
/// The directory has no state, is in use or is damaged.
pub fn last_index(directory: &Path) -> Result<Position, WalError> {
    let (snapshot, _) = newest(directory)?;
    Ok(snapshot.position())
}

/// The state with all entries of the log applied, and the term.
fn newest(directory: &Path) -> Result<(Snapshot, u64), WalError> {
    let id = server_id(directory)?.unwrap_or(1);
    let (log, recovered) = Log::open(directory, id, Start::Reopen)?;
    let term = recovered.hard_state.term;
    let path = directory.to_owned();
    let replayed = replay(recovered.snapshot, &recovered.entries);
    let snapshot = replayed.map_err(|e| WalError::Log {
        what: "apply",
        path,
        message: e.to_string(),
    })?;
    drop(log);
    Ok((snapshot, term))
}
