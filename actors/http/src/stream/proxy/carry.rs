//! A node's stream as a stream of bytes.

use bytes::{Bytes, BytesMut};
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, ToNode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The bytes, and what moves them, which must be run and ends when either side does.
pub(super) fn connect(node: NodeStream) -> (DuplexStream, impl Future<Output = ()> + Send) {
    let (near, far) = tokio::io::duplex(CHUNK_BYTES);
    let (mut from_client, mut to_client) = tokio::io::split(far);
    let NodeStream { input, mut output } = node;
    let inward = async move {
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        while let Ok(1..) = from_client.read_buf(&mut buffer).await {
            let bytes: Bytes = buffer.split().freeze();
            if input.send(ToNode::Input(bytes)).await.is_err() {
                return;
            }
            buffer.reserve(CHUNK_BYTES);
        }
        // The pod may still have something to say.
        let _ = input.send(ToNode::EndOfInput).await;
        std::future::pending::<()>().await;
    };
    let outward = async move {
        while let Some(FromNode::Output(bytes)) = output.recv().await {
            if to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to_client.shutdown().await;
    };
    let both = async move {
        tokio::select! {
            () = inward => {}
            () = outward => {}
        }
    };
    (near, both)
}
