//! Answers questions over UDP and TCP.
//!
//! ```text
//!   a thread for each UDP socket ──> zone, kept answers ──> back, in the same batch
//!                    │ what has to be asked of others
//!                    v
//!               one task each, as many as is fair ──> forwarder ──> back
//!   a task for each TCP connection ──> the same
//! ```
//!
//! The zone is published as a snapshot, so no reader ever waits for a writer. What one client may
//! hold of the server (questions to others, connections) is bounded, and no client gets more than
//! is left for the others; see [`share`] and [`flood`].

mod answer;
mod flood;
mod share;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

pub use answer::Clients;

use crate::forward::Forwarder;
use crate::zone::Zone;
use arc_swap::ArcSwap;
use share::Shares;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::watch;

/// No more threads are used than this: each answers more than 100,000 questions a second.
const THREADS_MAX: usize = 4;

/// Settings of a [`Server`].
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where questions come in; UDP and TCP.
    pub addresses: Vec<SocketAddr>,
    /// How many threads answer over UDP; `None` is one for each processor, up to four.
    pub threads: Option<usize>,
    /// What each of these threads does first. One that sleeps until a question comes has to get a
    /// busy processor at once, or the answer waits for the scheduler's next tick.
    pub prepare: fn(),
    /// Whose questions about names of others are passed on.
    pub clients: Clients,
}

/// Why a server cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({transport}): {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread for {address}: {source}")]
    Thread {
        /// For which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What is published of the cluster's names.
#[derive(Clone)]
pub struct Published {
    /// The names.
    pub zone: Zone,
    /// Whether these are all: what is missing from a part of the names is not known to be
    /// missing, and is answered as a failure.
    pub complete: bool,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions, however they came.
    pub questions: u64,
    /// Those that were passed over because one client asked too much.
    pub dropped: u64,
    /// Those that had to be asked of others.
    pub asked: u64,
}

#[derive(Default)]
struct Counters {
    questions: AtomicU64,
    dropped: AtomicU64,
    asked: AtomicU64,
}

/// What all loops share.
pub(crate) struct Shared {
    published: ArcSwap<Published>,
    forwarder: Arc<Forwarder>,
    clients: Clients,
    shares: Shares,
    counters: Counters,
    stop: AtomicBool,
    /// Turns true when a loop ended that should not have.
    failed: watch::Sender<bool>,
}

/// Says that a loop ended, however it did.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        if !self.0.stop.load(Ordering::Acquire) {
            self.0.failed.send_replace(true);
        }
    }
}

/// A running server. Dropping it ends it.
pub struct Server {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    udp: Vec<(Arc<std::net::UdpSocket>, Option<JoinHandle<()>>)>,
    tcp: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// Listens, and answers from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Naming the address that cannot be listened on.
    pub fn open(
        config: &ServerConfig,
        published: Published,
        forwarder: Arc<Forwarder>,
    ) -> Result<Self, ServerError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = config.threads.unwrap_or(cores.min(THREADS_MAX)).max(1);
        let mut server = Self {
            shared: Arc::new(Shared {
                published: ArcSwap::from_pointee(published),
                forwarder,
                clients: config.clients.clone(),
                shares: Shares::default(),
                counters: Counters::default(),
                stop: AtomicBool::new(false),
                failed: watch::channel(false).0,
            }),
            addresses: Vec::new(),
            udp: Vec::new(),
            tcp: Vec::new(),
        };
        for address in &config.addresses {
            let bound = server.listen(config, *address, threads)?;
            server.addresses.push(bound);
        }
        Ok(server)
    }

    fn listen(
        &mut self,
        config: &ServerConfig,
        address: SocketAddr,
        threads: usize,
    ) -> Result<SocketAddr, ServerError> {
        let failed = |transport| {
            move |source| ServerError::Listen {
                address,
                transport,
                source,
            }
        };
        // A port of zero is chosen once, and the same for all.
        let listener = socket::tcp(address).map_err(failed("TCP"))?;
        let bound = listener.local_addr().map_err(failed("TCP"))?;
        for _ in 0..threads {
            let socket = Arc::new(socket::udp(bound).map_err(failed("UDP"))?);
            let (shared, own) = (self.shared.clone(), socket.clone());
            let (runtime, prepare) = (tokio::runtime::Handle::current(), config.prepare);
            let thread = std::thread::Builder::new()
                .name("dns-udp".to_string())
                .spawn(move || {
                    let _ended = Ended(shared.clone());
                    prepare();
                    udp::run(&shared, &own, &runtime);
                });
            let thread = thread.map_err(|source| ServerError::Thread { address, source })?;
            self.udp.push((socket, Some(thread)));
        }
        let shared = self.shared.clone();
        self.tcp.push(tokio::spawn(async move {
            let _ended = Ended(shared.clone());
            tcp::run(shared, listener).await;
        }));
        Ok(bound)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Answers from these names from now on.
    pub fn publish(&self, published: Published) {
        self.shared.published.store(Arc::new(published));
    }

    /// The names that it answers from.
    pub fn published(&self) -> Arc<Published> {
        self.shared.published.load_full()
    }

    /// Who asks others for it.
    pub fn forwarder(&self) -> &Arc<Forwarder> {
        &self.shared.forwarder
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        Counts {
            questions: counters.questions.load(Ordering::Relaxed),
            dropped: counters.dropped.load(Ordering::Relaxed),
            asked: counters.asked.load(Ordering::Relaxed),
        }
    }

    /// Whether all of it runs.
    pub fn is_whole(&self) -> bool {
        !*self.shared.failed.borrow()
    }

    /// Turns true when a part of it ended by itself: then it has to be opened again.
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.shared.failed.subscribe()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for task in &self.tcp {
            task.abort();
        }
        for (socket, _) in &self.udp {
            socket::wake(socket);
        }
        for thread in self.udp.iter_mut().filter_map(|(_, thread)| thread.take()) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
