//! Connections as pairs of SPDY streams: one for data and one for what goes wrong, with the same
//! `requestid` (Kubernetes, `portforward.k8s.io`).

use super::Dial;
use super::pipe::{Gone, Reader, Writer, pipe};
use crate::stream::spdy::{Session, Stream, StreamReader, StreamWriter};
use bytes::Bytes;
use std::collections::HashMap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Connections that are open at once for one client.
const MAX_CONNECTIONS: usize = 256;
/// Streams whose other half has not come yet.
const MAX_HALVES: usize = 64;

#[derive(Default)]
struct Half {
    data: Option<Stream>,
    error: Option<Stream>,
}

impl Reader for StreamReader {
    async fn receive(&mut self) -> Option<Bytes> {
        StreamReader::receive(self).await
    }
}

impl Writer for StreamWriter {
    async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        StreamWriter::send(self, bytes).await.map_err(|_| Gone)
    }
}

/// Serves connections until the client is gone.
pub(super) async fn serve<S>(connection: S, dial: &Dial)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut session = Session::new(connection);
    let gone = session.gone();
    let serving = async {
        let (mut halves, mut open) = (HashMap::<String, Half>::new(), JoinSet::new());
        while let Some(stream) = session.next().await {
            while open.try_join_next().is_some() {}
            let id = stream.id();
            let half = halves.entry(id.clone()).or_default();
            let place = match stream.header("streamtype") {
                "data" => &mut half.data,
                "error" => &mut half.error,
                // Dropped, which tears it down.
                _ => continue,
            };
            if place.is_some() || stream.accept().await.is_err() {
                continue;
            }
            *place = Some(stream);
            if let (Some(_), Some(_)) = (&half.data, &half.error)
                && let Some(Half {
                    data: Some(data),
                    error: Some(error),
                }) = halves.remove(&id)
            {
                if open.len() >= MAX_CONNECTIONS {
                    continue;
                }
                open.spawn(connect(dial.clone(), data, error));
            }
            if halves.len() > MAX_HALVES {
                halves.clear();
            }
        }
    };
    // The connections end with the set that holds them.
    tokio::select! {
        () = serving => {}
        () = gone => {}
    }
    session.finish().await;
}

async fn connect(dial: Dial, data: Stream, mut error: Stream) {
    let Ok(port) = data.header("port").parse::<u16>() else {
        let why = format!("{:?} is no port", data.header("port"));
        let _ = error.send(Bytes::from(why)).await;
        let _ = error.end().await;
        return;
    };
    let (mut reader, mut writer) = data.split();
    let ended = match dial.open(port).await {
        Ok(node) => pipe(node, &mut reader, &mut writer).await,
        Err(refusal) => Err(refusal),
    };
    // The client may be gone; then nothing of this arrives.
    if let Err(refusal) = ended {
        let _ = error.send(Bytes::from(dial.failure(port, &refusal))).await;
    }
    let _ = error.end().await;
    let _ = writer.end().await;
}
