//! Who is asked for the names of others.

use crate::wire::Name;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The port of name servers.
pub(crate) const DNS_PORT: u16 = 53;
/// After so many failures in a row a server is asked after all others.
const FAILURES: u32 = 2;
/// And for so long, in milliseconds.
const REST_MS: u64 = 10_000;
/// A server from which our own question came back is not asked for so long, in milliseconds.
const LOOP_MS: u64 = 60_000;
/// No more servers are taken from a file.
const SERVERS_MAX: usize = 8;

/// Where the servers are named that are asked for everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstreams {
    /// In a file like `/etc/resolv.conf`, which may change.
    File(PathBuf),
    /// Here.
    Fixed(Vec<SocketAddr>),
}

/// A domain with servers of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stub {
    /// The domain.
    pub domain: Name,
    /// Its servers.
    pub servers: Vec<SocketAddr>,
}

/// One server, and how it did.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub address: SocketAddr,
    failures: AtomicU32,
    failed_ms: AtomicU64,
    looped_ms: AtomicU64,
    /// It does not keep upper and lower case.
    pub loses_case: AtomicBool,
    /// It does not know OPT records.
    pub loses_edns: AtomicBool,
}

impl Upstream {
    pub fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            address,
            failures: AtomicU32::new(0),
            failed_ms: AtomicU64::new(0),
            looped_ms: AtomicU64::new(0),
            loses_case: AtomicBool::new(false),
            loses_edns: AtomicBool::new(false),
        })
    }

    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    pub fn failed(&self, now_ms: u64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed_ms.store(now_ms, Ordering::Relaxed);
    }

    /// One of our own questions came back from it.
    pub fn looped(&self, now_ms: u64) {
        self.looped_ms.store(now_ms.max(1), Ordering::Relaxed);
    }

    pub fn is_resting(&self, now_ms: u64) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES
            && now_ms < self.failed_ms.load(Ordering::Relaxed) + REST_MS
    }

    pub fn is_loop(&self, now_ms: u64) -> bool {
        let at = self.looped_ms.load(Ordering::Relaxed);
        at > 0 && now_ms < at + LOOP_MS
    }
}

/// The servers in the order in which to ask them: as they are given, those that failed last.
pub(crate) fn in_order(all: &[Arc<Upstream>], now_ms: u64) -> Vec<Arc<Upstream>> {
    let mut usable: Vec<_> = all.iter().filter(|u| !u.is_loop(now_ms)).cloned().collect();
    usable.sort_by_key(|u| u.is_resting(now_ms));
    usable
}

/// The servers that a file names, but for `own`: who asks itself gets no answer.
pub(crate) fn servers(text: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let address = words.next().and_then(|w| w.parse::<IpAddr>().ok());
        let Some(address) = address.filter(|a| !own.contains(a)) else {
            continue;
        };
        let server = SocketAddr::new(address, DNS_PORT);
        if !servers.contains(&server) && servers.len() < SERVERS_MAX {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_without_those_that_are_ourselves() {
        let own: IpAddr = "10.96.0.10".parse().unwrap();
        let text = "search lan\nnameserver 192.0.2.1 # one\nnameserver 10.96.0.10\n\
                    nameserver fd00::1\nnameserver none\nnameserver 192.0.2.1\n";
        let shown: Vec<String> = servers(text, &[own])
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["192.0.2.1:53", "[fd00::1]:53"]);
    }

    #[test]
    fn a_server_that_fails_is_asked_last_and_one_that_loops_not_at_all() {
        let all: Vec<_> = (1..=3)
            .map(|n| Upstream::new(([192, 0, 2, n], 53).into()))
            .collect();
        all[0].failed(1000);
        all[0].failed(1000);
        all[1].looped(1000);
        let asked = |now| -> Vec<u8> {
            let order = in_order(&all, now);
            let last = |u: &Arc<Upstream>| match u.address.ip() {
                IpAddr::V4(v4) => v4.octets()[3],
                IpAddr::V6(_) => 0,
            };
            order.iter().map(last).collect()
        };
        assert_eq!(asked(2000), [3, 1]);
        assert_eq!(asked(12_000), [1, 3]);
        assert_eq!(asked(100_000), [1, 2, 3]);
        all[0].succeeded();
        assert_eq!(asked(2000), [1, 3]);
    }
}
