//! Writing, reading, restarting.

use crate::support::{Running, key, put};
use kabuki_model::command::{Applied, Command, Expect, Op};
use kabuki_model::view::View as _;
use kabuki_plane::raft::RaftError;
use kabuki_plane::raft_group::RaftGroupArgs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_reads_its_own_write_and_a_restart_keeps_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::open(directory.path()).await;
    let first = running.put("web", "{\"a\":1}").await.expect("written");
    assert_eq!(running.read("web").as_deref(), Some("{\"a\":1}"));
    let second = running.put("web", "{\"a\":2}").await.expect("written");
    assert_eq!((first, second), (1, 2));
    running.stop().await;
    let running = Running::open(directory.path()).await;
    running.ready().await;
    assert_eq!(running.read("web").as_deref(), Some("{\"a\":2}"));
    assert_eq!(running.group.raft.snapshot().revision(), 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_come_back_as_the_store_says_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Running::open(directory.path()).await;
    running.put("web", "{}").await.expect("written");
    let mut command = put("web", "{}");
    command.ops[0] = Op::Require {
        key: key("web"),
        expect: Expect::Absent,
    };
    let refused = running.group.raft.propose(command).await.expect("answered");
    assert_eq!(
        refused,
        Applied::Refused {
            op: 0,
            key: key("web"),
            found: Some(1)
        }
    );
    let term = running.group.raft.status().leadership.term;
    let stale = Command {
        term: term - 1,
        ..put("web", "{}")
    };
    let stale = running.group.raft.propose(stale).await.expect("answered");
    assert_eq!(stale, Applied::StaleTerm { current: term });
    let large = "x".repeat(4 << 20);
    let too_large = running.put("web", &large).await.expect_err("too large");
    assert!(matches!(too_large, RaftError::TooLarge { bytes } if bytes > 4 << 20));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_and_service_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut args = RaftGroupArgs::single(directory.path());
    args.raft.disk_reserve_bytes = 0;
    args.raft.commands_in_flight = 8;
    let running = Arc::new(Running::start(args).await.expect("opens"));
    running.ready().await;
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let running = running.clone();
            tokio::spawn(async move { running.put(&format!("c{n}"), "{}").await })
        })
        .collect();
    let (mut written, mut refused) = (0, 0);
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(_) => written += 1,
            Err(RaftError::TooManyRequests) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(written + refused, 200);
    assert!(written >= 8);
    assert_eq!(running.group.raft.snapshot().len(), written);
    running.put("after", "{}").await.expect("service goes on");
    assert_eq!(running.group.raft.status().commands_in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_actor_may_be_killed_and_nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let running = Arc::new(Running::open(directory.path()).await);
    running.ready().await;
    for victim in ["raft-group/raft", "raft-group/wal", "raft-group/watch"] {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (running, stop) = (running.clone(), stop.clone());
                let acknowledged = acknowledged.clone();
                let victim = victim.replace('/', "-");
                tokio::spawn(async move {
                    let mut written = Vec::new();
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let name = format!("{victim}-{writer}-{n}");
                        match running.put(&name, "{}").await {
                            Ok(_) => {
                                acknowledged.fetch_add(1, Ordering::Relaxed);
                                written.push(name);
                            }
                            Err(RaftError::Interrupted) => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                    written
                })
            })
            .collect();
        let reach = |count: u64| {
            let acknowledged = acknowledged.clone();
            async move {
                while acknowledged.load(Ordering::Relaxed) < count {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
            }
        };
        reach(50).await;
        running.tree.kill(victim).expect("it runs");
        let now = acknowledged.load(Ordering::Relaxed);
        reach(now + 200).await;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            for name in writer.await.expect("no panic") {
                assert!(
                    running.read(&name).is_some(),
                    "{name} is lost after {victim} was killed"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_shorten_the_log_and_either_of_the_two_suffices() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut args = RaftGroupArgs::single(directory.path());
    args.raft.disk_reserve_bytes = 0;
    args.raft.snapshot_commands = 40;
    let running = Running::start(args.clone()).await.expect("opens");
    let mut newest = 0;
    let mut taken = 0;
    for n in 0.. {
        running
            .put(&format!("c{}", n % 30), &format!("{{\"n\":{n}}}"))
            .await
            .expect("written");
        let index = running.group.raft.status().snapshot_index;
        taken += u32::from(index != newest);
        newest = index;
        if taken >= 5 && n % 30 == 29 {
            break;
        }
    }
    let before = running.group.raft.snapshot();
    running.stop().await;
    let mut snapshots: Vec<_> = std::fs::read_dir(directory.path())
        .expect("listed")
        .map(|e| e.expect("listed").path())
        .filter(|p| p.display().to_string().contains("snapshot-"))
        .collect();
    snapshots.sort();
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    for without_newest in [false, true] {
        if without_newest {
            std::fs::remove_file(&snapshots[1]).expect("removed");
        }
        let running = Running::start(args.clone()).await.expect("opens");
        running.ready().await;
        let after = running.group.raft.snapshot();
        assert_eq!(after.revision(), before.revision());
        assert!(after.iter().eq(before.iter()));
        running.stop().await;
    }
}
