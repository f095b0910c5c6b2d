use super::*;
use crate::fake::{FromNode, Opened, ToNode, front};
use crate::stream::spdy::{Decoder, Encoder, Frame};
use bytes::{Bytes, BytesMut};
use kabuki_model::identity::Identity;
use kabuki_protocol::node::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

/// A client that forwards over SPDY, and what the node is asked.
struct Client {
    connection: DuplexStream,
    encoder: Encoder,
    decoder: Decoder,
    next: u32,
}

fn client() -> (Client, mpsc::Receiver<Opened>, tokio::task::JoinHandle<()>) {
    let (connection, server) = tokio::io::duplex(4096);
    let (front, opened) = front();
    let dial = Dial {
        front,
        who: Authenticated::new(Identity::new("jo", [])),
        pod: PodRef {
            namespace: "default".to_string(),
            name: "web".to_string(),
        },
    };
    let serving = tokio::spawn(async move { pairs::serve(server, &dial).await });
    let client = Client {
        connection,
        encoder: Encoder::default(),
        decoder: Decoder::default(),
        next: 1,
    };
    (client, opened, serving)
}

impl Client {
    async fn send(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        self.encoder.encode(&frame, &mut bytes);
        self.connection.write_all(&bytes).await.expect("sent");
    }

    /// The pair of a connection: the numbers of its streams for errors and for data.
    async fn connect(&mut self, port: u16, id: u32) -> (u32, u32) {
        let (error, data) = (self.next, self.next + 2);
        self.next += 4;
        for (stream, name) in [(error, "error"), (data, "data")] {
            let pairs = [
                ("streamtype", name.to_string()),
                ("port", port.to_string()),
                ("requestid", id.to_string()),
            ];
            let frame = Frame::SynStream {
                stream,
                fin: false,
                unidirectional: false,
                headers: pairs.map(|(n, v)| (n.to_string(), v)).to_vec(),
            };
            self.send(frame).await;
            assert!(matches!(self.next().await, Some(Frame::SynReply { .. })));
        }
        (error, data)
    }

    /// So many bytes of a stream, which may come in any pieces.
    async fn hear(&mut self, stream: u32, length: usize) -> String {
        let mut heard = Vec::new();
        while heard.len() < length {
            match self.next().await {
                Some(Frame::Data {
                    stream: on, bytes, ..
                }) if on == stream => heard.extend_from_slice(&bytes),
                other => panic!("{other:?} after {heard:?}"),
            }
        }
        String::from_utf8(heard).expect("text")
    }

    async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.decoder.frame().expect("well formed") {
                Some(Frame::Window { .. }) => {}
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

fn data(stream: u32, fin: bool, bytes: &'static [u8]) -> Frame {
    Frame::Data {
        stream,
        fin,
        bytes: Bytes::from_static(bytes),
    }
}

#[tokio::test]
async fn connections_carry_bytes_both_ways_and_end_one_by_one() {
    let (mut client, mut opened, serving) = client();
    let (error, stream) = client.connect(80, 0).await;
    let (_, other) = client.connect(81, 1).await;
    let (request, mut input, output) = opened.recv().await.expect("opened");
    assert!(matches!(request, NodeRequest::PortForward { port: 80, .. }));
    let (_, _other_input, other_output) = opened.recv().await.expect("opened");
    client.send(data(stream, false, b"question")).await;
    client.send(data(stream, true, b"")).await;
    let question = ToNode::Input(Bytes::from_static(b"question"));
    assert_eq!(input.recv().await, Some(question));
    assert_eq!(input.recv().await, Some(ToNode::EndOfInput));
    let answer = FromNode::Output(Bytes::from_static(b"answer"));
    output.send(answer).await.expect("a client");
    assert_eq!(client.hear(stream, 6).await, "answer");
    let end = FromNode::Done(Ok(Outcome::Complete));
    output.send(end).await.expect("a client");
    assert_eq!(client.next().await, Some(data(error, true, b"")));
    assert_eq!(client.next().await, Some(data(stream, true, b"")));
    let more = FromNode::Output(Bytes::from_static(b"more"));
    other_output.send(more).await.expect("a client");
    assert_eq!(client.hear(other, 4).await, "more");
    drop(client);
    other_output.closed().await;
    serving.await.expect("ended in order");
}

#[tokio::test]
async fn a_port_that_nobody_serves_is_said_on_the_stream_for_errors() {
    let (mut client, _opened, _serving) = client();
    let (error, stream) = client.connect(1, 0).await;
    let said = "error forwarding port 1 to pod default/web: connection refused";
    assert_eq!(client.hear(error, said.len()).await, said);
    assert_eq!(client.next().await, Some(data(error, true, b"")));
    assert_eq!(client.next().await, Some(data(stream, true, b"")));
}
