//! A worker hands a connection on to a server, byte for byte.

use crate::seams::Directory;
use crate::socket;
use futures::FutureExt;
use rand::seq::SliceRandom;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server that does not answer by then is passed over.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// When one side has said all, the other may be silent this long. (While both may still speak,
/// silence is no fault: who is gone is noticed by the kernel.)
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(30);
/// A side that takes nothing for so long is gone.
const STALLED: Duration = Duration::from_secs(60);
/// The buffer of each direction: as much as a TLS record holds.
const BUFFER_BYTES: usize = 16 << 10;

/// Finds a server that answers and connects both; `head` is what was read already.
pub(super) async fn to_a_server(
    stream: TcpStream,
    head: Vec<u8>,
    peer: SocketAddr,
    directory: &dyn Directory,
    own_name: &str,
) {
    for (server, address) in candidates(directory, own_name) {
        let far = match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&address)).await {
            Ok(Ok(far)) => far,
            Ok(Err(error)) => {
                tracing::debug!(server, address, %error, "a server cannot be reached");
                continue;
            }
            Err(_) => {
                tracing::debug!(server, address, "a server does not answer");
                continue;
            }
        };
        socket::tune(&far);
        if let Err(error) = run(stream, far, &head).await {
            tracing::debug!(peer.address = %peer, server, %error, "a connection handed on broke");
        }
        return;
    }
    tracing::warn!(peer.address = %peer, "no server can be reached to hand a connection on to");
}

/// The servers to try: the one that leads first, because it answers without asking another.
fn candidates(directory: &dyn Directory, own_name: &str) -> Vec<(String, String)> {
    let mut servers = directory.servers();
    servers.retain(|server| server.name != own_name);
    servers.shuffle(&mut rand::rng());
    let leader = directory.leader();
    servers.sort_by_key(|server| Some(&server.name) != leader.as_ref());
    let servers = servers.into_iter();
    servers
        .map(|server| (server.name, server.address))
        .collect()
}

/// Carries bytes both ways until both sides have said all.
async fn run(mut near: TcpStream, mut far: TcpStream, head: &[u8]) -> io::Result<()> {
    let moved = AtomicU64::new(0);
    let (near_reader, near_writer) = near.split();
    let (far_reader, mut far_writer) = far.split();
    far_writer.write_all(head).await?;
    let mut out = pump(near_reader, far_writer, &moved).boxed();
    let mut back = pump(far_reader, near_writer, &moved).boxed();
    let mut rest = tokio::select! {
        ended = &mut out => { ended?; back }
        ended = &mut back => { ended?; out }
    };
    loop {
        let before = moved.load(Ordering::Relaxed);
        match tokio::time::timeout(HALF_CLOSED_IDLE, &mut rest).await {
            Ok(ended) => return ended,
            Err(_) if moved.load(Ordering::Relaxed) != before => {}
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Carries bytes one way until the sender has said all.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0u8; BUFFER_BYTES];
    loop {
        let got = from.read(&mut buffer).await?;
        let Some(chunk) = buffer.get(..got).filter(|chunk| !chunk.is_empty()) else {
            return to.shutdown().await;
        };
        match tokio::time::timeout(STALLED, to.write_all(chunk)).await {
            Ok(written) => written?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        }
        moved.fetch_add(got as u64, Ordering::Relaxed);
    }
}
