//! A process over a WebSocket: the first byte of each message is its channel (Kubernetes,
//! `v4.channel.k8s.io` and `v5.channel.k8s.io`).

use super::Wanted;
use super::pump::{Channel, Gone, Output, chunks, pump, resize};
use crate::stream::websocket::{Connection, Sender};
use bytes::{Buf, Bytes};
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::ToNode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In v5 the client ends the channel that the next byte names.
const CLOSE: u8 = 255;

struct Channels {
    wanted: Wanted,
    client: Sender,
}

impl Output for Channels {
    async fn send(&mut self, channel: Channel, bytes: Bytes) -> Result<(), Gone> {
        let number = match channel {
            Channel::Stdout if self.wanted.stdout => STDOUT,
            Channel::Stderr if self.wanted.stderr => STDERR,
            Channel::Error => ERROR,
            Channel::Stdout | Channel::Stderr => return Ok(()),
        };
        self.client
            .send(Some(number), bytes)
            .await
            .map_err(|_| Gone)
    }
}

/// Serves a process until it has ended or the client is gone.
pub(super) async fn serve<S>(stream: S, half_close: bool, wanted: Wanted, node: NodeStream)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut incoming, client, tasks) = Connection::new(stream).split();
    // The first word tells the client that it is connected, as in Kubernetes.
    let first = match wanted {
        Wanted { stdout: true, .. } => STDOUT,
        Wanted { stderr: true, .. } => STDERR,
        _ => ERROR,
    };
    if client.send(Some(first), Bytes::new()).await.is_err() {
        return;
    }
    let (to, input) = mpsc::channel(1);
    let listening = async {
        while let Some(message) = incoming.recv().await {
            for chunk in understand(message, half_close, wanted) {
                if to.send(chunk).await.is_err() {
                    return;
                }
            }
        }
    };
    let mut output = Channels {
        wanted,
        client: client.clone(),
    };
    tokio::select! {
        () = pump(node, input, &mut output) => {}
        () = listening => {}
        () = client.gone() => {}
    }
    drop((client, output));
    tasks.finish().await;
}

/// What a message of the client means. What means nothing is passed over, as in Kubernetes.
fn understand(mut message: Bytes, half_close: bool, wanted: Wanted) -> Vec<ToNode> {
    let Ok(channel) = message.try_get_u8() else {
        return Vec::new();
    };
    match channel {
        STDIN if wanted.stdin => chunks(message).collect(),
        CLOSE if half_close && wanted.stdin && *message == [STDIN] => vec![ToNode::EndOfInput],
        RESIZE if wanted.tty => resize(&message).into_iter().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_agreed_on_is_understood() {
        let wanted = Wanted {
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
        };
        let said = |bytes: &'static [u8], v5| understand(Bytes::from_static(bytes), v5, wanted);
        let input = ToNode::Input(Bytes::from_static(b"ls"));
        assert_eq!(said(b"\0ls", false), [input]);
        assert_eq!(said(b"\xff\0", true), [ToNode::EndOfInput]);
        assert_eq!(said(b"\xff\0", false), []);
        assert_eq!(said(b"\xff\x01", true), []);
        assert_eq!(said(b"\x04{\"Width\":1,\"Height\":1}", true), []);
        assert_eq!(said(b"", true), []);
        let deaf = Wanted {
            stdin: false,
            ..wanted
        };
        assert_eq!(understand(Bytes::from_static(b"\0ls"), true, deaf), []);
    }
}
