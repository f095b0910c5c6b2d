//! What this host offers to the network of a node, found by trying it in a namespace that
//! exists for the trial only. Nothing of the host itself is changed.

use std::fs;
use std::net::Ipv4Addr;

use rtnetlink::{Handle, LinkBridge, LinkVeth, LinkVxlan};

use crate::filter::Filter;
use crate::node::LENIENT;
use crate::plan::{Cidr, CidrError, node_rules};
use crate::route::{Routes, Side, to_io};
use crate::shortcut::{Places, Shortcuts};
use crate::{NetError, Netns, sysctl};

/// One thing that a host may or may not offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was tried.
    pub name: &'static str,
    /// Whether it worked.
    pub ok: bool,
    /// What was seen: the kernel's error, or what was made.
    pub detail: String,
    /// What is lost where it does not work.
    pub cost: &'static str,
}

/// How one trial went: what was seen, either way.
type Outcome = Result<String, String>;

const NETNS: (&str, &str) = (
    "network namespaces",
    "pods cannot run: each needs a network namespace of its own",
);
const BRIDGE: (&str, &str) = ("bridge", "pods have no network");
const VETH: (&str, &str) = ("veth", "pods have no network");
const NFTABLES: (&str, &str) = (
    "nftables",
    "pods cannot reach anything outside the cluster, and services do not work",
);
const FORWARDING: (&str, &str) = (
    "ip forwarding",
    "pods reach neither each other nor anything outside",
);
const VXLAN: (&str, &str) = (
    "vxlan",
    "pods on different nodes reach each other only where the nodes share a segment",
);
const BPF: (&str, &str) = (
    "bpf",
    "packets between nodes take the longer way: about a tenth less throughput",
);
const IPV6: (&str, &str) = ("ipv6", "pods cannot use IPv6");

/// Tries everything, in a fraction of a second. Never fails: what cannot be tried is reported
/// as not working, with the reason.
pub async fn check() -> Vec<Probe> {
    let tried = match tokio::task::spawn_blocking(Netns::create).await {
        Ok(Ok(netns)) => netns.run(try_all).await.map_err(|e| e.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match tried {
        Ok(probes) => probes,
        Err(reason) => {
            let untried = Err(format!("not tried: {reason}"));
            let mut probes = vec![probe(NETNS, Err(reason))];
            for what in [BRIDGE, VETH, NFTABLES, FORWARDING, VXLAN, BPF, IPV6] {
                probes.push(probe(what, untried.clone()));
            }
            probes
        }
    }
}

/// Runs inside the trial namespace, on a thread of its own.
fn try_all() -> Vec<Probe> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build();
    let ((bridge, veth, vxlan, nftables), bpf) = match runtime {
        Ok(runtime) => runtime.block_on(async {
            let tried = try_netlink().await;
            // On what was made there.
            (tried, try_bpf().await)
        }),
        Err(error) => {
            let failed: Outcome = Err(format!("not tried: {error}"));
            let four = (
                failed.clone(),
                failed.clone(),
                failed.clone(),
                failed.clone(),
            );
            (four, failed)
        }
    };
    vec![
        probe(NETNS, Ok("made one".to_owned())),
        probe(BRIDGE, bridge),
        probe(VETH, veth),
        probe(NFTABLES, nftables),
        probe(FORWARDING, try_forwarding()),
        probe(VXLAN, vxlan),
        probe(BPF, bpf),
        probe(IPV6, try_ipv6()),
    ]
}

async fn try_netlink() -> (Outcome, Outcome, Outcome, Outcome) {
    let nftables = try_nftables().await;
    let (connection, handle, _) = match rtnetlink::new_connection() {
        Ok(opened) => opened,
        Err(error) => {
            let failed: Outcome = Err(format!("no netlink socket: {error}"));
            return (failed.clone(), failed.clone(), failed, nftables);
        }
    };
    tokio::spawn(connection);
    let bridge = made(&handle, LinkBridge::new("try-bridge").build()).await;
    let veth = made(&handle, LinkVeth::new("try-veth", "try-veth-peer").build()).await;
    // The port and network number that VXLAN has by its RFC and by Linux' example.
    let overlay = LinkVxlan::new("try-vxlan", 1)
        .local(Ipv4Addr::LOCALHOST)
        .port(4789)
        .build();
    let vxlan = made(&handle, overlay).await;
    (bridge, veth, vxlan, nftables)
}

async fn made(handle: &Handle, link: rtnetlink::packet_route::link::LinkMessage) -> Outcome {
    match handle.link().add(link).execute().await {
        Ok(()) => Ok("made one".to_owned()),
        Err(error) => Err(to_io(error).to_string()),
    }
}

/// Writes the very rules that a node needs, and takes them away.
async fn try_nftables() -> Outcome {
    let attempt = async {
        let filter = Filter::open(&Netns::current()?)?;
        if let (Ok(pods), Ok(cluster)) = (try_block(24), try_block(16)) {
            let rules = node_rules("try-bridge", pods, cluster);
            filter.write(&rules).await?;
            filter.remove(&rules.table).await?;
        }
        Ok::<(), NetError>(())
    };
    match attempt.await {
        Ok(()) => Ok("wrote and removed a table with masquerading".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Pods of the trial: their addresses are never used.
fn try_block(prefix_len: u8) -> Result<Cidr, CidrError> {
    Cidr::containing(Ipv4Addr::new(10, 244, 0, 0).into(), prefix_len)
}

/// Loads the very programs that a node needs, and hangs one where a pod's link would be.
async fn try_bpf() -> Outcome {
    let attempt = async {
        sysctl::ensure(LENIENT.0, LENIENT.1)?;
        let routes = Routes::open()?;
        let name = "try-veth";
        let link = routes.link(name).await?;
        let link = link.ok_or_else(|| NetError::NoInterface {
            interface: name.to_owned(),
        })?;
        let (Ok(own), Ok(cluster)) = (try_block(24), try_block(16)) else {
            return Ok(());
        };
        let shortcuts = Shortcuts::load(Places {
            overlay: link.index,
            bridge: link.index,
            mtu: link.mtu,
            cluster,
            own,
        });
        let shortcuts = shortcuts.map_err(|source| NetError::ShortWay { source })?;
        let program = &shortcuts.from_pod;
        routes.hang(link.index, Side::In, "try", program).await
    };
    match attempt.await {
        Ok(()) => Ok("loaded the programs of the short way and hung one on a link".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn try_forwarding() -> Outcome {
    match sysctl::ensure("net/ipv4/ip_forward", "1") {
        Ok(()) => Ok("can be turned on".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn try_ipv6() -> Outcome {
    let key = "net/ipv6/conf/all/disable_ipv6";
    match fs::read_to_string(sysctl::path_of(key)) {
        Ok(value) if value.trim_end() == "0" => Ok("on".to_owned()),
        Ok(_) => Err(format!("turned off by {key}")),
        Err(error) => Err(format!("the kernel has none ({error})")),
    }
}

fn probe((name, cost): (&'static str, &'static str), outcome: Outcome) -> Probe {
    let ok = outcome.is_ok();
    let (Ok(detail) | Err(detail)) = outcome;
    Probe {
        name,
        ok,
        detail,
        cost,
    }
}
