//! Dialling servers: when, and how often.

use futures::future::BoxFuture;
use kabuki_protocol::join::{Role, ServerAddress};
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The first wait after a failure; it doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The way to another node's port, past the handshake: the other has proved its name.
pub trait Dial: Send + Sync + 'static {
    /// Connects to a server's port for the protocol `alpn`.
    fn dial(
        &self,
        server: &ServerAddress,
        alpn: &'static [u8],
    ) -> BoxFuture<'static, io::Result<TlsStream<TcpStream>>>;
}

/// Whether this node is the one to dial.
pub(super) fn is_mine(role: Role, own_name: &str, server: &str) -> bool {
    match role {
        Role::Worker => true,
        Role::Server => own_name < server,
    }
}

/// When each server may be dialled again.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    of: HashMap<String, Attempt>,
}

#[derive(Debug)]
struct Attempt {
    wait: Duration,
    after: Instant,
    under_way: bool,
}

impl Attempts {
    /// Whether to dial now; when so, the attempt counts as under way.
    pub(super) fn begin(&mut self, server: &str, now: Instant) -> bool {
        let attempt = self.of.entry(server.to_string()).or_insert(Attempt {
            wait: FIRST_WAIT,
            after: now,
            under_way: false,
        });
        if attempt.under_way || attempt.after > now {
            return false;
        }
        attempt.under_way = true;
        true
    }

    /// The attempt failed. Gives how long to wait; `spread` from 0 to 1 keeps nodes apart.
    pub(super) fn failed(&mut self, server: &str, now: Instant, spread: f64) -> Duration {
        let Some(attempt) = self.of.get_mut(server) else {
            return FIRST_WAIT;
        };
        let wait = attempt.wait.mul_f64(1.0 + spread.clamp(0.0, 1.0) / 2.0);
        attempt.wait = (attempt.wait * 2).min(LONGEST_WAIT);
        attempt.after = now + wait;
        attempt.under_way = false;
        wait
    }

    /// A session is ready, whoever dialled.
    pub(super) fn succeeded(&mut self, server: &str) {
        self.of.remove(server);
    }

    /// The session broke before it was ready: that counts as a failure.
    pub(super) fn settle(&mut self, server: &str, now: Instant, spread: f64) {
        if self.of.get(server).is_some_and(|a| a.under_way) {
            self.failed(server, now, spread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_success_forgets_them() {
        let (mut attempts, mut now) = (Attempts::default(), Instant::now());
        assert!(attempts.begin("a", now));
        assert!(!attempts.begin("a", now), "one at a time");
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let wait = attempts.failed("a", now, 0.0);
            assert!(wait >= last && wait <= LONGEST_WAIT);
            assert!(!attempts.begin("a", now), "not before the wait is over");
            now += wait;
            assert!(attempts.begin("a", now));
            last = wait;
        }
        assert_eq!(last, LONGEST_WAIT);
        attempts.succeeded("a");
        assert!(attempts.begin("a", now));
    }

    #[test]
    fn of_two_servers_one_dials() {
        assert!(is_mine(Role::Server, "a", "b"));
        assert!(!is_mine(Role::Server, "b", "a"));
        assert!(is_mine(Role::Worker, "z", "a"));
    }
}
