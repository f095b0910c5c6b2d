//! Servers that keep their processors from halting while writes follow each other closely.

use super::{LIMIT, Writer, assert_kept};
use kabuki_tests::harness::{Cluster, Daemon, address, until};
use std::path::Path;

const DEVICE: &str = "/dev/cpu_dma_latency";

/// Whether the daemon asks the kernel for that.
fn keeps_awake(node: &Daemon) -> bool {
    let pid = node.pid().expect("it runs");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let mut open = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    open.any(|path| path == Path::new(DEVICE))
}

#[test]
fn servers_keep_processors_awake_while_there_is_much_to_write() {
    assert!(
        Path::new(DEVICE).exists(),
        "{DEVICE} is missing: this kernel knows no idle states"
    );
    let mut cluster = Cluster::found();
    for flags in [["--keep-awake", "never"], ["--keep-awake", "busy"]] {
        let token = cluster.token(&["--role", "server"]);
        let joining = ["--join", &address(1), "--token", &token];
        cluster.add(&[&joining[..], &flags[..]].concat());
    }
    cluster.wait_voters(3);
    let (busy, never) = ([1, 3], 2);
    let leader = cluster.leader();
    let writers = ["a", "b", "c"].map(|name| Writer::start(&cluster, &[leader], name));
    until("both are kept awake", LIMIT, || {
        let all = busy.iter().all(|n| keeps_awake(cluster.node(*n)));
        all.then_some(())
    });
    assert!(!keeps_awake(cluster.node(never)), "it was told not to");
    for writer in writers {
        assert_kept(&cluster, &writer.stop(), &[1, 2, 3]);
    }
    until("nobody is kept awake", LIMIT, || {
        let none = busy.iter().all(|n| !keeps_awake(cluster.node(*n)));
        none.then_some(())
    });
}
