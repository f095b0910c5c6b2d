//! What the nodes of a cluster cost that do nothing: memory and processor time.

use kabuki_tests::figures::{Table, mib};
use kabuki_tests::harness::{Cluster, use_release};
use kabuki_tests::usage::{memory, used};
use std::time::{Duration, Instant};

/// What a start leaves to be done is done by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Long enough that a tenth of a percent shows.
const IDLE: Duration = Duration::from_secs(20);

fn main() {
    println!("{}", use_release().display());
    let cluster = Cluster::start(3, 1);
    let leader = cluster.leader();
    std::thread::sleep(SETTLE);
    let pids: Vec<u32> = cluster.nodes.iter().filter_map(|n| n.pid()).collect();
    let (begun, before) = (Instant::now(), pids.iter().map(|p| used(*p)));
    let before: Vec<Duration> = before.collect();
    std::thread::sleep(IDLE);
    let watched = begun.elapsed();
    let mut table = Table::new("an idle cluster of three servers and a worker");
    for (number, (pid, before)) in pids.iter().zip(before).enumerate() {
        let busy = used(*pid).saturating_sub(before).as_secs_f64() / watched.as_secs_f64();
        let (what, reach) = match number + 1 {
            4 => ("worker".to_string(), "20 MiB"),
            n if n == leader => (format!("server {n}, which leads"), ""),
            n => (format!("server {n}"), ""),
        };
        let of = memory(*pid);
        table.value(&format!("{what}: resident"), mib(of.resident), reach);
        table.value(&format!("{what}: private"), mib(of.private), "");
        let busy = format!("{:.3} % of a core", busy * 100.0);
        table.value(&format!("{what}: processor time"), busy, "");
    }
    table.print();
}
