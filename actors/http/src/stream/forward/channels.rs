//! Connections as channels of a WebSocket: two for each port that was named, one for data and one
//! for what goes wrong, each of which begins with the port (Kubernetes, `v4.channel.k8s.io`).

use super::Dial;
use super::pipe::{Gone, Reader, Writer, pipe};
use crate::request::Context;
use crate::stream::websocket::{Connection, Sender};
use bytes::{Buf, Bytes};
use futures::future::join_all;
use kabuki_model::StatusError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A channel is one byte.
const MAX_PORTS: usize = 128;
/// Messages of one channel that wait before the connection's reading stops.
const DEPTH: usize = 4;

/// The ports that a request names.
pub(super) fn ports(context: &Context) -> Result<Vec<u16>, StatusError> {
    let refuse = |why: String| Err(StatusError::bad_request(why));
    let mut ports = Vec::new();
    for text in context.query.all("ports").flat_map(|p| p.split(',')) {
        match text.parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => return refuse(format!("{text:?} is no port")),
        }
    }
    match ports.len() {
        0 => refuse("query parameter \"ports\" is required".to_string()),
        1..=MAX_PORTS => Ok(ports),
        _ => refuse(format!("at most {MAX_PORTS} ports may be named")),
    }
}

struct Channel {
    client: Sender,
    number: u8,
}

impl Writer for Channel {
    async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let sent = self.client.send(Some(self.number), bytes).await;
        sent.map_err(|_| Gone)
    }
}

impl Reader for mpsc::Receiver<Bytes> {
    async fn receive(&mut self) -> Option<Bytes> {
        self.recv().await
    }
}

/// Serves the connections until the client is gone, or all have ended.
pub(super) async fn serve<S>(stream: S, dial: &Dial, ports: &[u16])
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut incoming, client, tasks) = Connection::new(stream).split();
    let (mut inputs, mut connections) = (Vec::new(), Vec::new());
    for (port, number) in ports.iter().copied().zip((0..=u8::MAX).step_by(2)) {
        let (input, received) = mpsc::channel(DEPTH);
        inputs.push(input);
        connections.push(connect(dial, &client, port, number, received));
    }
    let listening = async {
        while let Some(mut message) = incoming.recv().await {
            // Data channels are even; what comes on others means nothing.
            let Ok(channel) = message.try_get_u8() else {
                continue;
            };
            if channel % 2 == 0
                && let Some(input) = inputs.get(usize::from(channel / 2))
            {
                // Its connection may have ended.
                let _ = input.send(message).await;
            }
        }
    };
    tokio::select! {
        () = listening => {}
        _ = join_all(connections) => {}
        () = client.gone() => {}
    }
    drop(client);
    tasks.finish().await;
}

async fn connect(
    dial: &Dial,
    client: &Sender,
    port: u16,
    number: u8,
    mut received: mpsc::Receiver<Bytes>,
) {
    let channel = |number| Channel {
        client: client.clone(),
        number,
    };
    let (mut data, mut error) = (channel(number), channel(number + 1));
    for channel in [&mut data, &mut error] {
        let head = Bytes::copy_from_slice(&port.to_le_bytes());
        if channel.send(head).await.is_err() {
            return;
        }
    }
    let ended = match dial.open(port).await {
        Ok(node) => pipe(node, &mut received, &mut data).await,
        Err(refusal) => Err(refusal),
    };
    if let Err(refusal) = ended {
        // The client may be gone.
        let _ = error.send(Bytes::from(dial.failure(port, &refusal))).await;
    }
}
