//! The one port of a node.

use crate::api_server::{ApiDoor, ApiServer, Deed};
use crate::world::{World, dial, hall, open, within};
use kabuki_cluster::dialer::Expected;
use kabuki_cluster::{Credentials, Dialer};
use kabuki_protocol::client::{Client, OpenError};
use kabuki_protocol::cluster::{ALPN as CLUSTER, NODE_ALPN, RAFT_ALPN, SNAPSHOT_ALPN};
use kabuki_protocol::join::{ALPN as JOIN, Role};
use kabuki_protocol::session::{ALPN as SESSION, Reply};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn reach(
    credentials: &Credentials,
    node: &str,
    address: SocketAddr,
    alpn: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let dialer = Dialer::new(credentials.clone());
    let dialled = dialer
        .dial(node, &address.to_string(), alpn, Expected::Node)
        .await;
    dialled.map_err(std::io::Error::other)
}

/// Whether the other side ends a connection without a word of its own.
async fn is_closed(mut stream: impl AsyncReadExt + Unpin) -> bool {
    let mut byte = [0u8; 1];
    !matches!(within("the end", stream.read(&mut byte)).await, Ok(n) if n > 0)
}

#[tokio::test]
async fn each_protocol_leads_to_its_own_door_with_who_came() {
    let world = World::new();
    let (server, worker) = (world.node("a", Role::Server), world.node("w", Role::Worker));
    let mut doors = world.doors();
    let (clients, mut at_clients) = hall();
    let (node, mut at_node) = hall();
    let (cluster, mut at_cluster) = hall();
    let (snapshot, mut at_snapshot) = hall();
    let (join, mut at_join) = hall();
    doors.clients = Some(clients);
    doors.node = Some(node);
    doors.cluster = Some(cluster);
    doors.snapshot = Some(snapshot);
    doors.join = Some(join);
    let running = open(server.clone(), doors).await;
    let address = running.address;

    let ca = world.authority.certificate_pem();
    let admin = world.admin();
    // The first offer that there is: later ones are for other programs.
    let offers: &[&[u8]] = &[b"unheard-of/1", SESSION];
    let _client = dial(address, ca, Some(&admin), "localhost", offers)
        .await
        .expect("a client");
    let visitor = within("a client", at_clients.recv())
        .await
        .expect("a visitor");
    assert_eq!(visitor.who.expect("somebody").user, "kabuki-admin");

    let _node = reach(&server, "a", address, NODE_ALPN)
        .await
        .expect("a server");
    let visitor = within("a server", at_node.recv()).await.expect("a visitor");
    assert!(visitor.who.expect("somebody").is_server());
    assert!(visitor.certificate.is_some());

    let _member = reach(&worker, "a", address, CLUSTER)
        .await
        .expect("a member");
    let visitor = within("a member", at_cluster.recv())
        .await
        .expect("a visitor");
    assert_eq!(visitor.who.expect("somebody").node_name(), Some("w"));

    let _other = reach(&server, "a", address, SNAPSHOT_ALPN)
        .await
        .expect("a server");
    within("a snapshot", at_snapshot.recv())
        .await
        .expect("a visitor");

    let _joiner = dial(address, ca, None, "a", &[JOIN])
        .await
        .expect("a joiner");
    let visitor = within("a joiner", at_join.recv()).await.expect("a visitor");
    assert_eq!(visitor.who, None);
    assert!(at_clients.try_recv().is_err());
}

#[tokio::test]
async fn who_has_no_certificate_of_the_cluster_stays_outside() {
    let world = World::new();
    let mut doors = world.doors();
    let (clients, mut at_clients) = hall();
    doors.clients = Some(clients);
    let running = open(world.node("a", Role::Server), doors).await;
    let ca = world.authority.certificate_pem();
    let strangers = World::new().admin();
    for client in [None, Some(&strangers)] {
        // TLS 1.3: the client hears of the refusal when it reads.
        let stream = dial(running.address, ca, client, "a", &[SESSION]).await;
        if let Ok(stream) = stream {
            assert!(is_closed(stream).await);
        }
    }
    assert!(at_clients.try_recv().is_err());
}

#[tokio::test]
async fn what_is_not_served_is_closed() {
    let world = World::new();
    let (clients, mut at_clients) = hall();
    let mut doors = world.doors();
    doors.clients = Some(clients);
    let running = open(world.node("a", Role::Server), doors).await;
    let (ca, admin) = (world.authority.certificate_pem(), world.admin());
    for alpns in [&[b"h2".as_slice()] as &[&[u8]], &[], &[NODE_ALPN]] {
        let stream = dial(running.address, ca, Some(&admin), "a", alpns).await;
        assert!(stream.is_err());
    }
    let mut plain = TcpStream::connect(running.address).await.expect("connects");
    plain
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("writes");
    let mut rest = Vec::new();
    let _ = within("the end", plain.read_to_end(&mut rest)).await;
    assert!(rest.len() < 16, "an alert at most: {rest:?}");
    assert!(at_clients.try_recv().is_err());
}

