//! Rounds of random faults, under writes.

use super::{Writer, assert_kept, pods, wait_web, web};
use kabuki_tests::harness::{Cluster, Way, address};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::process::Command;
use std::time::Duration;

const SERVERS: usize = 3;
const NODES: usize = 5;
const REPLICAS: usize = 6;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// `KABUKI_FAULTS` rounds (5 unless set), of the seed `KABUKI_SEED` (a new one unless set).
#[test]
fn nothing_is_lost_or_restarted_in_a_storm_of_faults() {
    let rounds = number("KABUKI_FAULTS").unwrap_or(5);
    let seed = number("KABUKI_SEED").unwrap_or_else(rand::random);
    println!("{rounds} rounds of faults: KABUKI_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(SERVERS, NODES - SERVERS);
    cluster.node(1).apply(&web(REPLICAS));
    wait_web(&cluster, REPLICAS);
    let before = pods(&cluster, 1);
    let writer = Writer::start(&cluster, &[1, 2, 3], "note");
    for round in 1..=rounds {
        writer.wait_more(5, &cluster);
        let what = fault(&mut cluster, &mut random, &writer);
        println!("round {round}: {what}");
        for number in 1..=SERVERS {
            cluster.node_mut(number).wait_answering();
        }
    }
    writer.wait_more(5, &cluster);
    let acknowledged = writer.stop();
    cluster.wait_voters(SERVERS);
    assert_kept(&cluster, &acknowledged, &[1, 2, 3]);
    cluster.wait_ready();
    wait_web(&cluster, REPLICAS);
    assert_eq!(before, pods(&cluster, 1), "no pod was touched; seed {seed}");
    println!("{} writes were acknowledged", acknowledged.len());
}

/// One fault, from its beginning to its end; says what it was. It is shorter than what a pod
/// tolerates of its node.
fn fault(cluster: &mut Cluster, random: &mut StdRng, writer: &Writer) -> String {
    let victim = random.random_range(1..=NODES);
    match random.random_range(0..5) {
        0 => {
            cluster.node_mut(victim).kill();
            if random.random() {
                writer.wait_more(5, cluster);
            }
            cluster.node_mut(victim).launch();
            format!("n{victim} was killed")
        }
        1 => {
            let other = (victim + random.random_range(0..NODES - 1)) % NODES + 1;
            let way = [Way::From, Way::To, Way::Both][random.random_range(0..3)];
            cluster.node(victim).host().cut(way, &address(other));
            writer.wait_more(10, cluster);
            cluster.node(victim).host().mend();
            format!("n{victim} was cut off ({way:?}) n{other}")
        }
        2 => {
            cluster.network.plug(victim, false);
            writer.wait_more(10, cluster);
            cluster.network.plug(victim, true);
            format!("n{victim} was unplugged")
        }
        3 => {
            let server = random.random_range(1..=SERVERS);
            let pause = Duration::from_millis(random.random_range(1000..3000));
            let pid = cluster.node(server).pid().expect("it runs").to_string();
            let signal = |name: &str| {
                let sent = Command::new("kill").args([name, &pid]).status();
                assert!(sent.is_ok_and(|s| s.success()), "cannot signal n{server}");
            };
            signal("-STOP");
            std::thread::sleep(pause);
            signal("-CONT");
            format!("n{server} was paused for {pause:?}")
        }
        _ => {
            for node in 1..=NODES {
                assert!(cluster.node_mut(node).terminate().success());
                cluster.node_mut(node).launch();
                if node <= SERVERS {
                    cluster.node_mut(node).wait_answering();
                }
            }
            "every node was restarted, one after the other".to_string()
        }
    }
}
