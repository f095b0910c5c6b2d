//! Snapshots on their way to other servers: a connection of their own for each, so that messages
//! pass by.
//!
//! ```text
//! sender                         receiver
//!   Head (message, bytes) ─────────>
//!   the file's bytes ──────────────>   a file of its own
//!   <────────────────────── received   and then Raft, who checks it
//! ```

use super::StateDirectory;
use super::transport::SendSnapshot;
use crate::raft::{RaftHandle, SnapshotSource};
use bytes::Bytes;
use kabuki_cluster::dialer::Expected;
use kabuki_cluster::seams::{Directory as _, Door, Visitor};
use kabuki_cluster::{Credentials, Dialer};
use kabuki_protocol::cluster::SNAPSHOT_ALPN;
use kabuki_protocol::frame;
use protobuf::Message as _;
use raft::eraftpb::Message;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// One step of a transfer, in bytes.
const STEP_BYTES: usize = 256 << 10;
/// A transfer in which nothing moves for so long has failed.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// How many snapshots a server takes in at once: one leader sends one.
const MAX_INCOMING: usize = 2;

/// What comes first.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Raft's message, in protobuf.
    message: Bytes,
    /// How many bytes follow.
    bytes: u64,
}

/// Sends snapshots.
pub struct SnapshotSender {
    dialer: Dialer,
    directory: StateDirectory,
    raft: RaftHandle,
}

impl SnapshotSender {
    /// The way out for snapshots.
    pub fn new(credentials: Credentials, directory: StateDirectory, raft: RaftHandle) -> Self {
        Self {
            dialer: Dialer::new(credentials),
            directory,
            raft,
        }
    }
}

impl SendSnapshot for SnapshotSender {
    fn send_snapshot(&self, name: String, message: Message, source: SnapshotSource) {
        let (dialer, raft) = (self.dialer.clone(), self.raft.clone());
        let address = self.directory.address(&name);
        tokio::spawn(async move {
            let to = message.to;
            let sent = match address {
                Some(address) => send(&dialer, &name, &address, &message, source).await,
                None => Err(io::Error::other("its address is not known")),
            };
            match &sent {
                Ok(bytes) => tracing::info!(server = name, bytes, "a snapshot was sent"),
                Err(error) => {
                    tracing::warn!(server = name, error = %error, "a snapshot was not sent");
                }
            }
            // Should Raft be down, it has forgotten the transfer.
            let _ = raft.snapshot_sent(to, sent.is_ok());
        });
    }
}

async fn send(
    dialer: &Dialer,
    name: &str,
    address: &str,
    message: &Message,
    source: SnapshotSource,
) -> io::Result<u64> {
    let dialled = dialer.dial(name, address, SNAPSHOT_ALPN, Expected::Server);
    let mut stream = dialled.await.map_err(io::Error::other)?;
    let encoded = message.write_to_bytes().map_err(io::Error::other)?;
    let head = Head {
        message: encoded.into(),
        bytes: source.bytes,
    };
    frame::write(&mut stream, &head)
        .await
        .map_err(io::Error::other)?;
    let mut file = tokio::fs::File::from_std(source.file);
    pass(&mut file, &mut stream, source.bytes).await?;
    stream.flush().await?;
    let received = timeout(STALL_LIMIT, frame::read::<bool>(&mut stream)).await?;
    match received.map_err(io::Error::other)? {
        Some(true) => Ok(source.bytes),
        _ => Err(io::Error::other("the other server did not take it")),
    }
}

/// Passes exactly `bytes` on; an end before that, or a stall, is an error.
async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    bytes: u64,
) -> io::Result<()> {
    let mut left = bytes;
    let mut step = vec![0; STEP_BYTES];
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        let read = timeout(STALL_LIMIT, from.read(&mut step[..wanted])).await??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        timeout(STALL_LIMIT, to.write_all(&step[..read])).await??;
        left -= read as u64;
    }
    Ok(())
}

/// Takes snapshots in.
pub struct SnapshotDoor {
    raft: RaftHandle,
    room: Arc<Semaphore>,
}

impl SnapshotDoor {
    /// The door for this server's Raft.
    pub fn new(raft: RaftHandle) -> Self {
        Self {
            raft,
            room: Arc::new(Semaphore::new(MAX_INCOMING)),
        }
    }
}

impl Door for SnapshotDoor {
    fn enter(&self, visitor: Visitor) {
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            tracing::warn!(client.address = %visitor.peer, "too many snapshots come in at once");
            return;
        };
        let raft = self.raft.clone();
        tokio::spawn(async move {
            if let Err(error) = receive(&raft, visitor).await {
                tracing::warn!(error = %error, "a snapshot did not come in");
            }
            drop(permit);
        });
    }
}

async fn receive(raft: &RaftHandle, visitor: Visitor) -> io::Result<()> {
    let mut stream = visitor.stream;
    let head = timeout(STALL_LIMIT, frame::read::<Head>(&mut stream)).await?;
    let head = head.map_err(io::Error::other)?;
    let head = head.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    let message = Message::parse_from_bytes(&head.message).map_err(io::Error::other)?;
    let path = raft.incoming_snapshot();
    if let Err(error) = write(&mut stream, &path, head.bytes).await {
        // A part of it is of no use.
        let _ = tokio::fs::remove_file(&path).await;
        return Err(error);
    }
    raft.receive_snapshot(message, path)
        .map_err(io::Error::other)?;
    frame::write(&mut stream, &true)
        .await
        .map_err(io::Error::other)?;
    stream.shutdown().await
}

async fn write(stream: &mut (impl AsyncRead + Unpin), path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = tokio::fs::File::create(path).await?;
    pass(stream, &mut file, bytes).await?;
    file.sync_all().await
}
