//! Frames of the session protocol, in both directions. What decodes must survive the codec, a
//! request in it is answered by a small server, and what it carries can be looked at.
//!
//! The first byte says whether the rest is from a client (even) or a server (odd), and whether it
//! is a stream of frames (0, 1) or the inside of one (2, 3).

use crate::world::{World, create, furniture};
use bytes::Bytes;
use futures::executor::block_on;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{
    Answer, Binding, Content, DeleteOptions, ListRequest, ObjectList, PatchType, Propagation,
    Request, Subresource, WriteOptions,
};
use kabuki_model::view::View;
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{Resource, Selection, StatusError, Stored, codec, kind};
use kabuki_protocol::frame;
use kabuki_protocol::node::{
    ExecRequest, FromNode, LogRequest, LogStream, NodeRequest, Outcome, PodRef, Progress,
    TerminalSize, ToNode,
};
use kabuki_protocol::session::{Call, ClientFrame, Reply, ServerFrame, VERSION};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;

/// Reads `data` as frames.
pub fn run(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else {
        return;
    };
    match first & 3 {
        0 => serve(stream(bytes)),
        1 => look(stream(bytes)),
        2 => serve(codec::decode(bytes).into_iter().collect()),
        _ => look(codec::decode(bytes).into_iter().collect()),
    }
}

fn stream<T: DeserializeOwned>(mut bytes: &[u8]) -> Vec<T> {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = block_on(frame::read(&mut bytes)) {
        frames.push(frame);
    }
    frames
}

fn must_survive<T: Serialize + DeserializeOwned + PartialEq + Debug>(frame: &T) {
    let bytes = frame::to_bytes(frame).expect("what came in a frame fits into one");
    let again: Option<T> = block_on(frame::read(&mut &bytes[..])).expect("its own bytes");
    assert_eq!(again.as_ref(), Some(frame));
}

/// What the server does with a client's frames.
fn serve(frames: Vec<ClientFrame>) {
    let mut world = World::furnished();
    for frame in frames {
        must_survive(&frame);
        match frame {
            ClientFrame::Call {
                call: Call::Api(request),
                ..
            } => drop(world.ask(&request)),
            ClientFrame::Call {
                call: Call::Watch(request),
                ..
            } => watch(&world, &request),
            _ => {}
        }
    }
}

fn watch(world: &World, request: &WatchRequest) {
    match Selection::compile(&request.selection) {
        Ok(selection) => {
            for key in furniture() {
                world.view().get(&key).map(|o| selection.matches(o));
            }
        }
        Err(refusal) => assert!(refusal.reason.code() < 500, "{refusal:?}"),
    }
}

/// What a client does with a server's frames.
fn look(frames: Vec<ServerFrame>) {
    for frame in frames {
        must_survive(&frame);
        let ServerFrame::Reply { reply, .. } = frame else {
            continue;
        };
        match reply {
            Ok(Reply::Answer(answer)) => match answer.content {
                Content::Object(object) => show(&object),
                Content::List(list) => list.items.iter().for_each(|o| show(o)),
                Content::Bindings(_) | Content::Token { .. } | Content::Document(_) => {}
            },
            Ok(Reply::Events(events)) => events
                .iter()
                .filter_map(WatchEvent::object)
                .for_each(|o| show(o)),
            Ok(_) => {}
            Err(error) => drop(error.to_json()),
        }
    }
}

fn show(object: &Stored) {
    object.meta();
    let _ = object.to_value();
    if let Some(kind) = kind::of(&object.key.resource) {
        let _ = kind.row(object, Timestamp::UNIX_EPOCH);
        let _ = kind.fields_of(object);
    }
}

/// One stream of each direction with many kinds of frames, and single frames.
pub fn seeds() -> Vec<Vec<u8>> {
    let (client, server) = (client_frames(), server_frames());
    let mut seeds = vec![joined(0, &client), joined(1, &server)];
    seeds.extend(client.iter().map(|f| single(2, f)));
    seeds.extend(server.iter().map(|f| single(3, f)));
    seeds
}

fn joined<T: Serialize>(first: u8, frames: &[T]) -> Vec<u8> {
    let bytes = |f| frame::to_bytes(f).expect("a seed encodes");
    std::iter::once(first)
        .chain(frames.iter().flat_map(bytes))
        .collect()
}

fn single<T: Serialize>(first: u8, frame: &T) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(codec::encode(frame).expect("a seed encodes"));
    bytes
}

