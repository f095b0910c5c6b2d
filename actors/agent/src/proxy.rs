//! Keeps the services in the kernel in step with the directory.
//!
//! ```text
//!   directory ── changed keys ──> proxy ── jobs ──> thread: plan, one transaction, connections
//!   pods' links come and go ────────^ ^──────────── thread: changes by others
//! ```
//!
//! Nothing is taken away before the whole directory is known: until then what the kernel has stays,
//! and only what is missing is added. A change that the kernel refuses, and any change by somebody
//! else, leads to reading all of it and putting right what differs. Batches are handled one after
//! the other; what changes meanwhile is one batch again.

mod health;
mod kernel;
mod ports;
mod stale;
#[cfg(test)]
mod tests;

use crate::directory::{Changes, DirectoryHandle};
use crate::network::PodNetwork;
use crate::node::Zone;
use crate::services::{Registry, Services};
use health::HealthServers;
use kabuki_kit::{ChildSpec, Slot, Worker};
use kabuki_model::service::Known;
use kabuki_net::plan::Cidr;
use kabuki_net::plan::services::{NodeView, Primary};
use kabuki_net::{NetError, ServiceTrace};
use kernel::{Kernel, Task};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use stale::Stale;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// A trace waits for changes that are being written.
const TRACE_LIMIT: Duration = Duration::from_secs(10);
/// What failed is tried again after this time, later and later.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// What somebody changes in one go is looked at in one go.
const SETTLE: Duration = Duration::from_millis(20);
/// Jobs that wait for the thread.
const JOBS: usize = 8;

#[derive(RactorMessage)]
pub(crate) enum ProxyMessage {
    /// Services changed.
    Changed {
        changes: Changes,
        handled: oneshot::Sender<()>,
    },
    /// A pod of this node was wired, or its link was taken away.
    Pods,
    /// The node is in another zone.
    Zone,
    /// Somebody else changed the table.
    Disturbed {
        handled: std::sync::mpsc::Sender<()>,
    },
    /// Try again, unless something was done since.
    Retry { attempt: u64 },
    /// Where would a connection go?
    Trace {
        to: Primary,
        from: Option<Ipv4Addr>,
        reply: RpcReplyPort<Result<ServiceTrace, String>>,
    },
}

/// Reaches the proxy.
#[derive(Clone)]
pub(crate) struct ProxyHandle {
    slot: Slot<ProxyMessage>,
}

impl ProxyHandle {
    pub fn new() -> Self {
        Self {
            slot: Slot::new("proxy"),
        }
    }

    pub fn child(&self, services: &Arc<Services>) -> ChildSpec {
        let config = &services.config;
        self.child_of(Proxy {
            directory: services.directory.clone(),
            network: services.network.clone(),
            pods: services.pods.clone(),
            ranges: config.service_cidr.into_iter().collect(),
            zone: services.zone.clone(),
            name: config.node_name.as_str().into(),
            cluster: config.cluster_cidr,
        })
    }

    fn child_of(&self, proxy: Proxy) -> ChildSpec {
        ChildSpec::worker("proxy", &self.slot, move |_| (proxy.clone(), ()))
    }

    /// Where the kernel would send a connection, and why.
    pub async fn trace(&self, to: Primary, from: Option<Ipv4Addr>) -> Result<ServiceTrace, String> {
        let ask = |reply| ProxyMessage::Trace { to, from, reply };
        let answer = self.slot.call(ask, TRACE_LIMIT).await;
        answer.map_err(|error| error.to_string())?
    }
}

#[derive(Clone)]
struct Proxy {
    directory: DirectoryHandle,
    network: PodNetwork,
    pods: Registry,
    ranges: Vec<Cidr>,
    zone: Zone,
    name: Arc<str>,
    cluster: Cidr,
}

pub(crate) struct ProxyState {
    worker: Worker<Kernel>,
    tasks: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    health: HealthServers,
    /// The kernel may have something else than it should.
    unsure: bool,
    attempt: u64,
    wait: Duration,
}

impl Drop for ProxyState {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Proxy {
    /// Has the thread do something, and sees to it that it is done again if it failed.
    async fn perform(&self, myself: &ActorRef<ProxyMessage>, state: &mut ProxyState, task: Task) {
        state.attempt += 1;
        let own = self.network.own_addresses().await.unwrap_or_default();
        let unsure = state.unsure;
        let done = state
            .worker
            .run(move |kernel| kernel.perform(task, unsure, &own))
            .await;
        let result = match done {
            Ok(result) => result,
            Err(error) => Err(error.to_string()),
        };
        let again = match result {
            Ok(done) => {
                state.unsure = !done.sure;
                state.health.set(done.health);
                done.again
            }
            Err(error) => {
                tracing::warn!(%error, "services are not all in the packet filter");
                state.unsure = true;
                true
            }
        };
        if !again {
            state.wait = RETRY_FIRST;
            return;
        }
        let attempt = state.attempt;
        myself.send_after(state.wait, move || ProxyMessage::Retry { attempt });
        state.wait = (state.wait * 2).min(RETRY_MAX);
    }

    /// Somebody changed the table: the node's own rules may be gone, too.
    async fn put_right(&self, myself: &ActorRef<ProxyMessage>, state: &mut ProxyState) {
        if let Err(error) = self.network.ensure(&self.ranges).await {
            tracing::warn!(%error, "the pod network is not in order");
        }
        state.unsure = true;
        let ports = ports::of_pods(&self.pods, &self.network);
        self.perform(myself, state, Task::Ports(ports)).await;
    }

