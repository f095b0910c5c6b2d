//! Attaching, detaching, adopting and removing.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use kabuki_net::plan::{Alias, host_interface_name, stale_pods};
use kabuki_net::{NetError, Netns, NodeNetwork, check};
use nlink::netlink::nftables::{BaseChain, Chain, Family, FilterHook, Policy, Priority, Rule};
use nlink::netlink::{Connection, Nftables};
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{LinkMessageBuilder, LinkVeth};

use crate::world::{
    Node, PATIENCE, block, config, exchange, in_netns, in_other, ip, link_index, listen, on_node,
    request, route_handle,
};

#[test]
fn fifty_pods_are_attached_at_once() {
    on_node(|node| async move {
        let pods = join_all((0..50).map(|i| {
            let node = &node;
            async move { node.pod(&format!("10.244.3.{}", 2 + i)).await }
        }))
        .await;
        let attached = node.network.attached().await.unwrap();
        assert_eq!(attached.len(), 50);
        let names: HashSet<_> = attached.iter().map(|a| &a.host_interface).collect();
        assert_eq!(names.len(), 50);
        for (first, second) in pods.iter().zip(pods.iter().skip(1)) {
            let to = SocketAddr::new(second.address(), 80);
            let listener = listen(&second.netns, to).await;
            let seen = exchange(&first.netns, &listener, to).await;
            assert_eq!(seen.ip(), first.address());
        }
    });
}

#[test]
fn a_repeated_attach_replaces_what_is_there() {
    on_node(|node| async move {
        let netns = Netns::create().unwrap();
        let wanted = request("pod-a", &netns, "10.244.3.2");
        let first = node.network.attach(wanted.clone()).await.unwrap();
        let second = node.network.attach(wanted).await.unwrap();
        assert_eq!(first, second);
        assert_eq!(node.network.attached().await.unwrap().len(), 1);

        // The same pod in a new sandbox, with another address.
        let sandbox = Netns::create().unwrap();
        let moved = request("pod-a", &sandbox, "10.244.3.9");
        node.network.attach(moved).await.unwrap();
        let attached = node.network.attached().await.unwrap();
        assert_eq!(attached.len(), 1);
        assert_eq!(attached[0].address, Some(ip("10.244.3.9")));
        let to = SocketAddr::new(ip("10.244.3.9"), 80);
        let listener = listen(&sandbox, to).await;
        exchange(&Netns::current().unwrap(), &listener, to).await;
    });
}

#[test]
fn a_link_cut_short_is_listed_replaced_and_swept() {
    on_node(|node| async move {
        add_port(&node, &host_interface_name("pod-a", 0), None).await;
        let attached = node.network.attached().await.unwrap();
        assert_eq!(attached.len(), 1);
        assert_eq!(attached[0].pod_uid, None);
        let netns = Netns::create().unwrap();
        let wanted = request("pod-a", &netns, "10.244.3.2");
        node.network.attach(wanted).await.unwrap();
        let attached = node.network.attached().await.unwrap();
        assert_eq!(attached[0].pod_uid.as_deref(), Some("pod-a"));

        let leftover = host_interface_name("pod-b", 0);
        add_port(&node, &leftover, None).await;
        assert!(node.network.remove_interface(&leftover).await.unwrap());
        assert!(!node.network.remove_interface(&leftover).await.unwrap());
        let error = node.network.remove_interface("lo").await.unwrap_err();
        assert!(error.to_string().contains("interface lo"), "{error}");
    });
}

#[test]
fn a_name_that_is_another_pods_is_not_taken_from_it() {
    on_node(|node| async move {
        let name = host_interface_name("pod-a", 0);
        let other = Alias {
            pod_uid: "pod-z".to_owned(),
            address: ip("10.244.3.77"),
        };
        add_port(&node, &name, Some(other.to_string())).await;
        let netns = Netns::create().unwrap();
        let wanted = request("pod-a", &netns, "10.244.3.2");
        let attachment = node.network.attach(wanted).await.unwrap();
        assert_eq!(attachment.host_interface, host_interface_name("pod-a", 1));
        assert!(node.network.detach("pod-a").await.unwrap());
        let attached = node.network.attached().await.unwrap();
        assert_eq!(attached.len(), 1);
        assert_eq!(attached[0].pod_uid.as_deref(), Some("pod-z"));
    });
}

