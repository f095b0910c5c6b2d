//! Several servers in one process: a transport in memory, with loss and cuts, and directories
//! that outlive their servers.

use crate::support::Running;
use kabuki_plane::raft::core::eraftpb::{ConfState, Message};
use kabuki_plane::raft::{RaftHandle, Reconfigure, SnapshotSource, Start, Transport};
use kabuki_plane::raft_group::RaftGroupArgs;
use std::collections::{BTreeMap, BTreeSet};
use std::io::copy;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Long enough for a busy machine; nobody waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Network {
    servers: Mutex<BTreeMap<u64, RaftHandle>>,
    /// From whom to whom nothing passes.
    cut: Mutex<BTreeSet<(u64, u64)>>,
    /// Of this many messages one is lost; 0: none.
    lose_one_in: AtomicU64,
    sent: AtomicU64,
    pub snapshots: AtomicU64,
}

struct Port {
    id: u64,
    network: Arc<Network>,
}

impl Network {
    pub fn cut(&self, from: &[u64], to: &[u64]) {
        let mut cut = self.cut.lock().expect("unpoisoned");
        for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))) {
            cut.insert((a, b));
            cut.insert((b, a));
        }
    }

    /// Nothing passes in this direction only.
    pub fn cut_one_way(&self, from: u64, to: u64) {
        self.cut.lock().expect("unpoisoned").insert((from, to));
    }

    pub fn heal(&self) {
        self.cut.lock().expect("unpoisoned").clear();
    }

    pub fn lose_one_in(&self, many: u64) {
        self.lose_one_in.store(many, Ordering::Relaxed);
    }

    fn passes(&self, from: u64, to: u64) -> bool {
        let many = self.lose_one_in.load(Ordering::Relaxed);
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        // Not every so manieth: traffic has a rhythm of its own, and always the same one would
        // be lost.
        let draw = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let lost = many != 0 && draw.is_multiple_of(many);
        !lost && !self.cut.lock().expect("unpoisoned").contains(&(from, to))
    }

    fn server(&self, id: u64) -> Option<RaftHandle> {
        self.servers.lock().expect("unpoisoned").get(&id).cloned()
    }

    /// As when a process ends: the connections to it break.
    fn leave(&self, id: u64) {
        let mut servers = self.servers.lock().expect("unpoisoned");
        servers.remove(&id);
        for (other, handle) in servers.iter() {
            if self.passes(id, *other) {
                let _ = handle.peer_lost(id);
            }
        }
    }
}

impl Transport for Port {
    fn send(&self, messages: Vec<Message>) {
        for message in messages {
            let to = message.to;
            let heard = self.network.passes(self.id, to)
                && self
                    .network
                    .server(to)
                    .is_some_and(|h| h.step(message).is_ok());
            if !heard && let Some(me) = self.network.server(self.id) {
                let _ = me.unreachable(to);
            }
        }
    }

    fn send_snapshot(&self, message: Message, mut source: SnapshotSource) {
        let (network, me) = (self.network.clone(), self.network.server(self.id));
        let passes = network.passes(self.id, message.to);
        network.snapshots.fetch_add(1, Ordering::Relaxed);
        std::thread::spawn(move || {
            let to = message.to;
            let arrived = network.server(to).filter(|_| passes).is_some_and(|other| {
                let path = other.incoming_snapshot();
                let mut file = std::fs::File::create(&path).expect("created");
                let copied = copy(&mut source.file, &mut file).expect("copied");
                assert_eq!(copied, source.bytes);
                other.receive_snapshot(message, path).is_ok()
            });
            if let Some(me) = me {
                let _ = me.snapshot_sent(to, arrived);
            }
        });
    }

    fn reconfigured(&self, _conf_state: &ConfState) {}
}

/// Servers 11, 12, 13, ... of which 11 founds the cluster.
pub struct Cluster {
    pub network: Arc<Network>,
    running: BTreeMap<u64, Arc<Running>>,
    directories: BTreeMap<u64, TempDir>,
    pub configure: fn(&mut RaftGroupArgs),
}

impl Cluster {
    /// `count` servers, all of them voters, with a leader.
    pub async fn of(count: u64) -> Self {
        Self::configured(count, |_| {}).await
    }

    pub async fn configured(count: u64, configure: fn(&mut RaftGroupArgs)) -> Self {
        let mut cluster = Self {
            network: Arc::default(),
            running: BTreeMap::new(),
            directories: BTreeMap::new(),
            configure,
        };
        for id in 11..11 + count {
            cluster.start(id).await;
        }
        let others: Vec<u64> = (12..11 + count).collect();
        if !others.is_empty() {
            cluster.leader().await;
            cluster.grow(&others).await;
        }
        cluster
    }

