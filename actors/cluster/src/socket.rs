//! How TCP connections between nodes are set up: small frames leave at once, and a peer that is
//! gone without a word is noticed by the kernel.

use nix::sys::socket::{setsockopt, sockopt};
use std::time::Duration;
use tokio::net::TcpStream;

/// A connection in which nothing came for so long is asked whether the peer lives.
const KEEPALIVE_IDLE_S: u32 = 10;
/// How often it is asked.
const KEEPALIVE_INTERVAL_S: u32 = 5;
/// How many questions go unanswered before the connection is dead.
const KEEPALIVE_PROBES: u32 = 3;
/// Sent bytes that nobody confirms for so long end the connection.
const UNCONFIRMED: Duration = Duration::from_secs(20);

/// Sets a connection up. What the system refuses is left as it is: the connection works anyway.
pub(crate) fn tune(stream: &TcpStream) {
    let done = stream.set_nodelay(true).map_err(|e| e.to_string());
    let done = done.and_then(|()| {
        setsockopt(stream, sockopt::KeepAlive, &true)
            .and_then(|()| setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S))
            .and_then(|()| setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_S))
            .and_then(|()| setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES))
            .and_then(|()| {
                let limit = u32::try_from(UNCONFIRMED.as_millis()).unwrap_or(u32::MAX);
                setsockopt(stream, sockopt::TcpUserTimeout, &limit)
            })
            .map_err(|e| e.to_string())
    });
    if let Err(error) = done {
        tracing::debug!(error, "a connection could not be set up fully");
    }
}
