//! SPDY inside of a WebSocket: each message is a piece of SPDY's bytes.

use super::{Dial, pairs};
use crate::stream::websocket::Connection;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that wait between the two, in each direction.
const BETWEEN: usize = 64 << 10;

/// Serves connections until the client is gone.
pub(super) async fn serve<S>(stream: S, dial: &Dial)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut incoming, client, tasks) = Connection::new(stream).split();
    let (near, far) = tokio::io::duplex(BETWEEN);
    let (mut from_session, mut to_session) = tokio::io::split(near);
    let inward = async move {
        while let Some(message) = incoming.recv().await {
            if to_session.write_all(&message).await.is_err() {
                break;
            }
        }
        // The session sees the end of its bytes.
        let _ = to_session.shutdown().await;
    };
    let outward = async move {
        let mut buffer = BytesMut::with_capacity(BETWEEN);
        while let Ok(1..) = from_session.read_buf(&mut buffer).await {
            let bytes: Bytes = buffer.split().freeze();
            if client.send(None, bytes).await.is_err() {
                break;
            }
            buffer.reserve(BETWEEN);
        }
    };
    futures::join!(inward, outward, pairs::serve(far, dial));
    tasks.finish().await;
}