fn client_frames() -> Vec<ClientFrame> {
    let requests = requests().into_iter().map(Call::Api);
    let others = [
        Call::Watch(WatchRequest {
            selection: selection(
                "app in (web, x),!y",
                "metadata.name=web,status.phase!=Failed",
            ),
            start: WatchStart::After(3),
            bookmarks: true,
        }),
        Call::Node {
            node: Some("n1".into()),
            request: NodeRequest::Exec(ExecRequest {
                pod: pod(),
                container: "a".into(),
                command: vec!["sh".into()],
                stdin: true,
                tty: true,
                size: Some(SIZE),
            }),
        },
        Call::Node {
            node: None,
            request: NodeRequest::Logs(LogRequest {
                pod: pod(),
                container: String::new(),
                follow: true,
                previous: false,
                tail_lines: Some(3),
                since_ns: Some(-1),
                timestamps: true,
                limit_bytes: None,
                stream: LogStream::Stdout,
            }),
        },
        Call::Version,
        Call::WhoAmI,
    ];
    let calls = requests.chain(others).zip(1..);
    let mut frames = vec![ClientFrame::Hello {
        version: VERSION,
        agent: "kabuki/0.1.0".into(),
    }];
    frames.extend(calls.map(|(call, id)| ClientFrame::Call { id, call }));
    frames.extend([
        ClientFrame::Input {
            id: 1,
            chunk: ToNode::Input(Bytes::from_static(b"ls\n")),
        },
        ClientFrame::Input {
            id: 1,
            chunk: ToNode::Resize(SIZE),
        },
        ClientFrame::Credit { id: 2, frames: 9 },
        ClientFrame::Cancel { id: 2 },
    ]);
    frames
}

fn requests() -> Vec<Request> {
    let [web, deployment, settings, node] = furniture();
    let options = WriteOptions::default();
    vec![
        Request::Get {
            key: deployment.clone(),
            subresource: Some(Subresource::Scale),
        },
        Request::List(selection("app=web", "")),
        create(
            Resource::CONFIG_MAPS,
            "default",
            &json!({"metadata": {"generateName": "c-"}, "data": {"a": "b"}}),
        ),
        Request::Update {
            key: deployment.clone(),
            subresource: Some(Subresource::Scale),
            object: Bytes::from_static(br#"{"metadata":{"name":"web"},"spec":{"replicas":5}}"#),
            options: options.clone(),
        },
        Request::Update {
            key: web.clone(),
            subresource: Some(Subresource::Status),
            object: Bytes::from_static(
                br#"{"metadata":{"name":"web"},"status":{"phase":"Running"}}"#,
            ),
            options: options.clone(),
        },
        Request::Patch {
            key: settings.clone(),
            subresource: None,
            patch_type: PatchType::Merge,
            patch: Bytes::from_static(br#"{"data":{"a":null,"b":"2"}}"#),
            options,
        },
        Request::Delete {
            key: deployment,
            options: DeleteOptions {
                grace_period_s: Some(0),
                propagation: Some(Propagation::Foreground),
                revision: Some(4),
                ..DeleteOptions::default()
            },
        },
        Request::DeleteCollection {
            selection: selection("", ""),
            options: DeleteOptions::default(),
        },
        Request::Bind(vec![Binding {
            pod: web,
            uid: "u".into(),
            node: node.name,
        }]),
    ]
}

fn server_frames() -> Vec<ServerFrame> {
    let world = World::furnished();
    let [web, ..] = furniture();
    let object = world.view().get(&web).expect("it is furnished").clone();
    let list = ObjectList {
        revision: 7,
        items: vec![object.clone()],
        continue_token: "x".into(),
        remaining: Some(1),
    };
    let replies = [
        Ok(Reply::Answer(Answer::object(object.clone()))),
        Ok(Reply::Answer(Answer {
            content: Content::List(list),
            warnings: vec!["careful".into()],
        })),
        Ok(Reply::Events(vec![
            WatchEvent::Added(object),
            WatchEvent::Bookmark {
                revision: 9,
                initial_end: true,
            },
        ])),
        Ok(Reply::Chunk(FromNode::Progress(Progress {
            part: "layer".into(),
            doing: "Downloading".into(),
            done_bytes: 1,
            total_bytes: Some(2),
        }))),
        Ok(Reply::Chunk(FromNode::Done(Ok(Outcome::Exited(137))))),
        Ok(Reply::WhoAmI(Identity::node("n1"))),
        Err(StatusError::not_found(&web)),
    ];
    let mut frames = vec![ServerFrame::Welcome {
        version: VERSION,
        node: "n1".into(),
    }];
    frames.extend(
        replies
            .into_iter()
            .zip(1..)
            .map(|(reply, id)| ServerFrame::Reply {
                id,
                more: id % 2 == 0,
                reply,
            }),
    );
    frames.push(ServerFrame::Goodbye {
        reason: "bye".into(),
    });
    frames
}

const SIZE: TerminalSize = TerminalSize {
    columns: 80,
    rows: 25,
};

fn pod() -> PodRef {
    PodRef {
        namespace: "default".into(),
        name: "web".into(),
    }
}

fn selection(labels: &str, fields: &str) -> ListRequest {
    ListRequest {
        labels: labels.into(),
        fields: fields.into(),
        ..ListRequest::all(Resource::PODS, Some("default"))
    }
}