#[tokio::test]
async fn a_node_that_was_removed_is_turned_away_and_told_so() {
    let world = World::new();
    let server = world.node("a", Role::Server);
    let mut doors = world.doors();
    let (clients, mut at_clients) = hall();
    let (cluster, mut at_cluster) = hall();
    (doors.clients, doors.cluster) = (Some(clients), Some(cluster));
    let running = open(server, doors).await;
    let worker = world.node("w", Role::Worker);
    let impostor = world.stranger("w", Role::Worker);
    let stream = reach(&worker, "a", running.address, CLUSTER)
        .await
        .expect("a member");
    within("the member", at_cluster.recv())
        .await
        .expect("a visitor");
    drop(stream);

    world.map.places().members.retain(|(name, _)| name != "w");
    for removed in [worker, impostor] {
        let stream = reach(&removed, "a", running.address, SESSION)
            .await
            .expect("TLS");
        let error = Client::open(stream, "test").await.err().expect("refused");
        let OpenError::Refused(why) = error else {
            panic!("{error}");
        };
        assert!(why.contains("\"w\"") && why.contains("removed"), "{why}");
        let stream = reach(&removed, "a", running.address, CLUSTER)
            .await
            .expect("TLS");
        assert!(is_closed(stream).await);
    }
    assert!(at_clients.try_recv().is_err());
    assert!(at_cluster.try_recv().is_err());
}

#[tokio::test]
async fn only_servers_reach_what_is_for_servers_and_only_members_what_is_for_members() {
    let world = World::new();
    let mut doors = world.doors();
    let (hall, mut visitors) = hall();
    doors.node = Some(hall.clone());
    doors.raft = Some(hall.clone());
    doors.snapshot = Some(hall.clone());
    doors.cluster = Some(hall);
    let running = open(world.node("a", Role::Server), doors).await;
    let worker = world.node("w", Role::Worker);
    for alpn in [NODE_ALPN, RAFT_ALPN, SNAPSHOT_ALPN] {
        let mut stream = reach(&worker, "a", running.address, alpn)
            .await
            .expect("TLS");
        let mut rest = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut rest)).await;
    }
    let (ca, admin) = (world.authority.certificate_pem(), world.admin());
    let stream = dial(running.address, ca, Some(&admin), "a", &[CLUSTER]).await;
    assert!(is_closed(stream.expect("TLS")).await);
    assert!(visitors.try_recv().is_err());
}

#[tokio::test]
async fn a_worker_hands_clients_on_to_a_server_that_lives() {
    let world = World::new();
    let echo = ApiServer::new("b", |who, _| Deed::Answer(Ok(Reply::WhoAmI(who.clone()))));
    let mut doors = world.doors();
    doors.clients = Some(std::sync::Arc::new(ApiDoor(echo)));
    let server = open(world.node("b", Role::Server), doors).await;
    // The leader is dead: its port was free a moment ago.
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    world.map.server("a", dead.local_addr().expect("bound"));
    drop(dead);
    world.map.server("b", server.address);
    world.map.places().leader = Some("a".to_string());
    let worker = open(world.node("w", Role::Worker), world.doors()).await;

    let (ca, admin) = (world.authority.certificate_pem(), world.admin());
    for _ in 0..3 {
        let stream = dial(worker.address, ca, Some(&admin), "localhost", &[SESSION]).await;
        let client = Client::open(stream.expect("through"), "test")
            .await
            .expect("opens");
        // The server knows the client by its own certificate.
        assert_eq!(
            client.who_am_i().await.expect("answers").user,
            "kabuki-admin"
        );
        assert_eq!(client.node(), "b");
    }
}

#[tokio::test]
async fn a_connection_that_is_handed_on_ends_when_both_sides_have_said_all() {
    let world = World::new();
    let (door, mut visitors) = hall();
    let mut doors = world.doors();
    doors.clients = Some(door);
    let server = open(world.node("b", Role::Server), doors).await;
    world.map.server("b", server.address);
    let worker = open(world.node("w", Role::Worker), world.doors()).await;
    let (ca, admin) = (world.authority.certificate_pem(), world.admin());
    let stream = dial(worker.address, ca, Some(&admin), "localhost", &[SESSION]).await;
    let mut near = stream.expect("through");
    let mut far = within("the visitor", visitors.recv())
        .await
        .expect("a visitor")
        .stream;
    let sent = vec![7u8; 300_000];
    let writing = async {
        near.write_all(&sent).await.expect("writes");
        near.shutdown().await.expect("half closes");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.expect("reads");
        answer
    };
    let reading = async {
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.expect("reads");
        assert_eq!(got.len(), sent.len());
        far.write_all(b"after the half close")
            .await
            .expect("writes");
        far.shutdown().await.expect("closes");
    };
    let (answer, ()) = within("the end", async { tokio::join!(writing, reading) }).await;
    assert_eq!(answer, b"after the half close");
}