#[test]
fn a_foreign_eth0_is_left_alone_and_nothing_is_left_behind() {
    on_node(|node| async move {
        let netns = Netns::create().unwrap();
        in_other(&netns, || async {
            let foreign = LinkVeth::new("eth0", "eth1").build();
            route_handle().link().add(foreign).execute().await.unwrap();
        })
        .await;
        let before = node.interfaces().await;
        let wanted = request("pod-a", &netns, "10.244.3.2");
        let error = node.network.attach(wanted).await.unwrap_err();
        assert!(error.to_string().contains("eth0 in "), "{error}");
        assert_eq!(node.interfaces().await, before);
    });
}

#[test]
fn what_cannot_be_attached_is_refused_by_name() {
    on_node(|node| async move {
        let netns = Netns::create().unwrap();
        for address in ["10.244.4.2", "10.244.3.1", "fd00::1"] {
            let error = node.network.attach(request("pod-a", &netns, address)).await;
            let error = error.unwrap_err();
            assert!(matches!(error, NetError::AddressOutside { .. }), "{error}");
            assert!(error.to_string().contains(address), "{error}");
        }
        for uid in ["", "a b", "a\nb"] {
            let error = node
                .network
                .attach(request(uid, &netns, "10.244.3.2"))
                .await;
            assert!(matches!(error, Err(NetError::PodUid(_))));
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        let not_a_namespace = Netns::from_fd(file.into(), "/dev/null");
        let before = node.interfaces().await;
        let wanted = request("pod-a", &not_a_namespace, "10.244.3.2");
        assert!(node.network.attach(wanted).await.is_err());
        assert_eq!(node.interfaces().await, before);
        let error = Netns::open("/run/netns/no-such-pod").unwrap_err();
        assert!(error.to_string().contains("no-such-pod"), "{error}");
    });
}

#[test]
fn detaching_is_complete_and_repeatable() {
    on_node(|node| async move {
        let before = node.interfaces().await;
        let pod = node.pod("10.244.3.2").await;
        assert!(node.network.detach("pod-10.244.3.2").await.unwrap());
        assert!(!node.network.detach("pod-10.244.3.2").await.unwrap());
        assert_eq!(node.interfaces().await, before);
        let index = in_pod_has_eth0(&pod.netns).await;
        assert!(!index);
    });
}

#[test]
fn a_restarted_daemon_adopts_links_and_addresses() {
    on_node(|node| async move {
        let _a = node.pod("10.244.3.2").await;
        let _b = node.pod("10.244.3.7").await;
        let restarted = NodeNetwork::open(config()).unwrap();
        // Before and after it has ensured the bridge.
        assert_eq!(restarted.attached().await.unwrap().len(), 2);
        restarted.ensure().await.unwrap();
        let attached = restarted.attached().await.unwrap();
        let uids: Vec<&str> = attached
            .iter()
            .filter_map(|a| a.pod_uid.as_deref())
            .collect();
        assert_eq!(uids.len(), 2);
        let wanted = BTreeSet::from(["pod-10.244.3.7".to_owned()]);
        assert_eq!(stale_pods(uids, &wanted), ["pod-10.244.3.2"]);
        let mut pool = restarted.adopt_pool().await.unwrap();
        assert_eq!(pool.in_use(), 2);
        assert_eq!(pool.allocate().unwrap(), ip("10.244.3.8"));
    });
}

#[test]
fn reset_leaves_nothing_and_touches_no_foreign_table() {
    in_netns(|| async {
        let filter = Connection::<Nftables>::new().unwrap();
        let chain = Chain::new("foreign", "forward").unwrap();
        let hook = BaseChain::filter(FilterHook::Forward, Priority::Filter);
        let rule = Rule::new("foreign", "forward").family(Family::Inet);
        filter
            .transaction()
            .add_table("foreign", Family::Inet)
            .add_chain(chain.family(Family::Inet).base(hook.policy(Policy::Accept)))
            .add_rule(rule.match_tcp_dport(22).accept())
            .commit(&filter)
            .await
            .unwrap();
        let foreign = filter.list_rules("foreign", Family::Inet).await.unwrap();
        assert_eq!(foreign.len(), 1);

        let node = Node {
            network: NodeNetwork::open(config()).unwrap(),
            handle: route_handle(),
        };
        let interfaces = node.interfaces().await;
        node.network.ensure().await.unwrap();
        let pods = [node.pod("10.244.3.2").await, node.pod("10.244.3.3").await];
        assert_eq!(node.interfaces().await.len(), interfaces.len() + 3);

        node.network.reset().await.unwrap();
        node.network.reset().await.unwrap();
        assert_eq!(node.interfaces().await, interfaces);
        let tables = filter.list_tables().await.unwrap();
        let names: Vec<_> = tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(names, ["foreign"]);
        let after = filter.list_rules("foreign", Family::Inet).await.unwrap();
        assert_eq!(after.len(), 1);
        assert_eq!(after[0].handle, foreign[0].handle);
        for pod in pods {
            assert!(!in_pod_has_eth0(&pod.netns).await);
        }
        // And it can begin again.
        node.network.ensure().await.unwrap();
        node.pod("10.244.3.2").await;
    });
}

#[test]
fn a_network_that_is_dropped_leaves_no_thread() {
    in_netns(|| async {
        let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let threads = || {
            let tasks = std::fs::read_dir("/proc/self/task").unwrap();
            // A thread that ends while it is looked at has no namespace to show.
            let namespaces =
                tasks.filter_map(|t| std::fs::read_link(t.ok()?.path().join("ns/net")).ok());
            namespaces.filter(|namespace| *namespace == here).count()
        };
        let network = NodeNetwork::open(config()).unwrap();
        network.ensure().await.unwrap();
        assert!(threads() >= 3, "its two and this one");
        drop(network);
        tokio::time::timeout(PATIENCE, async {
            while threads() > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("threads that outlive their network");
    });
}

#[test]
fn many_pods_are_detached_at_once() {
    on_node(|node| async move {
        let before = node.interfaces().await;
        let pods = join_all((2..22).map(|i| {
            let node = &node;
            async move { node.pod(&format!("10.244.3.{i}")).await }
        }))
        .await;
        let kept = &pods[0];
        let uids: Vec<String> = (3..22).map(|i| format!("pod-10.244.3.{i}")).collect();
        let twice = uids.iter().chain(&uids);
        for removed in join_all(twice.map(|uid| node.network.detach(uid))).await {
            removed.unwrap();
        }
        assert_eq!(node.interfaces().await.len(), before.len() + 1);
        let to = SocketAddr::new(kept.address(), 80);
        let listener = listen(&kept.netns, to).await;
        exchange(&Netns::current().unwrap(), &listener, to).await;
    });
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    in_netns(|| async {
        let refused = |change: fn(&mut kabuki_net::NetworkConfig)| {
            let mut config = config();
            change(&mut config);
            NodeNetwork::open(config).err().unwrap().to_string()
        };
        assert!(refused(|c| c.bridge = "much-too-long-a-name".to_owned()).contains("15 bytes"));
        assert!(refused(|c| c.pod_cidr = block("10.9.0.0/24")).contains("10.9.0.0/24"));
        assert!(refused(|c| c.pod_cidr = block("fd00::/64")).contains("IPv6"));
        assert!(refused(|c| c.pod_cidr = block("10.244.0.1/32")).contains("gateway"));
    });
}

#[test]
fn the_check_finds_what_the_other_tests_use() {
    in_netns(|| async {
        let interfaces_before = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let probes = check().await;
        for needed in [
            "network namespaces",
            "bridge",
            "veth",
            "nftables",
            "ip forwarding",
        ] {
            let probe = probes.iter().find(|probe| probe.name == needed).unwrap();
            assert!(probe.ok, "{probe:?}");
        }
        assert!(
            probes
                .iter()
                .all(|p| !p.detail.is_empty() && !p.cost.is_empty())
        );
        let interfaces_after = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        assert_eq!(
            interfaces_before.lines().count(),
            interfaces_after.lines().count()
        );
    });
}

/// A port of the bridge with the given name, as a crash may leave it.
async fn add_port(node: &Node, name: &str, alias: Option<String>) {
    let bridge = link_index(&node.handle, "kabuki0").await;
    let pair = LinkMessageBuilder::<LinkVeth>::new(name, "far-end").controller(bridge);
    node.handle
        .link()
        .add(pair.build())
        .execute()
        .await
        .unwrap();
    if let Some(alias) = alias {
        let mut label = rtnetlink::LinkUnspec::new_with_name(name).build();
        label.attributes.push(LinkAttribute::IfAlias(alias));
        node.handle.link().change(label).execute().await.unwrap();
    }
}

async fn in_pod_has_eth0(netns: &Netns) -> bool {
    let devices = netns
        .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
        .await
        .unwrap()
        .unwrap();
    devices.contains("eth0")
}
