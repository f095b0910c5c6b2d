//! Calls to other nodes.

use crate::api_server::{ApiDoor, ApiServer, Deed};
use crate::world::{Running, World, open, within};
use bytes::Bytes;
use kabuki_cluster::Remote;
use kabuki_cluster::renewal::Certify;
use kabuki_cluster::seams::Forward;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, DeleteOptions, ListRequest, ObjectList, Request};
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{ObjectKey, Resource, StatusError};
use kabuki_protocol::join::Role;
use kabuki_protocol::node::{FromNode, NodeRequest, Outcome};
use kabuki_protocol::session::{Call, Reply};
use std::sync::Arc;

/// Two scripted servers and a worker's way to them; `a` leads.
struct Pair {
    world: World,
    servers: [Arc<ApiServer>; 2],
    ports: Vec<Running>,
    remote: Remote,
}

impl Pair {
    async fn new(
        a: impl Fn(&Identity, &Call) -> Deed + Send + Sync + 'static,
        b: impl Fn(&Identity, &Call) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let world = World::new();
        let servers = [ApiServer::new("a", a), ApiServer::new("b", b)];
        let mut ports = Vec::new();
        for (name, server) in ["a", "b"].into_iter().zip(&servers) {
            let mut doors = world.doors();
            doors.clients = Some(Arc::new(ApiDoor(server.clone())));
            doors.node = Some(Arc::new(ApiDoor(server.clone())));
            let port = open(world.node(name, Role::Server), doors).await;
            world.map.server(name, port.address);
            ports.push(port);
        }
        world.map.places().leader = Some("a".to_string());
        let worker = world.node("w", Role::Worker);
        let remote = Remote::new(worker, world.map.clone(), "test");
        Self {
            world,
            servers,
            ports,
            remote,
        }
    }

    /// How many calls each server got.
    fn asked(&self) -> [usize; 2] {
        self.servers.each_ref().map(|server| server.calls().len())
    }
}

fn list(revision: u64) -> Deed {
    let list = ObjectList {
        revision,
        ..ObjectList::default()
    };
    Deed::Answer(Ok(Reply::Answer(Answer {
        content: Content::List(list),
        warnings: Vec::new(),
    })))
}

fn refuse(error: StatusError) -> Deed {
    Deed::Answer(Err(error))
}

fn read() -> Request {
    Request::List(ListRequest::all(Resource::PODS, None))
}

fn write() -> Request {
    Request::Delete {
        key: ObjectKey::new(Resource::PODS, "default", "web"),
        options: DeleteOptions::default(),
    }
}

fn watch() -> WatchRequest {
    WatchRequest {
        selection: ListRequest::all(Resource::PODS, None),
        start: WatchStart::List,
        bookmarks: true,
    }
}

fn bookmark(revision: u64) -> Reply {
    Reply::Events(vec![WatchEvent::Bookmark {
        revision,
        initial_end: true,
    }])
}

async fn revision(remote: &Remote, request: Request) -> Result<u64, StatusError> {
    let answer = within("the answer", remote.api().request(request)).await?;
    Ok(answer.into_list().expect("a list").revision)
}

#[tokio::test]
async fn the_leader_is_asked_and_one_session_serves_all() {
    let pair = Pair::new(|_, _| list(1), |_, _| list(2)).await;
    let many = (0..50).map(|_| revision(&pair.remote, read()));
    for found in futures::future::join_all(many).await {
        assert_eq!(found, Ok(1));
    }
    assert_eq!(pair.asked(), [50, 0]);
    pair.world.map.places().leader = Some("b".to_string());
    assert_eq!(revision(&pair.remote, read()).await, Ok(2));
    assert_eq!(revision(&pair.remote, write()).await, Ok(2));
}

#[tokio::test]
async fn reads_and_writes_go_elsewhere_when_a_server_cannot_be_reached() {
    let mut pair = Pair::new(|_, _| list(1), |_, _| list(2)).await;
    assert_eq!(revision(&pair.remote, read()).await, Ok(1));
    drop(pair.ports.remove(0));
    let closed = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    pair.world.map.server("a", closed);
    pair.remote.lost("a");
    assert_eq!(revision(&pair.remote, write()).await, Ok(2));
    assert_eq!(revision(&pair.remote, read()).await, Ok(2));
}

