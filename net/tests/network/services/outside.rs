//! Clients outside of the cluster: ports of the node, load balancers, policies.

use std::net::SocketAddr;
use std::time::Duration;

use kabuki_model::service::{ServiceRecord, ServiceType, TrafficPolicy};
use kabuki_net::{Fate, dial};

use super::{Endpoint, Proxy, here, service};
use crate::world::{add_route, exchange, in_other, ip, link_index, listen, on_node, route_handle};

/// Long enough for an answer to be on its way in a test; only silence takes it.
const SILENCE: Duration = Duration::from_millis(300);

fn balanced(policy: TrafficPolicy) -> ServiceRecord {
    let mut web = service("10.96.0.10");
    web.service_type = ServiceType::LoadBalancer;
    web.external_policy = policy;
    web.ports[0].node_port = Some(30_080);
    web.load_balancer_ips = vec![ip("192.0.2.1")];
    web.external_ips = vec![ip("203.0.113.9")];
    web
}

#[test]
fn every_external_address_leads_to_local_endpoints_with_the_source_kept() {
    on_node(|node| async move {
        let outside = node.outside(1500).await;
        in_other(&outside, || async {
            add_route(&route_handle(), "203.0.113.0/24", "192.0.2.1").await;
        })
        .await;
        let pod = node.pod("10.244.3.2").await;
        let at = SocketAddr::new(pod.address(), 8080);
        let listener = listen(&pod.netns, at).await;
        let mut proxy = Proxy::new(&node);
        for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
            proxy.set(&balanced(policy), &[here(at)]);
            for to in ["192.0.2.1:30080", "192.0.2.1:80", "203.0.113.9:80"] {
                let seen = exchange(&outside, &listener, to.parse().unwrap()).await;
                assert_eq!(seen.ip(), ip("192.0.2.2"), "{policy:?} {to}");
            }
            let inside = exchange(&pod.netns, &listener, "192.0.2.1:30080".parse().unwrap()).await;
            assert_eq!(inside.ip(), node.network.gateway());
        }
    });
}

#[test]
fn what_goes_on_to_another_node_is_masqueraded() {
    on_node(|node| async move {
        // The other node is where the client is, too: it has the endpoint's address.
        let other = node.outside(1500).await;
        in_other(&other, || async {
            let handle = route_handle();
            let loopback = link_index(&handle, "lo").await;
            let up = rtnetlink::LinkUnspec::new_with_index(loopback).up().build();
            handle.link().change(up).execute().await.unwrap();
            for address in ["10.244.9.2", "198.51.100.7"] {
                let own = handle.address().add(loopback, ip(address), 32);
                own.execute().await.unwrap();
            }
        })
        .await;
        node.route("10.244.9.0/24", "192.0.2.2").await;
        node.route("198.51.100.0/24", "192.0.2.2").await;
        let mut proxy = Proxy::new(&node);
        for address in ["10.244.9.2", "198.51.100.7"] {
            let at = SocketAddr::new(ip(address), 8080);
            let listener = listen(&other, at).await;
            let elsewhere = Endpoint {
                at,
                node: "elsewhere",
            };
            let elsewhere = std::slice::from_ref(&elsewhere);
            proxy.set(&balanced(TrafficPolicy::Cluster), elsewhere);
            let to = "192.0.2.1:30080".parse().unwrap();
            let seen = exchange(&other, &listener, to).await;
            assert_eq!(seen.ip(), ip("192.0.2.1"), "{address}");

            // Under the local policy it is not this node's business.
            proxy.set(&balanced(TrafficPolicy::Local), elsewhere);
            dial(&other, to, SILENCE).await.unwrap_err();
            let own = [ip("192.0.2.1")];
            let trace = proxy.trace("192.0.2.1:30080", Some("192.0.2.2"), &own);
            assert!(matches!(trace.fate, Fate::Dropped(_)), "{trace:?}");
            let trace = proxy.trace("192.0.2.1:30080", Some("10.244.3.9"), &own);
            assert!(matches!(trace.fate, Fate::Sent(_)), "{trace:?}");
        }
    });
}

#[test]
fn a_load_balancer_takes_listed_sources_only() {
    on_node(|node| async move {
        let outside = node.outside(1500).await;
        let pod = node.pod("10.244.3.2").await;
        let at = SocketAddr::new(pod.address(), 8080);
        let listener = listen(&pod.netns, at).await;
        let mut proxy = Proxy::new(&node);
        let mut web = balanced(TrafficPolicy::Cluster);
        web.source_ranges = vec![(ip("198.51.100.0"), 24), (ip("203.0.113.7"), 32)];
        proxy.set(&web, &[here(at)]);
        let to: SocketAddr = "192.0.2.1:80".parse().unwrap();
        dial(&outside, to, SILENCE).await.unwrap_err();
        let trace = proxy.trace("192.0.2.1:80", Some("192.0.2.2"), &[]);
        assert!(matches!(trace.fate, Fate::Dropped(_)), "{trace:?}");
        // Its port on the node is open all the same.
        exchange(&outside, &listener, "192.0.2.1:30080".parse().unwrap()).await;

        web.source_ranges.push((ip("192.0.2.0"), 30));
        proxy.set(&web, &[here(at)]);
        exchange(&outside, &listener, to).await;
        let trace = proxy.trace("192.0.2.1:80", Some("192.0.2.2"), &[]);
        assert!(matches!(trace.fate, Fate::Sent(_)), "{trace:?}");
    });
}