    /// Makes running servers voters.
    pub async fn grow(&self, ids: &[u64]) {
        let add = Reconfigure {
            add_learners: ids.to_vec(),
            ..Reconfigure::default()
        };
        self.reconfigure(add).await;
        let promote = Reconfigure {
            promote: ids.to_vec(),
            ..Reconfigure::default()
        };
        self.reconfigure(promote).await;
    }

    /// Changes the servers, through whoever leads.
    pub async fn reconfigure(&self, change: Reconfigure) {
        let leader = self.leader().await;
        let raft = &self.server(leader).group.raft;
        raft.reconfigure(change).await.expect("reconfigured");
    }

    pub fn directory(&self, id: u64) -> &Path {
        self.directories[&id].path()
    }

    pub fn args(&self, id: u64) -> RaftGroupArgs {
        let mut args = RaftGroupArgs::single(self.directory(id));
        args.raft.id = id;
        args.raft.disk_reserve_bytes = 1 << 20;
        args.raft.start = match id {
            11 => Start::Found,
            _ => Start::Join,
        };
        (self.configure)(&mut args);
        args.transport = Arc::new(Port {
            id,
            network: self.network.clone(),
        });
        args
    }

    pub async fn start(&mut self, id: u64) {
        let made = || tempfile::tempdir().expect("a directory");
        self.directories.entry(id).or_insert_with(made);
        let running = Running::start(self.args(id)).await.expect("it opens");
        let handle = running.group.raft.clone();
        self.network
            .servers
            .lock()
            .expect("unpoisoned")
            .insert(id, handle);
        self.running.insert(id, Arc::new(running));
    }

    /// Ends a server in an orderly way.
    pub async fn stop(&mut self, id: u64) {
        let running = self.running.remove(&id).expect("it runs");
        Running::stop_shared(running).await;
        self.network.leave(id);
    }

    /// Ends a server as a crash does: nothing it still does is heard by anybody, and it hands
    /// nothing over.
    pub async fn kill(&mut self, id: u64) {
        self.network.leave(id);
        let all: Vec<u64> = self.running.keys().copied().collect();
        let gate: Vec<u64> = all.into_iter().filter(|other| *other != id).collect();
        let before = self.network.cut.lock().expect("unpoisoned").clone();
        self.network.cut(&[id], &gate);
        let running = self.running.remove(&id).expect("it runs");
        Running::stop_shared(running).await;
        *self.network.cut.lock().expect("unpoisoned") = before;
    }

    /// Forgets everything that a stopped server had.
    pub fn empty(&mut self, id: u64) {
        self.directories.remove(&id);
    }

    pub fn server(&self, id: u64) -> &Arc<Running> {
        self.running.get(&id).expect("it runs")
    }

    pub fn ids(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    /// Waits until a server leads and a majority of those that run agrees.
    pub async fn leader(&self) -> u64 {
        self.leader_among(&self.ids()).await
    }

    pub async fn leader_among(&self, ids: &[u64]) -> u64 {
        until("a leader", || {
            let seen: Vec<_> = ids
                .iter()
                .map(|id| *self.server(*id).group.raft.leadership().borrow())
                .collect();
            let newest = seen.iter().map(|l| l.term).max()?;
            let leads =
                |(_, l): &(&u64, &kabuki_plane::raft::Leadership)| l.leading && l.term == newest;
            ids.iter().zip(&seen).find(leads).map(|(id, _)| *id)
        })
        .await
    }

    /// Waits until all of these servers have the same state, as far as `revision` at least.
    pub async fn agree(&self, ids: &[u64], revision: u64) {
        for id in ids {
            let raft = self.server(*id).group.raft.clone();
            let wait = raft.snapshot_at_least(revision);
            let waited = tokio::time::timeout(PATIENCE, wait).await;
            waited.unwrap_or_else(|_| panic!("server {id} is behind: {raft:?}"));
        }
    }

    /// Writes through whoever leads, again and again until it is acknowledged.
    pub async fn put(&self, name: &str, json: &str) -> u64 {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            for id in self.ids() {
                let server = self.server(id);
                let leading = server.group.raft.leadership().borrow().leading;
                if leading && let Ok(revision) = server.put(name, json).await {
                    return revision;
                }
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{}",
                self.describe()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn describe(&self) -> String {
        let statuses = self.running.values().map(|r| r.group.raft.status());
        format!("{:#?}", statuses.collect::<Vec<_>>())
    }
}

/// Waits until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
