//! Real sockets on the loopback interface, and name servers made for the purpose behind them.

use super::*;
use crate::forward::{CacheLimits, ForwardConfig, Forwarder, Stub, Upstreams};
use crate::wire::{Name, kind, rcode};
use crate::zone::ZoneSettings;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name as ProtoName, RData, Record, RecordType};
use kabuki_model::k8s_openapi::api::core::v1::Service;
use kabuki_model::service::{Directory, ServiceRecord};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

const LIMIT: Duration = Duration::from_secs(20);

fn zone() -> Zone {
    let mut directory = Directory::default();
    for service in [
        r#"{"metadata":{"name":"web","namespace":"x"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1"]}}"#,
        r#"{"metadata":{"name":"ext","namespace":"x"},"spec":{"type":"ExternalName","externalName":"a.example"}}"#,
    ] {
        let service: Service = serde_json::from_str(service).unwrap();
        directory.put_service(ServiceRecord::from(&service));
    }
    let mut zone = Zone::new(&ZoneSettings {
        domain: "cluster.local".to_string(),
        pod_blocks: Vec::new(),
        service_blocks: Vec::new(),
        servers: Vec::new(),
    })
    .unwrap();
    for (key, entry) in directory.iter() {
        zone.update(key, Some(entry), 0);
    }
    zone
}

fn forwarder(upstreams: Vec<SocketAddr>, stubs: Vec<Stub>) -> Arc<Forwarder> {
    Forwarder::new(ForwardConfig {
        upstreams: Upstreams::Fixed(upstreams),
        stubs,
        own: Vec::new(),
        cache: CacheLimits {
            entries: 1000,
            bytes: 1 << 20,
        },
    })
}

fn open(forwarder: Arc<Forwarder>) -> Server {
    let config = ServerConfig {
        addresses: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        threads: Some(2),
        prepare: || {},
        clients: Clients::default(),
    };
    let published = Published {
        zone: zone(),
        complete: true,
    };
    Server::open(&config, published, forwarder).unwrap()
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(ProtoName::from_ascii(name).unwrap(), kind));
    message
}

async fn by_udp(to: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(packet, to).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let received = tokio::time::timeout(LIMIT, socket.recv(&mut buffer)).await;
    buffer.truncate(received.expect("an answer").unwrap());
    buffer
}

async fn ask(server: &Server, name: &str, kind: RecordType) -> Message {
    let packet = question(name, kind).to_vec().unwrap();
    Message::from_vec(&by_udp(server.addresses()[0], &packet).await).unwrap()
}

async fn write(stream: &mut TcpStream, packet: &[u8]) {
    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
    stream
        .write_all(&[&length[..], packet].concat())
        .await
        .unwrap();
}

async fn read(stream: &mut TcpStream) -> Message {
    let length = stream.read_u16().await.unwrap();
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.unwrap();
    Message::from_vec(&buffer).unwrap()
}

/// A name server that has `192.0.2.1` for every name below `example`, and knows how to misbehave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// Only over TCP.
    Cuts,
    /// All letters small.
    Small,
    /// Only after it was told to.
    Waits,
    Fails,
}

struct Upstream {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    go: Arc<tokio::sync::Semaphore>,
}

fn answer(asked: &Message, manner: Manner, tcp: bool) -> Vec<u8> {
    let meta = &asked.metadata;
    let mut answer = Message::new(meta.id, MessageType::Response, OpCode::Query);
    let mut query = asked.queries[0].clone();
    if manner == Manner::Small {
        query.set_name(query.name().to_lowercase());
    }
    let name = query.name().clone();
    answer.add_query(query);
    match manner {
        Manner::Fails => answer.metadata.response_code = ResponseCode::ServFail,
        Manner::Cuts if !tcp => answer.metadata.truncation = true,
        _ => {
            let data = RData::A(A::new(192, 0, 2, 1));
            answer.add_answer(Record::from_rdata(name, 60, data));
        }
    }
    answer.to_vec().unwrap()
}

