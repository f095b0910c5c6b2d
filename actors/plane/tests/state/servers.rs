//! Several servers in one process, with a transport that only passes pointers.

use crate::support::{Running, put};
use kabuki_model::command::Applied;
use kabuki_model::view::View as _;
use kabuki_plane::raft::{RaftHandle, Transport};
use kabuki_plane::raft_group::RaftGroupArgs;
use raft::eraftpb::{ConfState, Message};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Who can be reached.
#[derive(Clone, Default)]
struct Net {
    handles: Arc<Mutex<BTreeMap<u64, RaftHandle>>>,
}

impl Transport for Net {
    fn send(&self, messages: Vec<Message>) {
        let handles = self.handles.lock().expect("no panic");
        for message in messages {
            let (from, to) = (message.from, message.to);
            if let Some(handle) = handles.get(&to) {
                let _ = handle.step(message);
            } else if let Some(sender) = handles.get(&from) {
                let _ = sender.unreachable(to);
            }
        }
    }

    fn reconfigured(&self, conf_state: &ConfState) {
        assert_eq!(conf_state.voters, [1, 2, 3]);
    }
}

async fn server(root: &Path, id: u64, net: &Net) -> Running {
    let mut args = RaftGroupArgs::single(&root.join(format!("server-{id}")));
    args.raft.id = id;
    args.raft.voters = vec![1, 2, 3];
    args.raft.disk_reserve_bytes = 0;
    args.raft.snapshot_commands = 100;
    args.transport = Arc::new(net.clone());
    let running = Running::start(args).await.expect("opens");
    net.handles
        .lock()
        .expect("no panic")
        .insert(id, running.group.raft.clone());
    running
}

/// Writes through whoever leads; returns who that was.
async fn write(servers: &BTreeMap<u64, Running>, name: &str) -> u64 {
    let mut rounds = 0;
    loop {
        rounds += 1;
        if rounds % 600 == 0 { for s in servers.values() { eprintln!("mark write {name} {:?}", s.group.raft.status()); } }
        for (id, server) in servers {
            if !server.group.raft.status().leadership.leading {
                continue;
            }
            if let Ok(Applied::Committed(_)) = server.group.raft.propose(put(name, "{}")).await {
                return *id;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn same(servers: &BTreeMap<u64, Running>, name: &str) {
    for server in servers.values() {
        let mut rounds = 0;
        while server.read(name).is_none() {
            rounds += 1;
            if rounds % 600 == 0 { for s in servers.values() { eprintln!("mark same {name} {:?}", s.group.raft.status()); } }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let states: Vec<_> = servers.values().map(|s| s.group.raft.snapshot()).collect();
    for state in &states {
        assert_eq!(state.revision(), states[0].revision());
        assert!(state.iter().eq(states[0].iter()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_agree_and_one_that_fell_behind_catches_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let net = Net::default();
    let mut servers = BTreeMap::new();
    for id in 1..=3 {
        servers.insert(id, server(directory.path(), id, &net).await);
    }
    let leader = write(&servers, "first").await;
    same(&servers, "first").await;
    // The leader goes; the others go on, further than the log reaches back.
    net.handles.lock().expect("no panic").remove(&leader);
    servers.remove(&leader).expect("it runs").stop().await;
    for n in 0..600 {
        write(&servers, &format!("c{n}")).await;
    }
    let others = servers.values();
    assert!(
        others
            .clone()
            .all(|s| s.group.raft.status().snapshot_index > 100)
    );
    servers.insert(leader, server(directory.path(), leader, &net).await);
    write(&servers, "last").await;
    same(&servers, "last").await;
    assert!(
        servers[&leader].group.raft.status().snapshot_index > 100,
        "by a snapshot"
    );
    // What it has on disk is enough for it to start again.
    net.handles.lock().expect("no panic").remove(&leader);
    servers.remove(&leader).expect("it runs").stop().await;
    servers.insert(leader, server(directory.path(), leader, &net).await);
    write(&servers, "again").await;
    same(&servers, "again").await;
    for (_, server) in servers {
        server.stop().await;
    }
}
