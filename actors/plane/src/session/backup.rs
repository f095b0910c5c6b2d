//! A backup: the newest state in the format of the snapshot files, as a stream of parts. The
//! state is a persistent map, so that writes go on meanwhile; nothing is encoded far ahead of what
//! the client takes.

use super::call::{Caller, Gone};
use crate::raft::RaftHandle;
use bytes::Bytes;
use kabuki_model::StatusError;
use kabuki_protocol::session::Reply;
use kabuki_store::Snapshot;
use tokio::sync::mpsc;

/// One part, in bytes, and up to one object more.
const PART_BYTES: usize = 256 << 10;
/// Parts that wait for the client.
const PARTS_AHEAD: usize = 4;

pub(super) async fn backup(caller: &Caller, raft: &RaftHandle) -> Result<(), Gone> {
    if let Err(error) = raft.read_barrier().await {
        return caller.last(Err(error.into())).await;
    }
    let snapshot = raft.snapshot();
    let (parts, mut waiting) = mpsc::channel(PARTS_AHEAD);
    let writing = tokio::task::spawn_blocking(move || cut(&snapshot, &parts));
    while let Some(part) = waiting.recv().await {
        caller.more(Reply::Bytes(part)).await?;
    }
    let end = match writing.await {
        Ok(Ok(())) => Ok(Reply::Bytes(Bytes::new())),
        Ok(Err(why)) => Err(StatusError::internal(format!("the backup failed: {why}"))),
        Err(why) => Err(StatusError::internal(format!("the backup failed: {why}"))),
    };
    caller.last(end).await
}

/// Encodes the state in parts; waits while the client is behind, ends when it is gone.
fn cut(snapshot: &Snapshot, parts: &mpsc::Sender<Bytes>) -> Result<(), String> {
    let gone = "the client is gone";
    let mut part: Vec<u8> = Vec::with_capacity(PART_BYTES);
    for piece in snapshot.encode(&[]) {
        part.extend(piece.map_err(|e| e.to_string())?);
        if part.len() >= PART_BYTES {
            let whole = std::mem::replace(&mut part, Vec::with_capacity(PART_BYTES));
            parts.blocking_send(whole.into()).map_err(|_| gone)?;
        }
    }
    parts.blocking_send(part.into()).map_err(|_| gone.into())
}