#[tokio::test]
async fn a_read_is_repeated_when_the_connection_breaks_or_a_server_is_not_available() {
    for a in [true, false] {
        let broken = move |_: &Identity, _: &Call| match a {
            true => Deed::Hang,
            false => refuse(StatusError::unavailable("no leader")),
        };
        let pair = Pair::new(broken, |_, _| list(2)).await;
        assert_eq!(revision(&pair.remote, read()).await, Ok(2));
        assert_eq!(pair.asked(), [1, 1]);
        // Who failed is not asked again at once.
        assert_eq!(revision(&pair.remote, read()).await, Ok(2));
        assert_eq!(pair.asked(), [1, 2]);
    }
}

#[tokio::test]
async fn a_write_is_not_repeated_when_it_may_have_been_done() {
    let pair = Pair::new(|_, _| Deed::Hang, |_, _| list(2)).await;
    let error = revision(&pair.remote, write())
        .await
        .expect_err("not known");
    assert_eq!(error.reason, Reason::ServiceUnavailable);
    assert!(error.message.contains("outcome is not known"), "{error}");
    assert!(!error.is_undone());
    assert_eq!(pair.asked(), [1, 0]);

    let doubtful = |_: &Identity, _: &Call| refuse(StatusError::unknown_outcome("lost the lead"));
    let pair = Pair::new(doubtful, |_, _| list(2)).await;
    let error = revision(&pair.remote, write())
        .await
        .expect_err("not known");
    assert_eq!(error.message, "lost the lead");
    assert_eq!(pair.asked(), [1, 0]);
}

