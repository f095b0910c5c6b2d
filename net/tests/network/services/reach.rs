//! Pods and the node, and services inside the cluster.

use std::io::ErrorKind;
use std::net::SocketAddr;

use kabuki_model::service::TrafficPolicy;
use kabuki_net::plan::services::{HostPort, Owner, Target, host_port_plan};
use kabuki_net::{Fate, Netns};

use super::{Endpoint, Proxy, ask, here, numbered, refused, service, v4};
use crate::world::{exchange, ip, link_index, listen, on_node};

#[test]
fn a_pod_reaches_itself_and_others_through_a_service() {
    on_node(|node| async move {
        let (a, b) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
        let mut proxy = Proxy::new(&node);
        let at = |pod: &crate::world::Pod| SocketAddr::new(pod.address(), 8080);
        let (in_a, in_b) = (
            listen(&a.netns, at(&a)).await,
            listen(&b.netns, at(&b)).await,
        );
        proxy.set(&service("10.96.0.10"), &[here(at(&a))]);
        proxy.set(&service("10.96.0.11"), &[here(at(&b))]);
        let seen = exchange(&a.netns, &in_a, "10.96.0.10:80".parse().unwrap()).await;
        assert_eq!(seen.ip(), node.network.gateway());
        // Others are seen under their own address.
        let seen = exchange(&a.netns, &in_b, "10.96.0.11:80".parse().unwrap()).await;
        assert_eq!(seen.ip(), a.address());
        let seen = exchange(&b.netns, &in_a, "10.96.0.10:80".parse().unwrap()).await;
        assert_eq!(seen.ip(), b.address());
    });
}

#[test]
fn the_node_itself_reaches_services_without_any_other_route() {
    on_node(|node| async move {
        let pod = node.pod("10.244.3.2").await;
        let mut proxy = Proxy::new(&node);
        // The refusal comes by the loopback.
        let loopback = link_index(&node.handle, "lo").await;
        let up = rtnetlink::LinkUnspec::new_with_index(loopback).up().build();
        node.handle.link().change(up).execute().await.unwrap();
        node.network
            .ensure_service_routes(&[crate::world::block(super::RANGE)])
            .await
            .unwrap();
        let at = SocketAddr::new(pod.address(), 8080);
        let listener = listen(&pod.netns, at).await;
        proxy.set(&service("10.96.0.10"), &[here(at)]);
        let own = Netns::current().unwrap();
        exchange(&own, &listener, "10.96.0.10:80".parse().unwrap()).await;
        assert_eq!(
            refused(&own, "10.96.0.10:81").await,
            ErrorKind::ConnectionRefused
        );
        assert_eq!(
            refused(&own, "10.96.9.9:80").await,
            ErrorKind::ConnectionRefused
        );
    });
}

#[test]
fn a_service_without_endpoints_refuses_at_once_and_so_does_an_address_without_service() {
    on_node(|node| async move {
        let pod = node.pod("10.244.3.2").await;
        let mut proxy = Proxy::new(&node);
        proxy.set(&service("10.96.0.10"), &[]);
        for to in ["10.96.0.10:80", "10.96.0.10:81", "10.96.77.7:443"] {
            assert_eq!(
                refused(&pod.netns, to).await,
                ErrorKind::ConnectionRefused,
                "{to}"
            );
            let trace = proxy.trace(to, None, &[]);
            assert!(matches!(trace.fate, Fate::Refused(_)), "{to}: {trace:?}");
        }
        let one = proxy.trace("10.96.0.10:80", None, &[]);
        assert_eq!(one.service, "default/10.96.0.10:web");
        // Datagrams are refused by ICMP, which the socket hears of.
        let told = pod.netns.run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(crate::world::PATIENCE))?;
            socket.connect("10.96.0.10:53")?;
            socket.send(b"?")?;
            socket.recv(&mut [0; 8])
        });
        let told = told.await.unwrap().unwrap_err();
        assert_eq!(told.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_local_policy_inside_leads_to_this_nodes_endpoints_only() {
    on_node(|node| async move {
        let (client, server) = (node.pod("10.244.3.2").await, node.pod("10.244.3.3").await);
        let all = numbered(&server, 4).await;
        let mut proxy = Proxy::new(&node);
        let mut web = service("10.96.0.10");
        web.internal_policy = TrafficPolicy::Local;
        let elsewhere: Vec<_> = all[1..]
            .iter()
            .map(|e| Endpoint {
                node: "elsewhere",
                ..e.clone()
            })
            .collect();
        let mixed = [&all[..1], &elsewhere[..]].concat();
        proxy.set(&web, &mixed);
        let answers = ask(&client.netns, "10.96.0.10:80", 20).await;
        assert_eq!(answers, [0; 20]);
        proxy.set(&web, &elsewhere);
        let why = refused(&client.netns, "10.96.0.10:80").await;
        assert_eq!(why, ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_pods_port_of_the_node_leads_to_the_pod_alone() {
    on_node(|node| async move {
        let outside = node.outside(1500).await;
        let pod = node.pod("10.244.3.2").await;
        let at = SocketAddr::new(pod.address(), 8080);
        let listener = listen(&pod.netns, at).await;
        let mut proxy = Proxy::new(&node);
        let target = Target {
            address: v4("10.244.3.2"),
            port: 8080,
        };
        let port = |port, address| HostPort {
            port,
            address,
            protocol: kabuki_model::service::Protocol::Tcp,
            target,
        };
        let plans = vec![
            host_port_plan(&port(9000, None), "pod a"),
            host_port_plan(&port(9001, Some(v4("192.0.2.1"))), "pod a"),
        ];
        let delta = proxy
            .services
            .update(vec![(Owner::Pod("uid".into()), plans)]);
        proxy.table.apply(&delta, &proxy.services).unwrap();
        for to in ["192.0.2.1:9000", "192.0.2.1:9001"] {
            let seen = exchange(&outside, &listener, to.parse().unwrap()).await;
            assert_eq!(seen.ip(), ip("192.0.2.2"), "the source is kept");
        }
        // The pod itself, too.
        let seen = exchange(&pod.netns, &listener, "192.0.2.1:9000".parse().unwrap()).await;
        assert_eq!(seen.ip(), node.network.gateway());
    });
}

#[test]
fn a_trace_says_what_the_kernel_does() {
    on_node(|node| async move {
        let pod = node.pod("10.244.3.2").await;
        let mut proxy = Proxy::new(&node);
        let at = |port| here(SocketAddr::new(pod.address(), port));
        proxy.set(&service("10.96.0.10"), &[at(1), at(2), at(3)]);
        let trace = proxy.trace("10.96.0.10:80", None, &[]);
        let Fate::Sent(picks) = &trace.fate else {
            panic!("endpoints: {trace:?}");
        };
        assert!(
            picks.iter().all(|p| p.one_in == 3) && picks.len() == 3,
            "{trace:?}"
        );
        assert!(
            trace.steps.iter().any(|s| s == "chain service-3"),
            "{trace:?}"
        );
        let trace = proxy.trace("192.0.2.7:80", None, &[]);
        assert_eq!(trace.fate, Fate::Untouched);
    });
}
