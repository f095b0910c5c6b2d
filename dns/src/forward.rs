//! Names that are not the cluster's: asked of other servers, and kept.
//!
//! - Whoever asks what is being asked already waits for the same answer, so a question that comes
//!   back to us by way of others ends in its own waiting, and is never multiplied.
//! - The time is bounded: when nobody answers, a kept answer that has run out is given
//!   (RFC 8767), or that it failed.
//! - A question of our own that comes back directly shows a server that leads to ourselves: it is
//!   not asked for a while.
//!
//! Talked to by the server's loops, and by whoever looks up a name on the node.

mod cache;
mod exchange;
mod stored;
#[cfg(test)]
mod tests;
mod upstream;

pub use cache::CacheLimits;
pub use stored::Stored;
pub use upstream::{Stub, Upstreams};

use crate::wire::{Name, rcode};
use cache::{Cache, CacheKey};
use exchange::{OnTheWay, Question};
use hickory_proto::rr::{Name as ProtoName, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use stored::FAILURE_S;
use tokio::sync::watch;
use tokio::time::Instant;
use upstream::Upstream;

/// A server has this long to answer.
const PATIENCE: Duration = Duration::from_millis(1200);
/// One that failed lately, less.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// All servers together have this long: a client's resolver waits for five seconds.
const BOUND: Duration = Duration::from_secs(4);
/// So often are the servers gone through.
const ROUNDS: usize = 2;
/// After this time a kept answer that has run out is better than none (RFC 8767, 5).
const STALE_AFTER: Duration = Duration::from_millis(1800);
/// After a failure a kept answer is given at once for so long (RFC 8767, 5).
const RECHECK_MS: u64 = 30_000;
/// The file of servers is looked at again after this time, when it is needed.
const LOOK_EVERY_MS: u64 = 5_000;
/// So many questions are on their way at once; what comes on top fails.
const FETCHES_MAX: usize = 1024;
/// The cache's parts, so that its users seldom meet.
const SHARDS: usize = 8;

/// Settings of a [`Forwarder`].
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// Who is asked for everything else.
    pub upstreams: Upstreams,
    /// Domains with servers of their own; of several that fit, the longest counts.
    pub stubs: Vec<Stub>,
    /// Our own addresses, never asked.
    pub own: Vec<IpAddr>,
    /// Bounds of what is kept.
    pub cache: CacheLimits,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was kept, and is still good.
    Kept,
    /// It was kept, and has run out; nobody could be asked in time.
    Stale,
    /// It was asked for.
    Asked,
}

/// An answer, if there was one.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The answer; `None` when nobody gave one in time.
    pub stored: Option<Arc<Stored>>,
    /// Where it came from.
    pub origin: Origin,
}

/// Asks others.
pub struct Forwarder {
    config: ForwardConfig,
    begin: Instant,
    shards: Vec<Mutex<Cache>>,
    fetches: Mutex<HashMap<CacheKey, watch::Receiver<Fetched>>>,
    /// Questions that nobody answered, or only with a failure where an answer is kept; and when.
    failed: Mutex<HashMap<CacheKey, u64>>,
    servers: Mutex<Servers>,
    stubs: Vec<(Name, Vec<Arc<Upstream>>)>,
    way: OnTheWay,
}

type Fetched = Option<Option<Arc<Stored>>>;

#[derive(Default)]
struct Servers {
    all: Vec<Arc<Upstream>>,
    looked_ms: Option<u64>,
    written: Option<SystemTime>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Forwarder {
    /// Asks nobody yet.
    pub fn new(config: ForwardConfig) -> Arc<Self> {
        let mut stubs: Vec<(Name, Vec<Arc<Upstream>>)> = config
            .stubs
            .iter()
            .map(|stub| {
                let servers = stub.servers.iter().copied().map(Upstream::new);
                (stub.domain.clone(), servers.collect())
            })
            .collect();
        stubs.sort_by_key(|(domain, _)| std::cmp::Reverse(domain.labels()));
        let limits = CacheLimits {
            entries: config.cache.entries.div_ceil(SHARDS),
            bytes: config.cache.bytes / SHARDS,
        };
        Arc::new(Self {
            begin: Instant::now(),
            shards: (0..SHARDS)
                .map(|_| Mutex::new(Cache::new(limits)))
                .collect(),
            fetches: Mutex::default(),
            failed: Mutex::default(),
            servers: Mutex::default(),
            stubs,
            way: OnTheWay::default(),
            config,
        })
    }

    /// Milliseconds of the cache's clock.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Cache> {
        let sum = key.iter().fold(0_usize, |h, b| {
            h.wrapping_mul(31).wrapping_add(usize::from(*b))
        });
        lock(&self.shards[sum % SHARDS])
    }

