//! How long it takes to wire a pod to the node and to take it off again. Needs root; works in
//! network namespaces of its own. Prints, asserts nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use futures::future::join_all;
use kabuki_net::plan::{AddressPool, NetworkMode, Peer};
use kabuki_net::{AttachRequest, Netns, NetworkConfig, NodeNetwork};

const PODS: usize = 200;
const AT_ONCE: usize = 50;
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn main() {
    let Ok(netns) = Netns::create() else {
        println!("nothing was measured: this needs root");
        return;
    };
    netns
        .run_blocking(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(measure());
        })
        .expect("the benchmark failed");
}

async fn measure() {
    println!("a node alone");
    on_node(&[]).await;
    println!("with pods on another node, reached through VXLAN");
    let peer = Peer {
        name: "other".to_owned(),
        pod_cidr: "10.244.8.0/24".parse().expect("a CIDR"),
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
        mode: Some(NetworkMode::Vxlan),
    };
    on_node(&[peer]).await;
}

async fn on_node(peers: &[Peer]) {
    let block = |text: &str| text.parse().expect("a CIDR");
    let config = NetworkConfig::new(
        "kabuki0",
        "kabuki1",
        NODE,
        block("10.244.0.0/22"),
        block("10.244.0.0/16"),
    );
    let network = NodeNetwork::open(config).expect("open");
    let started = Instant::now();
    network.ensure().await.expect("ensure");
    println!(
        "ensure, from nothing      {:>8.3} ms",
        ms(started.elapsed())
    );
    // The node's address must be one of its own.
    network.hold_local(&[NODE]).await.expect("an address");
    let failures = network.set_peers(peers).await.expect("peers");
    assert!(failures.is_empty(), "{failures:?}");
    let mut pool = network.adopt_pool().await.expect("pool");

    let mut attach = Vec::new();
    let mut detach = Vec::new();
    for i in 0..PODS {
        let netns = Netns::create().expect("namespace");
        let address = pool.allocate().expect("address");
        let started = Instant::now();
        attach_one(&network, i, netns.clone(), address).await;
        attach.push(started.elapsed());
        let started = Instant::now();
        network.detach(&uid(i)).await.expect("detach");
        detach.push(started.elapsed());
        pool.release(address);
    }
    report("attach, one at a time", &mut attach);
    report("detach, one at a time", &mut detach);

    let mut rounds = Vec::new();
    let mut removals = Vec::new();
    for round in 0..10 {
        let mut pods = Vec::new();
        for i in 0..AT_ONCE {
            let address = pool.allocate().expect("address");
            pods.push((i, Netns::create().expect("namespace"), address));
        }
        let started = Instant::now();
        join_all(pods.iter().map(|(i, netns, address)| {
            attach_one(&network, round * AT_ONCE + i, netns.clone(), *address)
        }))
        .await;
        rounds.push(started.elapsed());
        let uids: Vec<String> = (0..AT_ONCE).map(|i| uid(round * AT_ONCE + i)).collect();
        let started = Instant::now();
        join_all(uids.iter().map(|uid| network.detach(uid))).await;
        removals.push(started.elapsed());
        assert!(network.attached().await.expect("list").is_empty());
    }
    report("attach of 50 at once, all", &mut rounds);
    report("detach of 50 at once, all", &mut removals);
    attach_beside_detach(&network, &mut pool).await;
    network.reset().await.expect("reset");
}

/// Removals must not hold up those who come: a rolling update does both at once.
async fn attach_beside_detach(network: &NodeNetwork, pool: &mut AddressPool) {
    let mut times = Vec::new();
    let mut old = Vec::new();
    for i in 0..AT_ONCE {
        let netns = Netns::create().expect("namespace");
        let address = pool.allocate().expect("address");
        attach_one(network, i, netns.clone(), address).await;
        old.push((uid(i), netns));
    }
    let leave = async {
        for (uid, _) in &old {
            network.detach(uid).await.expect("detach");
        }
    };
    let come = async {
        for i in AT_ONCE..2 * AT_ONCE {
            let netns = Netns::create().expect("namespace");
            let address = pool.allocate().expect("address");
            let started = Instant::now();
            attach_one(network, i, netns, address).await;
            times.push(started.elapsed());
        }
    };
    tokio::join!(leave, come);
    report("attach beside detaches", &mut times);
}

async fn attach_one(network: &NodeNetwork, i: usize, netns: Netns, address: IpAddr) {
    let request = AttachRequest {
        pod_uid: uid(i),
        netns,
        address,
    };
    network.attach(request).await.expect("attach");
}

fn uid(i: usize) -> String {
    format!("00000000-0000-4000-8000-{i:012}")
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!(
        "{what:<26}p50 {:>8.3} ms   p99 {:>8.3} ms",
        ms(at(0.5)),
        ms(at(0.99))
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
