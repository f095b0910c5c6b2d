//! `kill -9` at any moment: this test binary runs itself as the victim.

use crate::support::Running;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

const DIRECTORY: &str = "KABUKI_TEST_CRASH_DIRECTORY";
const ROUND: &str = "KABUKI_TEST_CRASH_ROUND";

/// The victim: writes until it is killed and says what was acknowledged.
#[test]
fn victim() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let round = std::env::var(ROUND).expect("a round");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut args = kabuki_plane::raft_group::RaftGroupArgs::single(directory.as_ref());
        args.raft.disk_reserve_bytes = 0;
        args.raft.snapshot_commands = 500;
        let running = Arc::new(Running::start(args).await.expect("opens"));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (running, round) = (running.clone(), round.clone());
                tokio::spawn(async move {
                    for n in 0.. {
                        let name = format!("c{writer}-{}", n % 50);
                        let json = format!("{{\"round\":{round},\"n\":{n}}}");
                        running.put(&name, &json).await.expect("written");
                        let line = format!("acknowledged {name} {json}\n");
                        std::io::stdout().write_all(line.as_bytes()).expect("said");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("runs until it is killed");
        }
    });
}

/// Which write of an object it was: later rounds and numbers come later.
fn order(json: &str) -> (u64, u64) {
    let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
    (
        value["round"].as_u64().expect("a round"),
        value["n"].as_u64().expect("a number"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_at_any_moment() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    // Where in the run the kill comes: from within the opening to within a snapshot.
    for (round, lines) in [1, 700, 0, 40, 1600, 333, 5, 2500, 90, 1111]
        .into_iter()
        .enumerate()
    {
        let mut victim = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "crash::victim", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut output = BufReader::new(victim.stdout.take().expect("piped")).lines();
        let mut said: Vec<String> = Vec::new();
        while said
            .iter()
            .filter(|l| l.starts_with("acknowledged"))
            .count()
            < lines
        {
            said.push(output.next().expect("it runs").expect("it writes lines"));
        }
        victim.kill().expect("killed");
        victim.wait().expect("gone");
        // What it said before the kill counts too.
        said.extend(output.map_while(Result::ok));
        for line in said {
            let mut words = line.split_whitespace();
            if let (Some("acknowledged"), Some(name), Some(json), None) =
                (words.next(), words.next(), words.next(), words.next())
                && json.ends_with('}')
            {
                acknowledged.insert(name.to_string(), json.to_string());
            }
        }
        let running = Running::open(directory.path()).await;
        running.ready().await;
        for (name, json) in &acknowledged {
            let found = running
                .read(name)
                .unwrap_or_else(|| panic!("{name} is lost"));
            assert!(
                order(&found) >= order(json),
                "{name} is {found}, acknowledged was {json}"
            );
        }
        running.stop().await;
    }
    assert!(acknowledged.len() > 300);
}
