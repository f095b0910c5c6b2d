//! A full disk: a small file system in a mount namespace of the test's own.

use crate::support::Running;
use kabuki_plane::raft::RaftError;
use kabuki_plane::raft_group::RaftGroupArgs;
use std::path::Path;
use std::process::Command;

const DIRECTORY: &str = "KABUKI_TEST_FULL_DIRECTORY";

/// Runs inside the namespace.
#[test]
fn inside() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for reserve in [2 << 20, 0] {
            fill_and_recover(directory.as_ref(), reserve).await;
        }
    });
}

/// With a reserve, writes are refused in time; without one, the log itself meets the end of the
/// disk, in the middle of a write.
async fn fill_and_recover(directory: &Path, reserve: u64) {
    let ballast = directory.join("ballast");
    let mut args = RaftGroupArgs::single(&directory.join(format!("state-{reserve}")));
    args.raft.disk_reserve_bytes = reserve;
    args.raft.propose_limit = std::time::Duration::from_millis(500);
    std::fs::write(&ballast, vec![1; 4 << 20]).expect("room for the ballast");
    let running = Running::start(args.clone()).await.expect("opens");
    let json = format!("\"{}\"", "x".repeat(100_000));
    let mut written = Vec::new();
    let refusal = loop {
        let name = format!("c{}", written.len());
        match running.put(&name, &json).await {
            Ok(_) => written.push(name),
            Err(refusal) => break refusal,
        }
        assert!(written.len() < 1000, "the disk is never full");
    };
    match reserve {
        0 => assert!(matches!(refusal, RaftError::Timeout { .. }), "{refusal}"),
        _ => assert!(matches!(refusal, RaftError::DiskFull { .. }), "{refusal}"),
    }
    assert!(running.group.raft.status().disk_full);
    assert!(written.iter().all(|name| running.read(name).is_some()));
    std::fs::remove_file(&ballast).expect("room again");
    loop {
        match running.put("after", &json).await {
            Ok(_) => break,
            Err(RaftError::DiskFull { .. } | RaftError::Timeout { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(!running.group.raft.status().disk_full);
    running.stop().await;
    let running = Running::start(args).await.expect("opens again");
    running.ready().await;
    written.push("after".to_string());
    for name in &written {
        assert_eq!(running.read(name).as_deref(), Some(json.as_str()), "{name}");
    }
    running.stop().await;
    std::fs::remove_dir_all(directory.join(format!("state-{reserve}"))).expect("removed");
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let script =
        "mount -t tmpfs -o size=16m tmpfs \"$0\" && exec \"$1\" --exact disk::inside --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(directory.path())
        .arg(std::env::current_exe().expect("this binary"))
        .env(DIRECTORY, directory.path())
        .output()
        .expect("unshare runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "{out}\n{err}");
}