#[tokio::test]
async fn silent_connections_and_restarts_keep_nobody_out() {
    let world = World::new();
    let (clients, mut at_clients) = hall();
    let mut doors = world.doors();
    doors.clients = Some(clients);
    let running = open(world.node("a", Role::Server), doors).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(running.address).await.expect("connects");
        stream.write_all(&[22, 3]).await.expect("writes");
        silent.push(stream);
    }
    let (ca, admin) = (world.authority.certificate_pem(), world.admin());
    for round in 0..2 {
        let stream = dial(running.address, ca, Some(&admin), "a", &[SESSION]);
        let _stream = within("a client", stream).await.expect("a client");
        within("a client", at_clients.recv())
            .await
            .expect("a visitor");
        if round == 0 {
            running.tree.kill("node/port").expect("it runs");
        }
    }
    assert_eq!(running.port.address().expect("bound"), running.address);
}

#[tokio::test]
async fn a_session_lives_on_while_the_certificate_and_the_ca_are_replaced() {
    let world = World::new();
    let next = World::new();
    let (clients, mut at_clients) = hall();
    let mut doors = world.doors();
    doors.clients = Some(clients);
    let server = world.node("a", Role::Server);
    let running = open(server.clone(), doors).await;
    let (old_ca, new_ca) = (
        world.authority.certificate_pem().to_string(),
        next.authority.certificate_pem().to_string(),
    );
    let (old_admin, new_admin) = (world.admin(), next.admin());
    let old = dial(running.address, &old_ca, Some(&old_admin), "a", &[SESSION]).await;
    let mut old = old.expect("a client");
    let mut held = within("a client", at_clients.recv())
        .await
        .expect("a visitor")
        .stream;

    let both = format!("{old_ca}{new_ca}");
    let csr = server.csr_pem().expect("a request");
    let renewed = next
        .authority
        .node_certificate(&csr, "a", Role::Server, &[]);
    server
        .install(&renewed.expect("a certificate"), &both)
        .expect("fits");

    // The next connection is served under the new CA, and both CAs' clients are known.
    for admin in [&old_admin, &new_admin] {
        let stream = dial(running.address, &new_ca, Some(admin), "a", &[SESSION]).await;
        let _stream = stream.expect("a client");
        within("a client", at_clients.recv())
            .await
            .expect("a visitor");
    }
    // The old CA goes: its clients stay outside from now on.
    server.install_bundle(&new_ca).expect("fits");
    let stream = dial(running.address, &new_ca, Some(&old_admin), "a", &[SESSION]).await;
    if let Ok(stream) = stream {
        assert!(is_closed(stream).await);
    }
    // Whoever is inside stays.
    held.write_all(b"still here").await.expect("writes");
    held.flush().await.expect("flushes");
    let mut word = [0u8; 10];
    within("a word", old.read_exact(&mut word))
        .await
        .expect("reads");
    assert_eq!(&word, b"still here");
}

#[tokio::test]
async fn whoever_answers_for_another_node_is_not_taken_for_it() {
    let world = World::new();
    let (hall, _visitors) = hall();
    let mut doors = world.doors();
    doors.cluster = Some(hall);
    let server = open(world.node("a", Role::Server), doors.clone()).await;
    let worker = open(world.node("w", Role::Worker), doors).await;
    let own = world.node("b", Role::Server);
    // Every server's certificate is good for `localhost`, which may be a node's name, too.
    let error = reach(&own, "localhost", server.address, CLUSTER).await;
    let error = error.expect_err("another node").to_string();
    assert!(error.contains("answers as \"system:node:a\""), "{error}");
    let error = reach(&own, "w", server.address, CLUSTER).await;
    let error = error.expect_err("another node").to_string();
    assert!(error.contains("is not trusted"), "{error}");

    let dialer = Dialer::new(own);
    let address = worker.address.to_string();
    let dialled = dialer.dial("w", &address, CLUSTER, Expected::Server).await;
    let error = dialled.expect_err("no server").to_string();
    assert!(error.contains("not as server \"w\""), "{error}");
    let dialled = dialer.dial("w", &address, CLUSTER, Expected::Node).await;
    dialled.expect("a member");
}
