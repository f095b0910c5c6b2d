//! A process over SPDY: one stream for each of its own (Kubernetes, `v4.channel.k8s.io`).

use super::Wanted;
use super::pump::{Channel, Gone, Output, chunks, pump, resize};
use crate::stream::spdy::{Session, Stream, StreamReader, StreamWriter};
use bytes::{Bytes, BytesMut};
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::ToNode;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// How long a client may take to open all its streams, as in Kubernetes.
const STREAMS_LIMIT: Duration = Duration::from_secs(30);
/// A terminal's size has some thirty bytes; what is longer is none.
const MAX_SIZE_BYTES: usize = 1024;

#[derive(Default)]
struct Streams {
    writers: BTreeMap<String, StreamWriter>,
    readers: BTreeMap<String, StreamReader>,
}

impl Output for Streams {
    async fn send(&mut self, channel: Channel, bytes: Bytes) -> Result<(), Gone> {
        let name = match channel {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
            Channel::Error => "error",
        };
        match self.writers.get(name) {
            Some(writer) => writer.send(bytes).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }
}

/// Serves a process until it has ended or the client is gone.
pub(super) async fn serve<S>(connection: S, wanted: Wanted, node: NodeStream)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut session = Session::new(connection);
    let collecting = tokio::time::timeout(STREAMS_LIMIT, collect(&mut session, wanted));
    let Ok(Some(mut streams)) = collecting.await else {
        tracing::debug!("a client did not open its streams");
        return;
    };
    let (to, input) = mpsc::channel(1);
    let stdin = streams.readers.remove("stdin");
    let sizes = streams.readers.remove("resize");
    let gone = session.gone();
    let listening = async {
        // Both may end before the client goes.
        futures::join!(
            listen(stdin, to.clone()),
            sizes_of(sizes, to.clone()),
            async { while session.next().await.is_some() {} }
        );
    };
    tokio::select! {
        () = pump(node, input, &mut streams) => {}
        () = listening => {}
        () = gone => {}
    }
    for writer in streams.writers.values_mut() {
        if writer.end().await.is_err() {
            return;
        }
    }
    drop(streams);
    session.finish().await;
}

/// Waits for every stream of the process.
async fn collect(session: &mut Session, wanted: Wanted) -> Option<Streams> {
    let names = [
        ("error", true),
        ("stdin", wanted.stdin),
        ("stdout", wanted.stdout),
        ("stderr", wanted.stderr),
        ("resize", wanted.tty),
    ];
    let mut missing: Vec<&str> = names.iter().filter(|n| n.1).map(|n| n.0).collect();
    let mut streams = Streams::default();
    while !missing.is_empty() {
        let stream: Stream = session.next().await?;
        let name = stream.header("streamtype").to_string();
        // One that nobody asked for is torn down.
        let Some(at) = missing.iter().position(|n| *n == name) else {
            continue;
        };
        missing.remove(at);
        stream.accept().await.ok()?;
        let (reader, writer) = stream.split();
        streams.readers.insert(name.clone(), reader);
        streams.writers.insert(name, writer);
    }
    Some(streams)
}

async fn listen(stdin: Option<StreamReader>, to: mpsc::Sender<ToNode>) {
    let Some(mut stdin) = stdin else { return };
    while let Some(bytes) = stdin.receive().await {
        for chunk in chunks(bytes) {
            if to.send(chunk).await.is_err() {
                return;
            }
        }
    }
    // The process may be gone.
    let _ = to.send(ToNode::EndOfInput).await;
}

/// Sizes come as JSON, one after the other, in any pieces.
async fn sizes_of(sizes: Option<StreamReader>, to: mpsc::Sender<ToNode>) {
    let Some(mut sizes) = sizes else { return };
    let mut text = BytesMut::new();
    while let Some(bytes) = sizes.receive().await {
        text.extend_from_slice(&bytes);
        while let Some(end) = text.iter().position(|b| *b == b'}') {
            let size = text.split_to(end + 1);
            if let Some(size) = resize(size.trim_ascii_start())
                && to.send(size).await.is_err()
            {
                return;
            }
        }
        if text.len() > MAX_SIZE_BYTES {
            text.clear();
        }
    }
}