#[tokio::test]
async fn a_write_that_was_certainly_not_done_is_made_elsewhere() {
    let pair = Pair::new(
        |_, _| refuse(StatusError::unavailable("no leader")),
        |_, _| list(2),
    )
    .await;
    assert_eq!(revision(&pair.remote, write()).await, Ok(2));
    assert_eq!(pair.asked(), [1, 1]);
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let key = ObjectKey::new(Resource::PODS, "default", "web");
    let expected = StatusError::not_found(&key);
    let refusal = expected.clone();
    let pair = Pair::new(move |_, _| refuse(refusal.clone()), |_, _| list(2)).await;
    for request in [read(), write()] {
        assert_eq!(revision(&pair.remote, request).await, Err(expected.clone()));
    }
    assert_eq!(pair.asked(), [2, 0]);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_and_its_watches_resume_elsewhere() {
    // It begins a watch, and then says nothing any more, though its connection stands.
    let a = |_: &Identity, call: &Call| match call {
        Call::Watch(_) => Deed::Begin(bookmark(7)),
        _ => Deed::Freeze,
    };
    let b = |_: &Identity, call: &Call| match call {
        Call::Watch(_) => Deed::Begin(bookmark(8)),
        _ => list(2),
    };
    let pair = Pair::new(a, b).await;
    let api = pair.remote.api();
    let mut first = within("a watch", api.watch(watch())).await.expect("begins");
    let event = within("an event", first.next()).await.expect("an event");
    assert_eq!(event.expect("no error").revision(), 7);
    let end = within("the end", first.next()).await.expect("an error");
    assert_eq!(
        end.expect_err("an error").reason,
        Reason::ServiceUnavailable
    );
    // The same that an agent does: it watches again, after the last revision.
    let mut second = within("a watch", api.watch(watch())).await.expect("begins");
    let event = within("an event", second.next()).await.expect("an event");
    assert_eq!(event.expect("no error").revision(), 8);
}

#[tokio::test]
async fn a_watch_ends_with_an_error_when_its_server_is_lost() {
    let begun = |_: &Identity, _: &Call| Deed::Begin(bookmark(7));
    let pair = Pair::new(begun, |_, _| Deed::Begin(bookmark(8))).await;
    let api = pair.remote.api();
    let mut first = within("a watch", api.watch(watch())).await.expect("begins");
    within("an event", first.next())
        .await
        .expect("an event")
        .expect("no error");
    pair.remote.lost("a");
    let end = within("the end", first.next()).await.expect("an error");
    assert!(end.expect_err("an error").message.contains("lost"));
    let mut second = within("a watch", api.watch(watch())).await.expect("begins");
    let event = within("an event", second.next()).await.expect("an event");
    assert_eq!(event.expect("no error").revision(), 8);
}

#[tokio::test]
async fn a_server_forwards_in_the_name_of_others_and_says_what_is_certain() {
    let forwarded = |who: &Identity, call: &Call| match call {
        Call::Forward { who: asker, .. } if who.is_server() && asker.user == "alice" => list(5),
        _ => refuse(StatusError::bad_request("not forwarded")),
    };
    let pair = Pair::new(forwarded, |_, _| Deed::Hang).await;
    let third = pair.world.node("c", Role::Server);
    let remote = Remote::new(third, pair.world.map.clone(), "test");
    let alice = || Identity::new("alice", []);
    let answer = remote.forward("a", alice(), write()).await.expect("done");
    assert_eq!(answer.into_list().expect("a list").revision, 5);
    let error = remote
        .forward("b", alice(), write())
        .await
        .expect_err("it hung up");
    assert!(error.message.contains("outcome is not known"), "{error}");
    let error = remote
        .forward("nobody", alice(), write())
        .await
        .expect_err("unknown");
    assert!(error.is_undone(), "{error}");
}

#[tokio::test]
async fn a_server_opens_streams_with_other_nodes() {
    let node = |_: &Identity, call: &Call| match call {
        Call::Node {
            node: None,
            request: NodeRequest::Actors,
        } => Deed::Answer(Ok(Reply::Chunk(FromNode::Done(Ok(Outcome::Complete))))),
        _ => Deed::Hang,
    };
    let pair = Pair::new(|_, _| Deed::Hang, node).await;
    let server = pair.world.node("c", Role::Server);
    let remote = Remote::new(server, pair.world.map.clone(), "test");
    assert!(remote.node("nobody").is_none());
    let handle = remote.node("b").expect("it is known");
    let mut stream = handle.open(NodeRequest::Actors).await.expect("opens");
    let chunk = within("the end", stream.output.recv()).await;
    assert_eq!(chunk, Some(FromNode::Done(Ok(Outcome::Complete))));
}

#[tokio::test]
async fn a_certificate_is_renewed_by_whichever_server_answers() {
    let signing = |who: &Identity, call: &Call| match call {
        Call::Certify { csr_pem } if who.node_name() == Some("w") => {
            Deed::Answer(Ok(Reply::Certificate {
                certificate_pem: format!("certificate of {csr_pem}"),
                bundle_pem: "bundle".to_string(),
            }))
        }
        _ => Deed::Hang,
    };
    let pair = Pair::new(|_, _| Deed::Hang, signing).await;
    let certified = pair.remote.certify("request".to_string()).await;
    let expected = ("certificate of request".to_string(), "bundle".to_string());
    assert_eq!(certified, Ok(expected));
}

#[tokio::test]
async fn a_backup_arrives_in_parts_and_its_break_is_told() {
    let begun = |_: &Identity, _: &Call| Deed::Begin(Reply::Bytes(Bytes::from_static(b"half")));
    let whole = |_: &Identity, _: &Call| Deed::Answer(Ok(Reply::Bytes(Bytes::from_static(b"all"))));
    let pair = Pair::new(begun, whole).await;
    let client = pair.remote.server("b").await.expect("a session");
    let mut parts = client.backup().await.expect("begins");
    assert_eq!(parts.recv().await, Some(Ok(Bytes::from_static(b"all"))));
    assert_eq!(parts.recv().await, None);

    let client = pair.remote.server("a").await.expect("a session");
    let mut parts = client.backup().await.expect("begins");
    assert_eq!(parts.recv().await, Some(Ok(Bytes::from_static(b"half"))));
    pair.remote.lost("a");
    assert!(
        within("the end", parts.recv())
            .await
            .expect("a break")
            .is_err()
    );
}