async fn upstream(manner: Manner) -> Upstream {
    let tcp = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let (count, gate) = (asked.clone(), go.clone());
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            if manner == Manner::Waits {
                gate.acquire().await.unwrap().forget();
            }
            let message = Message::from_vec(&buffer[..length]).unwrap();
            udp.send_to(&answer(&message, manner, false), from)
                .await
                .unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = tcp.accept().await.unwrap();
            let message = read(&mut stream).await;
            write(&mut stream, &answer(&message, manner, true)).await;
        }
    });
    Upstream { address, asked, go }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_names_are_answered_over_udp_and_tcp() {
    let server = open(forwarder(Vec::new(), Vec::new()));
    let found = ask(&server, "WEB.x.svc.cluster.local.", RecordType::A).await;
    assert_eq!(found.answers[0].data.to_string(), "10.96.0.1");
    assert!(found.metadata.authoritative);
    let mut stream = TcpStream::connect(server.addresses()[0]).await.unwrap();
    // Several at once, the first in two parts.
    let packet = question("web.x.svc.cluster.local.", RecordType::A)
        .to_vec()
        .unwrap();
    let framed = [&[0, packet.len() as u8][..], &packet].concat();
    stream.write_all(&framed[..7]).await.unwrap();
    stream
        .write_all(&[&framed[7..], &framed, &framed].concat())
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(read(&mut stream).await.answers.len(), 1);
    }
    assert_eq!(server.counts().questions, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_snapshot_is_what_is_answered_next() {
    let server = open(forwarder(Vec::new(), Vec::new()));
    let empty = server.published().zone.cleared();
    server.publish(Published {
        zone: empty.clone(),
        complete: true,
    });
    let gone = ask(&server, "web.x.svc.cluster.local.", RecordType::A).await;
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
    // While not everything is known, nothing is said to be missing.
    server.publish(Published {
        zone: empty,
        complete: false,
    });
    let unknown = ask(&server, "web.x.svc.cluster.local.", RecordType::A).await;
    assert_eq!(unknown.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_are_refused_or_passed_over_and_others_are_answered() {
    let server = open(forwarder(Vec::new(), Vec::new()));
    let to = server.addresses()[0];
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let good = question("web.x.svc.cluster.local.", RecordType::A)
        .to_vec()
        .unwrap();
    for length in 0..good.len() {
        socket.send_to(&good[..length], to).await.unwrap();
    }
    socket.send_to(&[0xff; 1500], to).await.unwrap();
    socket.send_to(&vec![0; 9000], to).await.unwrap();
    let looped = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\xc0\x0c\0\x01\0\x01";
    let refused = Message::from_vec(&by_udp(to, looped).await).unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::FormErr);
    let found = ask(&server, "web.x.svc.cluster.local.", RecordType::A).await;
    assert_eq!(found.answers.len(), 1);
    assert!(server.is_whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_asked_of_others_once_and_kept() {
    let upstream = upstream(Manner::Waits).await;
    let server = Arc::new(open(forwarder(vec![upstream.address], Vec::new())));
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { ask(&server, "A.example.", RecordType::A).await })
        })
        .collect();
    while server.counts().asked < 20 {
        tokio::task::yield_now().await;
    }
    upstream.go.add_permits(1);
    for task in asking {
        let found = task.await.unwrap();
        assert_eq!(found.answers[0].data.to_string(), "192.0.2.1");
        assert!(!found.metadata.authoritative && found.metadata.recursion_available);
        assert!(
            found.queries[0]
                .name()
                .eq_case(&ProtoName::from_ascii("A.example.").unwrap())
        );
    }
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 1);
    // From the cache, without asking.
    ask(&server, "a.EXAMPLE.", RecordType::A).await;
    assert_eq!(server.counts().asked, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_of_another_name_comes_with_what_that_one_has() {
    let upstream = upstream(Manner::Good).await;
    let server = open(forwarder(vec![upstream.address], Vec::new()));
    let found = ask(&server, "ext.x.svc.cluster.local.", RecordType::A).await;
    let shown: Vec<String> = found.answers.iter().map(|r| r.data.to_string()).collect();
    assert_eq!(shown, ["a.example.", "192.0.2.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_cut_answers_or_lose_the_case_are_asked_over_tcp() {
    for manner in [Manner::Cuts, Manner::Small] {
        let upstream = upstream(manner).await;
        let server = open(forwarder(vec![upstream.address], Vec::new()));
        for name in [
            "averyveryverylongname.example.",
            "anotherveryverylongname.example.",
        ] {
            let found = ask(&server, name, RecordType::A).await;
            assert_eq!(found.answers.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_made_up_for_by_the_next_one() {
    let (bad, good) = (upstream(Manner::Fails).await, upstream(Manner::Good).await);
    let server = open(forwarder(vec![bad.address, good.address], Vec::new()));
    let found = ask(&server, "a.example.", RecordType::A).await;
    assert_eq!(found.answers.len(), 1);
    let server = open(forwarder(vec![bad.address], Vec::new()));
    let failed = ask(&server, "a.example.", RecordType::A).await;
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test(flavor = "multi_thread")]
async fn stub_domains_have_servers_of_their_own() {
    let (all, stub) = (upstream(Manner::Fails).await, upstream(Manner::Good).await);
    let stubs = vec![Stub {
        domain: Name::from_text("corp.example").unwrap(),
        servers: vec![stub.address],
    }];
    let server = open(forwarder(vec![all.address], stubs));
    let found = ask(&server, "a.corp.example.", RecordType::A).await;
    assert_eq!(found.answers.len(), 1);
    assert_eq!(all.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_leads_back_to_us_is_noticed() {
    // Whoever asks it is asked by it: our own address, which the configuration did not know.
    let relay = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let server = open(forwarder(vec![relay.local_addr().unwrap()], Vec::new()));
    let to = server.addresses()[0];
    let relayed = Arc::new(AtomicUsize::new(0));
    let count = relayed.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        let mut asker = None;
        loop {
            let (length, from) = relay.recv_from(&mut buffer).await.unwrap();
            if from == to {
                let asker: SocketAddr = asker.expect("asked before");
                relay.send_to(&buffer[..length], asker).await.unwrap();
            } else {
                asker = Some(from);
                count.fetch_add(1, Ordering::SeqCst);
                relay.send_to(&buffer[..length], to).await.unwrap();
            }
        }
    });
    let failed = ask(&server, "a.example.", RecordType::A).await;
    assert!(failed.answers.is_empty());
    assert_ne!(failed.metadata.response_code, ResponseCode::NoError);
    let before = relayed.load(Ordering::SeqCst);
    ask(&server, "b.example.", RecordType::A).await;
    assert_eq!(relayed.load(Ordering::SeqCst), before, "it rests");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_with_many_connections_leaves_room_for_others() {
    let server = open(forwarder(Vec::new(), Vec::new()));
    let to = server.addresses()[0];
    let connect = |from: [u8; 4]| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(from), 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    };
    // They say nothing, or half of something.
    let mut slow = Vec::new();
    for n in 0..300 {
        let mut stream = connect([127, 0, 0, 2]).await;
        if n % 2 == 0 {
            let _ = stream.write_all(&[0, 40, 1, 2]).await;
        }
        slow.push(stream);
    }
    while server.counts().dropped == 0 {
        tokio::task::yield_now().await;
    }
    let mut stream = connect([127, 0, 0, 3]).await;
    let packet = question("web.x.svc.cluster.local.", RecordType::A)
        .to_vec()
        .unwrap();
    write(&mut stream, &packet).await;
    assert_eq!(read(&mut stream).await.answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_here_gets_no_names_of_others() {
    let clients = Clients {
        blocks: vec![("10.244.0.0".parse().unwrap(), 16)],
    };
    let shared = Shared {
        published: ArcSwap::from_pointee(Published {
            zone: zone(),
            complete: true,
        }),
        forwarder: forwarder(Vec::new(), Vec::new()),
        clients,
        shares: Shares::default(),
        counters: Counters::default(),
        stop: AtomicBool::new(false),
        failed: watch::channel(false).0,
    };
    let published = shared.published.load_full();
    let packet = question("a.example.", RecordType::A).to_vec().unwrap();
    for (client, code) in [("192.0.2.1", Some(rcode::REFUSED)), ("10.244.1.1", None)] {
        let place = answer::Place {
            shared: &shared,
            published: &published,
            client: client.parse().unwrap(),
            turn: 0,
            tcp_limit: None,
        };
        let mut out = [0; 512];
        let mut query = crate::wire::Query::default();
        let now = place.answer(&packet, &mut query, &mut out);
        match code {
            Some(code) => {
                let message = Message::from_vec(&out[..packet.len()]).unwrap();
                assert_eq!(u16::from(message.metadata.response_code), code);
            }
            None => assert_eq!(now, answer::Now::Later(None)),
        }
        assert_eq!(query.kind, kind::A);
    }
}