    fn worker(&self) -> std::io::Result<Worker<Kernel>> {
        let (directory, network) = (self.directory.clone(), self.network.clone());
        let ranges = self.ranges.clone();
        let view = NodeView {
            name: self.name.clone(),
            zone: self.zone.now(),
            cluster: self.cluster,
        };
        Worker::spawn("services", JOBS, move || {
            let table = network.services(ranges.clone())?;
            let stale = Stale::spawn(network.datagrams()?)?;
            Ok::<_, NetError>(Kernel::new(table, stale, directory.clone(), view.clone()))
        })
    }
}

/// Tells of changes of the directory, one batch at a time.
async fn follow(directory: DirectoryHandle, proxy: ActorRef<ProxyMessage>) {
    let mut subscription = directory.subscribe();
    loop {
        let changes = subscription.next().await;
        let (handled, wait) = oneshot::channel();
        let message = ProxyMessage::Changed { changes, handled };
        if proxy.cast(message).is_err() || wait.await.is_err() {
            return;
        }
    }
}

/// Tells of pods that come and go.
async fn follow_pods(network: PodNetwork, proxy: ActorRef<ProxyMessage>) {
    let mut links = network.links();
    while links.changed().await.is_ok() {
        if proxy.cast(ProxyMessage::Pods).is_err() {
            return;
        }
    }
}

/// Tells when the node is in another zone.
async fn follow_zone(mut zone: watch::Receiver<Option<Arc<str>>>, proxy: ActorRef<ProxyMessage>) {
    while zone.changed().await.is_ok() {
        if proxy.cast(ProxyMessage::Zone).is_err() {
            return;
        }
    }
}

/// Listens on a thread of its own for changes by others, until it is told to stop.
fn listen(
    network: PodNetwork,
    own: u32,
    proxy: ActorRef<ProxyMessage>,
    stop: Arc<AtomicBool>,
) -> std::io::Result<()> {
    let work = move || {
        let mut notices = match network.service_notices(own) {
            Ok(notices) => notices,
            Err(error) => {
                tracing::warn!(%error, "changes of the packet filter will go unnoticed");
                return;
            }
        };
        while !stop.load(Ordering::Acquire) {
            match notices.wait() {
                Ok(false) => {}
                Ok(true) => {
                    std::thread::sleep(SETTLE);
                    let (handled, wait) = std::sync::mpsc::channel();
                    // Until it is put right, more of the same is no news.
                    if proxy.cast(ProxyMessage::Disturbed { handled }).is_err()
                        || wait.recv().is_err()
                    {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "changes of the packet filter go unnoticed");
                    return;
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("service-notices".to_string());
    thread.spawn(work).map(drop)
}

impl Actor for Proxy {
    type Msg = ProxyMessage;
    type State = ProxyState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<ProxyMessage>,
        (): (),
    ) -> Result<ProxyState, ActorProcessingErr> {
        if let Err(error) = self.network.ensure_service_routes(&self.ranges).await {
            tracing::warn!(%error, "processes of the node may not reach services");
        }
        // Before it is looked at, so that no change falls between the two.
        let zone = self.zone.changes();
        let worker = self.worker()?;
        let own = worker.run(|kernel| kernel.port()).await?;
        let stop = Arc::new(AtomicBool::new(false));
        listen(self.network.clone(), own, myself.clone(), stop.clone())?;
        let tasks = vec![
            tokio::spawn(follow(self.directory.clone(), myself.clone())),
            tokio::spawn(follow_pods(self.network.clone(), myself.clone())),
            tokio::spawn(follow_zone(zone, myself)),
        ];
        Ok(ProxyState {
            worker,
            tasks,
            stop,
            health: HealthServers::default(),
            unsure: true,
            attempt: 0,
            wait: RETRY_FIRST,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ProxyMessage>,
        message: ProxyMessage,
        state: &mut ProxyState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ProxyMessage::Changed { changes, handled } => {
                // Parts of a first list wait for the rest, or for the copy on disk.
                if changes.known != Known::Parts {
                    let ports = ports::of_pods(&self.pods, &self.network);
                    let task = Task::Services { changes, ports };
                    self.perform(&myself, state, task).await;
                }
                // The sender may be gone, which is its right.
                let _ = handled.send(());
            }
            ProxyMessage::Pods => {
                let ports = ports::of_pods(&self.pods, &self.network);
                self.perform(&myself, state, Task::Ports(ports)).await;
            }
            ProxyMessage::Zone => {
                let ports = ports::of_pods(&self.pods, &self.network);
                let zone = self.zone.now();
                self.perform(&myself, state, Task::Zone { zone, ports })
                    .await;
            }
            ProxyMessage::Disturbed { handled } => {
                self.put_right(&myself, state).await;
                let _ = handled.send(());
            }
            ProxyMessage::Retry { attempt } => {
                if attempt == state.attempt {
                    self.put_right(&myself, state).await;
                }
            }
            ProxyMessage::Trace { to, from, reply } => {
                let own = self.network.own_addresses().await.unwrap_or_default();
                let traced = state
                    .worker
                    .run(move |kernel| kernel.trace(to, from, &own))
                    .await;
                let answer = traced.unwrap_or_else(|error| Err(error.to_string()));
                // Nobody waits any more: fine.
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }
}
