//! Services between namespaces that play pods, clients and the world outside.

mod balance;
mod outside;
mod reach;
mod repair;
mod sctp;
mod udp;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use kabuki_model::service::{
    EndpointPort, EndpointRecord, Protocol, ServiceKey, ServicePort, ServiceRecord, ServiceType,
    SliceRecord, TrafficDistribution, TrafficPolicy,
};
use kabuki_net::plan::services::{NodeView, Owner, Primary, Services, service_plan};
use kabuki_net::{Datagrams, Netns, ServiceTable, ServiceTrace};
use tokio::io::AsyncWriteExt;

use crate::world::{Node, PATIENCE, Pod, block, ip, listen};

/// The range of the tests' services.
pub const RANGE: &str = "10.96.0.0/16";
/// The name of the node under test.
pub const HERE: &str = "here";

/// The services of a node.
pub struct Proxy {
    pub table: ServiceTable,
    pub datagrams: Datagrams,
    pub services: Services,
}

impl Proxy {
    /// Services with nothing in them yet.
    pub fn new(node: &Node) -> Self {
        let mut proxy = Self {
            table: node.network.services(vec![block(RANGE)]).unwrap(),
            datagrams: node.network.datagrams().unwrap(),
            services: Services::default(),
        };
        proxy.table.rebuild(&proxy.services, true).unwrap();
        proxy
    }

    /// Makes a service what it says, with these endpoints.
    pub fn set(&mut self, service: &ServiceRecord, endpoints: &[Endpoint]) {
        let slices = slices(service, endpoints);
        let plans = service_plan(service, &slices, &view());
        let owner = Owner::Service(service.key.clone());
        let delta = self.services.update(vec![(owner, plans)]);
        self.table.apply(&delta, &self.services).unwrap();
    }

    pub fn trace(&mut self, to: &str, from: Option<&str>, own: &[IpAddr]) -> ServiceTrace {
        let from = from.map(|text| text.parse().unwrap());
        self.table.trace(tcp(to), from, own).unwrap()
    }
}

pub fn tcp(to: &str) -> Primary {
    let to: SocketAddr = to.parse().unwrap();
    let IpAddr::V4(address) = to.ip() else {
        panic!("the tests' addresses are IPv4");
    };
    Primary {
        address,
        protocol: 6,
        port: to.port(),
    }
}

pub fn view() -> NodeView {
    NodeView {
        name: HERE.into(),
        zone: None,
        cluster: block("10.244.0.0/16"),
    }
}

/// An endpoint: where, and on which node.
#[derive(Clone)]
pub struct Endpoint {
    pub at: SocketAddr,
    pub node: &'static str,
}

pub fn here(at: SocketAddr) -> Endpoint {
    Endpoint { at, node: HERE }
}

/// A service of the cluster with one port, 80.
pub fn service(address: &str) -> ServiceRecord {
    ServiceRecord {
        key: ServiceKey {
            namespace: "default".into(),
            name: address.into(),
        },
        service_type: ServiceType::ClusterIp,
        cluster_ips: vec![ip(address)],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        external_name: None,
        ports: vec![ServicePort {
            name: "web".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
        }],
        affinity_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        health_check_node_port: None,
        distribution: TrafficDistribution::Any,
        publish_not_ready: false,
        foreign: false,
    }
}

/// A service of a protocol other than TCP.
pub fn service_of(address: &str, protocol: Protocol) -> ServiceRecord {
    let mut service = service(address);
    service.ports[0].protocol = protocol;
    service
}

/// One slice for each port number, for all endpoints of a slice have the same.
fn slices(service: &ServiceRecord, endpoints: &[Endpoint]) -> Vec<SliceRecord> {
    let mut by_port: BTreeMap<u16, Vec<EndpointRecord>> = BTreeMap::new();
    for endpoint in endpoints {
        let record = EndpointRecord {
            address: endpoint.at.ip(),
            hostname: None,
            node: Some(endpoint.node.into()),
            zone: None,
            ready: true,
            serving: true,
            terminating: false,
            zone_hints: Vec::new(),
            node_hints: Vec::new(),
        };
        by_port.entry(endpoint.at.port()).or_default().push(record);
    }
    let slice = |(port, endpoints): (u16, Vec<EndpointRecord>)| SliceRecord {
        name: format!("slice-{port}").into(),
        service: service.key.clone(),
        ports: vec![EndpointPort {
            name: "web".into(),
            protocol: service.ports[0].protocol,
            port: Some(port),
        }],
        endpoints,
    };
    by_port.into_iter().map(slice).collect()
}

/// Servers on ports from 8000 of a pod, each of which says its number to whoever connects.
pub async fn numbered(pod: &Pod, count: u16) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for number in 0..count {
        let at = SocketAddr::new(pod.address(), 8000 + number);
        let listener = listen(&pod.netns, at).await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // A client that has gone is none of our concern.
                let _ = stream.write_all(&[number as u8]).await;
            }
        });
        endpoints.push(here(at));
    }
    endpoints
}

/// Connects so often, one after the other, and returns the numbers that answered.
pub async fn ask(from: &Netns, to: &str, times: usize) -> Vec<u8> {
    let to: SocketAddr = to.parse().unwrap();
    let answers = move || {
        let once = |_| {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut number = [0];
            stream.read_exact(&mut number)?;
            Ok::<u8, std::io::Error>(number[0])
        };
        (0..times).map(once).collect::<Result<Vec<u8>, _>>()
    };
    from.run(answers).await.unwrap().unwrap()
}

/// Tries to connect, and returns why it could not.
pub async fn refused(from: &Netns, to: &str) -> std::io::ErrorKind {
    let to: SocketAddr = to.parse().unwrap();
    let connect = move || TcpStream::connect_timeout(&to, PATIENCE).map(drop);
    from.run(connect).await.unwrap().unwrap_err().kind()
}

pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}
