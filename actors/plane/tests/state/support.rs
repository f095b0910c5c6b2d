//! A raft group in a directory of its own.

use bytes::Bytes;
use kabuki_kit::{Root, Tree};
use kabuki_model::command::{Applied, Command, Expect, Op};
use kabuki_model::{ObjectKey, Resource};
use kabuki_plane::raft::RaftError;
use kabuki_plane::raft_group::{RaftGroup, RaftGroupArgs, start_raft_group};
use std::path::Path;
use std::time::Duration;

pub struct Running {
    pub tree: Tree,
    pub group: RaftGroup,
    root: Root,
}

impl Running {
    pub async fn start(args: RaftGroupArgs) -> Result<Self, String> {
        let tree = Tree::new();
        let started = start_raft_group(&tree, args).await;
        let (group, root) = started.map_err(|e| e.to_string())?;
        Ok(Self { tree, group, root })
    }

    pub async fn open(directory: &Path) -> Self {
        let mut args = RaftGroupArgs::single(directory);
        // The tests run where room may be scarce.
        args.raft.disk_reserve_bytes = 1 << 20;
        Self::start(args).await.expect("the state opens")
    }

    /// Waits until writes are possible, which means that everything was replayed.
    pub async fn ready(&self) {
        let mut leadership = self.group.raft.leadership();
        leadership.wait_for(|l| l.leading).await.expect("it leads");
    }

    pub async fn stop(self) {
        self.root
            .stop(Duration::from_secs(20))
            .await
            .expect("it stops");
    }

    /// Stops a group that tasks may still hold handles of.
    pub async fn stop_shared(running: std::sync::Arc<Self>) {
        let mut running = running;
        loop {
            match std::sync::Arc::try_unwrap(running) {
                Ok(alone) => return alone.stop().await,
                Err(shared) => running = shared,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn put(&self, name: &str, json: &str) -> Result<u64, RaftError> {
        match self.group.raft.propose(put(name, json)).await? {
            Applied::Committed(changes) => Ok(changes[0].revision()),
            other => panic!("{other:?}"),
        }
    }

    pub fn read(&self, name: &str) -> Option<String> {
        let snapshot = self.group.raft.snapshot();
        let object = kabuki_model::view::View::get(&snapshot, &key(name))?;
        Some(String::from_utf8_lossy(&object.json).into_owned())
    }
}

pub fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, "default", name)
}

pub fn put(name: &str, json: &str) -> Command {
    let json = Bytes::copy_from_slice(json.as_bytes());
    let op = Op::Put {
        key: key(name),
        uid: "u".into(),
        json,
        expect: Expect::Any,
    };
    Command {
        term: 0,
        ops: vec![op],
    }
}

pub fn delete(name: &str) -> Command {
    let op = Op::Delete {
        key: key(name),
        expect: Expect::Present,
    };
    Command {
        term: 0,
        ops: vec![op],
    }
}

/// A config map with a label.
pub fn labelled(label: &str) -> String {
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"labels\":{{\"app\":\"{label}\"}}}}}}"
    )
}