    /// How many answers are kept, and what they take in bytes.
    pub fn usage(&self) -> (usize, usize) {
        let all = self.shards.iter().map(|shard| lock(shard).usage());
        all.fold((0, 0), |sum, (n, bytes)| (sum.0 + n, sum.1 + bytes))
    }

    /// A kept answer that is still good, without waiting.
    pub fn kept(&self, name: &Name, kind: u16, dnssec: bool, cd: bool) -> Option<Arc<Stored>> {
        let now = self.now_ms();
        let key = cache::key(name, kind, dnssec, cd);
        let stored = self.shard(&key).get(&key, now)?;
        stored.is_fresh(now).then_some(stored)
    }

    /// Whether a packet is a question of our own that came back. Who it was sent to is not asked
    /// for a while.
    pub fn is_own(&self, packet: &[u8]) -> bool {
        let Some(upstream) = self.way.whose(packet) else {
            return false;
        };
        let now = self.now_ms();
        if !upstream.is_loop(now) {
            tracing::warn!(
                dns.upstream = %upstream.address,
                "an upstream name server sends questions back to this node; it is not asked for \
                 a while"
            );
        }
        upstream.looped(now);
        true
    }

    /// Looks up a name of others. Answers within a bound.
    pub async fn resolve(
        self: &Arc<Self>,
        name: &Name,
        kind: u16,
        dnssec_ok: bool,
        checking_disabled: bool,
    ) -> Resolved {
        let key = cache::key(name, kind, dnssec_ok, checking_disabled);
        let now = self.now_ms();
        let kept = self.shard(&key).get(&key, now);
        if let Some(stored) = kept.as_ref().filter(|s| s.is_fresh(now)) {
            return Resolved {
                stored: Some(stored.clone()),
                origin: Origin::Kept,
            };
        }
        // A failure that has run out is no answer.
        let stale = kept.filter(|s| matches!(s.rcode, rcode::NO_ERROR | rcode::NX_DOMAIN));
        if stale.is_none() && self.failed_within(&key, now, u64::from(FAILURE_S) * 1000) {
            return Resolved {
                stored: None,
                origin: Origin::Kept,
            };
        }
        let fetched = self.fetch(&key, name, kind, dnssec_ok, checking_disabled);
        let wait = match &stale {
            Some(_) if self.failed_within(&key, now, RECHECK_MS) => Duration::ZERO,
            Some(_) => STALE_AFTER,
            None => BOUND + PATIENCE,
        };
        let answer = match fetched {
            Some(mut fetched) => {
                let done = tokio::time::timeout(wait, fetched.wait_for(Option::is_some)).await;
                done.ok()
                    .and_then(Result::ok)
                    .and_then(|f| (*f).clone().flatten())
            }
            None => None,
        };
        let failed = |s: &Arc<Stored>| !matches!(s.rcode, rcode::NO_ERROR | rcode::NX_DOMAIN);
        match (answer, stale) {
            (None, Some(stale)) => Resolved {
                stored: Some(stale),
                origin: Origin::Stale,
            },
            (Some(answer), Some(stale)) if failed(&answer) => Resolved {
                stored: Some(stale),
                origin: Origin::Stale,
            },
            (stored, _) => Resolved {
                stored,
                origin: Origin::Asked,
            },
        }
    }

    fn failed_within(&self, key: &CacheKey, now: u64, span_ms: u64) -> bool {
        let failed = lock(&self.failed);
        failed.get(key).is_some_and(|at| now < at + span_ms)
    }

