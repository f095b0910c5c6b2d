use super::*;
use crate::fake::{FromNode, ToNode, stream};
use crate::stream::spdy;
use crate::stream::websocket::{Opcode, encode};
use bytes::{Bytes, BytesMut};
use kabuki_protocol::node::{Outcome, TerminalSize};
use std::collections::BTreeMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const ALL: Wanted = Wanted {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
};

/// A message of a client; the mask leaves it as it is.
fn message(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    encode(opcode, &[payload], &mut frame);
    let head = frame.len() - payload.len();
    frame[1] |= 0x80;
    let mut whole = frame[..head].to_vec();
    whole.extend([0; 4]);
    whole.extend_from_slice(payload);
    whole
}

/// The next frame of the server: its first byte and what it carries.
async fn frame(client: &mut DuplexStream) -> (u8, Vec<u8>) {
    let (first, length) = (
        client.read_u8().await.expect("a frame"),
        client.read_u8().await.expect("a length"),
    );
    let length = match length {
        126 => usize::from(client.read_u16().await.expect("a length")),
        127 => client.read_u64().await.expect("a length") as usize,
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    client.read_exact(&mut payload).await.expect("a payload");
    (first, payload)
}

#[tokio::test]
async fn a_process_is_fed_heard_and_its_exit_code_told_over_a_websocket() {
    let (mut client, server) = tokio::io::duplex(4096);
    let (node, mut input, output) = stream();
    let serving = tokio::spawn(channels::serve(server, true, ALL, node));
    assert_eq!(frame(&mut client).await, (0x82, vec![1]));
    client
        .write_all(&message(Opcode::Binary, b"\0in"))
        .await
        .expect("sent");
    client
        .write_all(&message(Opcode::Ping, b"?"))
        .await
        .expect("sent");
    client
        .write_all(&message(Opcode::Binary, b"\xff\0"))
        .await
        .expect("sent");
    assert_eq!(frame(&mut client).await, (0x8a, b"?".to_vec()));
    assert_eq!(
        input.recv().await,
        Some(ToNode::Input(Bytes::from_static(b"in")))
    );
    assert_eq!(input.recv().await, Some(ToNode::EndOfInput));
    for chunk in [
        FromNode::Output(Bytes::from_static(b"out")),
        FromNode::Error(Bytes::from_static(b"err")),
        FromNode::Done(Ok(Outcome::Exited(3))),
    ] {
        output.send(chunk).await.expect("there is a client");
    }
    assert_eq!(frame(&mut client).await, (0x82, b"\x01out".to_vec()));
    assert_eq!(frame(&mut client).await, (0x82, b"\x02err".to_vec()));
    let (_, status) = frame(&mut client).await;
    assert_eq!(status.first(), Some(&3));
    let status: serde_json::Value = serde_json::from_slice(&status[1..]).expect("JSON");
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    assert_eq!(
        frame(&mut client).await,
        (0x88, 1000u16.to_be_bytes().to_vec())
    );
    serving.await.expect("ended in order");
}

#[tokio::test]
async fn a_terminals_size_reaches_the_process() {
    let (mut client, server) = tokio::io::duplex(4096);
    let (node, mut input, _output) = stream();
    let wanted = Wanted {
        tty: true,
        stderr: false,
        ..ALL
    };
    tokio::spawn(channels::serve(server, true, wanted, node));
    let size = b"\x04{\"Width\":132,\"Height\":43}";
    client
        .write_all(&message(Opcode::Binary, size))
        .await
        .expect("sent");
    let size = TerminalSize {
        columns: 132,
        rows: 43,
    };
    assert_eq!(input.recv().await, Some(ToNode::Resize(size)));
}

#[tokio::test]
async fn a_client_that_vanishes_ends_what_was_done_for_it() {
    let (client, server) = tokio::io::duplex(4096);
    let (node, mut input, output) = stream();
    let serving = tokio::spawn(channels::serve(server, true, ALL, node));
    drop(client);
    assert_eq!(input.recv().await, None);
    output.closed().await;
    serving.await.expect("ended in order");
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_process_and_buffers_little() {
    let (client, server) = tokio::io::duplex(4096);
    let (node, _input, output) = stream();
    tokio::spawn(channels::serve(server, true, ALL, node));
    let chunk = || FromNode::Output(Bytes::from(vec![0; 64 << 10]));
    let mut sent = 0;
    loop {
        // Whoever could go on has had its turn by then.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        match output.try_send(chunk()) {
            Ok(()) => sent += 1,
            Err(_) => break,
        }
        assert!(sent < 100, "nothing stops the process");
    }
    drop(client);
    output.closed().await;
}

/// An old client: SPDY's frames over a stream of bytes.
struct Old {
    connection: DuplexStream,
    encoder: spdy::Encoder,
    decoder: spdy::Decoder,
}

impl Old {
    fn new(connection: DuplexStream) -> Self {
        Self {
            connection,
            encoder: spdy::Encoder::default(),
            decoder: spdy::Decoder::default(),
        }
    }

    async fn send(&mut self, frame: spdy::Frame) {
        let mut bytes = BytesMut::new();
        self.encoder.encode(&frame, &mut bytes);
        self.connection.write_all(&bytes).await.expect("sent");
    }

    async fn open(&mut self, stream: u32, name: &str) {
        let headers = vec![("streamtype".to_string(), name.to_string())];
        let frame = spdy::Frame::SynStream {
            stream,
            fin: false,
            unidirectional: false,
            headers,
        };
        self.send(frame).await;
        let reply = self.next().await.expect("a reply");
        assert!(matches!(reply, spdy::Frame::SynReply { stream: s, .. } if s == stream));
    }

    /// The next frame that is no window.
    async fn next(&mut self) -> Option<spdy::Frame> {
        loop {
            match self.decoder.frame().expect("well formed") {
                Some(spdy::Frame::Window { .. }) => {}
                Some(frame) => return Some(frame),
                None => {
                    let read = self.connection.read_buf(self.decoder.buffer()).await;
                    if read.expect("reads") == 0 {
                        return None;
                    }
                }
            }
        }
    }
}

fn data(stream: u32, fin: bool, bytes: &'static [u8]) -> spdy::Frame {
    spdy::Frame::Data {
        stream,
        fin,
        bytes: Bytes::from_static(bytes),
    }
}

#[tokio::test]
async fn a_process_is_fed_heard_and_its_exit_code_told_over_spdy() {
    let (client, server) = tokio::io::duplex(4096);
    let (node, mut input, output) = stream();
    let serving = tokio::spawn(streams::serve(server, ALL, node));
    let mut client = Old::new(client);
    for (number, name) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        client.open(number, name).await;
    }
    client.send(data(3, false, b"in")).await;
    client.send(data(3, true, b"")).await;
    client.send(spdy::Frame::Ping(1)).await;
    assert_eq!(client.next().await, Some(spdy::Frame::Ping(1)));
    assert_eq!(
        input.recv().await,
        Some(ToNode::Input(Bytes::from_static(b"in")))
    );
    assert_eq!(input.recv().await, Some(ToNode::EndOfInput));
    output
        .send(FromNode::Output(Bytes::from_static(b"out")))
        .await
        .expect("a client");
    let end = FromNode::Done(Ok(Outcome::Exited(0)));
    output.send(end).await.expect("a client");
    // What each stream carried, in whatever pieces, and which were ended.
    let (mut heard, mut ended) = (BTreeMap::<u32, Vec<u8>>::new(), Vec::new());
    while let Some(frame) = client.next().await {
        match frame {
            spdy::Frame::Data { stream, fin, bytes } => {
                heard.entry(stream).or_default().extend_from_slice(&bytes);
                ended.extend(fin.then_some(stream));
            }
            spdy::Frame::GoAway { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, [1, 3, 5, 7]);
    assert_eq!(heard[&5], b"out");
    let status: serde_json::Value = serde_json::from_slice(&heard[&1]).expect("JSON");
    assert_eq!(status["status"], "Success");
    serving.await.expect("ended in order");
}

#[tokio::test]
async fn an_old_client_that_vanishes_ends_what_was_done_for_it() {
    let (client, server) = tokio::io::duplex(4096);
    let (node, _input, output) = stream();
    let serving = tokio::spawn(streams::serve(server, ALL, node));
    let mut client = Old::new(client);
    for (number, name) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        client.open(number, name).await;
    }
    drop(client);
    output.closed().await;
    serving.await.expect("ended in order");
}
