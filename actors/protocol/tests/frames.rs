//! Hostile bytes where frames are expected: an error or a message, never a panic, never more
//! memory than what arrived.

use bytes::Bytes;
use kabuki_model::request::{DeleteOptions, ListRequest, Request, WriteOptions};
use kabuki_model::watch::{WatchRequest, WatchStart};
use kabuki_model::{ObjectKey, Resource};
use kabuki_protocol::frame;
use kabuki_protocol::node::{LogRequest, LogStream, NodeRequest, PodRef, ToNode};
use kabuki_protocol::session::{Call, ClientFrame, ServerFrame};
use proptest::prelude::*;

/// One frame of each shape.
fn samples() -> Vec<ClientFrame> {
    let key = ObjectKey::new(Resource::PODS, "default", "web");
    let create = Request::Create {
        resource: Resource::named("widgets.example.com"),
        namespace: "default".into(),
        object: Bytes::from_static(b"{\"metadata\":{\"name\":\"a\"}}"),
        options: WriteOptions::default(),
    };
    let delete = Request::Delete {
        key,
        options: DeleteOptions::default(),
    };
    let watch = WatchRequest {
        selection: ListRequest::all(Resource::PODS, Some("default")),
        start: WatchStart::After(7),
        bookmarks: true,
    };
    let logs = LogRequest {
        pod: PodRef {
            namespace: "default".into(),
            name: "web".into(),
        },
        container: String::new(),
        follow: true,
        previous: false,
        tail_lines: Some(10),
        since_ns: None,
        timestamps: false,
        limit_bytes: None,
        stream: LogStream::Stderr,
    };
    let calls = [
        Call::Api(create),
        Call::Api(delete),
        Call::Watch(watch),
        Call::Node {
            node: None,
            request: NodeRequest::Logs(logs),
        },
    ];
    let mut frames: Vec<ClientFrame> = (1..)
        .zip(calls)
        .map(|(id, call)| ClientFrame::Call { id, call })
        .collect();
    frames.push(ClientFrame::Hello {
        version: 1,
        agent: "test".into(),
    });
    frames.push(ClientFrame::Input {
        id: 3,
        chunk: ToNode::Input(Bytes::from_static(b"hello")),
    });
    frames
}

/// Reads frames until the bytes end or are refused.
fn read_all(bytes: &[u8]) -> Vec<ClientFrame> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut stream = bytes;
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = frame::read::<ClientFrame>(&mut stream).await {
            frames.push(frame);
        }
        frames
    })
}

#[test]
fn every_shape_of_frame_survives_the_wire() {
    let bytes: Vec<u8> = samples()
        .iter()
        .flat_map(|f| frame::to_bytes(f).expect("encodes"))
        .collect();
    assert_eq!(read_all(&bytes), samples());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        read_all(&bytes);
        let mut framed = (bytes.len() as u32).to_be_bytes().to_vec();
        framed.extend_from_slice(&bytes);
        read_all(&framed);
        let _ = kabuki_model::codec::decode::<ServerFrame>(&bytes);
    }

    #[test]
    fn altered_frames_are_read_or_refused(
        which in 0..6usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame::to_bytes(&samples()[which]).expect("encodes");
        for (at, value) in changes {
            // The length in front stays, so that the altered body itself is reached.
            let at = 4 + at.index(bytes.len() - 4);
            bytes[at] = value;
        }
        read_all(&bytes);
        let end = cut.index(bytes.len());
        read_all(&bytes[..end]);
    }
}
