//! Every bound of the front, with its reason. What is beyond a bound is refused or waits; nothing
//! is buffered without one.

use kabuki_model::StatusError;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of all clients. An idle one takes some 20 KB.
pub const MAX_CONNECTIONS: usize = 16 << 10;
/// Connections of one address, so that others always find room.
pub const MAX_CONNECTIONS_OF_ONE: usize = 12 << 10;
/// Requests under way that are neither watches nor streams: what two cores answer in a tenth of a
/// second. Kubernetes has 600.
pub const MAX_IN_FLIGHT: usize = 2048;
/// Watches and streams that are open.
pub const MAX_LONG_RUNNING: usize = 32 << 10;
/// Bytes of bodies that are being read or worked on, of all requests together.
pub const MAX_BODIES_BYTES: usize = 64 << 20;
/// Headers of one request, in bytes. A token with its claims has two or three thousand.
pub const MAX_HEADER_BYTES: usize = 64 << 10;
/// How many headers one request has.
pub const MAX_HEADERS: usize = 256;
/// Requests at once on one HTTP/2 connection; what Go's server allows.
pub const MAX_STREAMS: u32 = 250;
/// How long the headers of a request may take to come, and an HTTP/1.1 connection be idle;
/// Kubernetes' servers close idle connections after as long.
pub const HEADER_LIMIT: Duration = Duration::from_secs(90);
/// How long a client may take nothing of what is sent to it.
pub const STALL_LIMIT: Duration = Duration::from_secs(60);
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to answer.
pub const PING_EVERY: Duration = Duration::from_secs(30);
/// See [`PING_EVERY`].
pub const PING_LIMIT: Duration = Duration::from_secs(20);
/// How long a request waits for room before it is refused: shorter than any client's patience.
const ROOM_LIMIT: Duration = Duration::from_secs(2);

/// What is left of the bounds. Clones share it.
#[derive(Clone)]
pub struct Limits {
    in_flight: Arc<Semaphore>,
    long_running: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Room for one connection; given back when dropped.
pub struct ConnectionRoom {
    of: IpAddr,
    connections: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Room for the bytes of one body; grows as they come.
pub struct BodyRoom {
    bodies: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            long_running: Arc::new(Semaphore::new(MAX_LONG_RUNNING)),
            bodies: Arc::new(Semaphore::new(MAX_BODIES_BYTES)),
            connections: Arc::default(),
        }
    }
}

impl Limits {
    /// Room for a connection from an address; `None` when there is none.
    pub fn connection(&self, of: IpAddr) -> Option<ConnectionRoom> {
        let mut open = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.entry(of).or_default();
        if all >= MAX_CONNECTIONS || *own >= MAX_CONNECTIONS_OF_ONE {
            return None;
        }
        *own += 1;
        Some(ConnectionRoom {
            of,
            connections: self.connections.clone(),
        })
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        let open = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.values().sum()
    }

    /// How many requests are under way, watches and streams apart.
    pub fn in_flight(&self) -> (usize, usize) {
        (
            MAX_IN_FLIGHT - self.in_flight.available_permits(),
            MAX_LONG_RUNNING - self.long_running.available_permits(),
        )
    }

    /// Room for a request.
    ///
    /// # Errors
    /// `TooManyRequests`, as Kubernetes words it.
    pub async fn request(&self, long: bool) -> Result<OwnedSemaphorePermit, StatusError> {
        let room = match long {
            true => self.long_running.clone(),
            false => self.in_flight.clone(),
        };
        match tokio::time::timeout(ROOM_LIMIT, room.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy()),
        }
    }

    /// Room for a body, none of which has come yet.
    pub fn body(&self) -> BodyRoom {
        BodyRoom {
            bodies: self.bodies.clone(),
            held: Vec::new(),
        }
    }
}

impl BodyRoom {
    /// Room for more bytes.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), StatusError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let more = self.bodies.clone().acquire_many_owned(bytes);
        match tokio::time::timeout(ROOM_LIMIT, more).await {
            Ok(Ok(permit)) => {
                self.held.push(permit);
                Ok(())
            }
            _ => Err(busy()),
        }
    }
}

impl Drop for ConnectionRoom {
    fn drop(&mut self) {
        let mut open = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&self.of) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.of);
            }
        }
    }
}

fn busy() -> StatusError {
    StatusError::too_many_requests("Too many requests, please try again later.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_every_connection() {
        let limits = Limits::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = std::iter::from_fn(|| limits.connection(one)).collect();
        assert_eq!(held.len(), MAX_CONNECTIONS_OF_ONE);
        assert!(limits.connection(other).is_some());
        drop(held);
        assert_eq!(limits.connections(), 0);
        assert!(limits.connection(one).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_bound_are_refused_with_a_time_to_come_again() {
        let limits = Limits::default();
        let mut held = Vec::new();
        for _ in 0..MAX_IN_FLIGHT {
            held.push(limits.request(false).await.expect("room"));
        }
        let refused = limits.request(false).await.expect_err("no room");
        assert_eq!(
            (refused.reason.code(), refused.retry_after_s),
            (429, Some(1))
        );
        assert!(limits.request(true).await.is_ok(), "watches have their own");
        held.pop();
        assert!(limits.request(false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_share_their_memory() {
        let limits = Limits::default();
        let mut bodies: Vec<BodyRoom> = (0..32).map(|_| limits.body()).collect();
        for body in &mut bodies {
            body.grow(MAX_BODIES_BYTES / 32).await.expect("room");
        }
        assert!(limits.body().grow(1).await.is_err());
        bodies.pop();
        assert!(limits.body().grow(1).await.is_ok());
    }
}