    /// Joins the asking of a question, or begins it. It goes on when nobody waits any more. `None`
    /// when too many are on their way.
    fn fetch(
        self: &Arc<Self>,
        key: &CacheKey,
        name: &Name,
        kind: u16,
        dnssec_ok: bool,
        checking_disabled: bool,
    ) -> Option<watch::Receiver<Fetched>> {
        let mut fetches = lock(&self.fetches);
        if let Some(running) = fetches.get(key) {
            return Some(running.clone());
        }
        if fetches.len() >= FETCHES_MAX {
            return None;
        }
        let question = Question {
            name: ProtoName::from_bytes(name.wire()).ok()?,
            kind: RecordType::from(kind),
            dnssec_ok,
            checking_disabled,
        };
        let (tell, told) = watch::channel(None);
        fetches.insert(key.clone(), told.clone());
        drop(fetches);
        let (own, key, servers) = (self.clone(), key.clone(), self.servers_for(name));
        tokio::spawn(async move {
            let asked = tokio::time::timeout(BOUND, own.ask(&question, servers)).await;
            let answer = asked.ok().flatten();
            own.keep(&key, answer.as_ref());
            // In this order: who asks from now on finds it in the cache.
            lock(&own.fetches).remove(&key);
            tell.send_replace(Some(answer));
        });
        Some(told)
    }

    fn keep(&self, key: &CacheKey, answer: Option<&Arc<Stored>>) {
        let now = self.now_ms();
        let good = |s: &Stored| matches!(s.rcode, rcode::NO_ERROR | rcode::NX_DOMAIN);
        let mut shard = self.shard(key);
        let held = shard.get(key, now).is_some();
        let mut failed = lock(&self.failed);
        match answer {
            Some(answer) if good(answer) => {
                failed.remove(key);
                shard.put(key.clone(), answer.clone());
            }
            // A failure is kept for a moment, too, but not in the place of an answer.
            Some(failure) if !held => shard.put(key.clone(), failure.clone()),
            _ => {
                if failed.len() >= FETCHES_MAX {
                    failed.retain(|_, at| now < *at + RECHECK_MS);
                }
                if failed.len() < FETCHES_MAX {
                    failed.insert(key.clone(), now);
                }
            }
        }
    }

    /// Asks one server after the other. An answer that says that it failed counts only when
    /// nobody has a better one.
    async fn ask(&self, question: &Question, servers: Vec<Arc<Upstream>>) -> Option<Arc<Stored>> {
        let mut worst = None;
        for _ in 0..ROUNDS {
            for server in upstream::in_order(&servers, self.now_ms()) {
                let now = self.now_ms();
                let wait = match server.is_resting(now) {
                    true => IMPATIENCE,
                    false => PATIENCE,
                };
                let answer = match exchange::ask(&self.way, &server, question, wait).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        tracing::debug!(dns.upstream = %server.address, %error, "no answer");
                        server.failed(self.now_ms());
                        continue;
                    }
                };
                server.succeeded();
                let now = self.now_ms();
                let Some(stored) = Stored::of(&answer, &question.name, server.address, now) else {
                    continue;
                };
                let stored = Arc::new(stored);
                if matches!(stored.rcode, rcode::NO_ERROR | rcode::NX_DOMAIN) {
                    return Some(stored);
                }
                worst = Some(stored);
            }
            if worst.is_some() {
                break;
            }
        }
        worst
    }

    /// The servers for a name.
    fn servers_for(&self, name: &Name) -> Vec<Arc<Upstream>> {
        let mut stubs = self.stubs.iter();
        let within = |domain: &Name| name.is_within(domain.wire(), domain.labels());
        match stubs.find(|(domain, _)| within(domain)) {
            Some((_, servers)) => servers.clone(),
            None => self.servers(),
        }
    }

    /// The servers for everything else; from the file, if it changed.
    fn servers(&self) -> Vec<Arc<Upstream>> {
        let now = self.now_ms();
        let mut held = lock(&self.servers);
        if held.looked_ms.is_some_and(|at| now < at + LOOK_EVERY_MS) {
            return held.all.clone();
        }
        let first = held.looked_ms.replace(now).is_none();
        let addresses = match &self.config.upstreams {
            Upstreams::Fixed(_) if !first => return held.all.clone(),
            Upstreams::Fixed(servers) => {
                let own = |s: &&std::net::SocketAddr| !self.config.own.contains(&s.ip());
                servers.iter().filter(own).copied().collect()
            }
            Upstreams::File(path) => {
                let written = std::fs::metadata(path).and_then(|m| m.modified()).ok();
                if !first && written == held.written {
                    return held.all.clone();
                }
                held.written = written;
                let text = std::fs::read_to_string(path).unwrap_or_default();
                upstream::servers(&text, &self.config.own)
            }
        };
        let known = |address| held.all.iter().find(|u| u.address == address).cloned();
        let all = addresses
            .into_iter()
            .map(|address| known(address).unwrap_or_else(|| Upstream::new(address)))
            .collect();
        held.all = all;
        held.all.clone()
    }
}
