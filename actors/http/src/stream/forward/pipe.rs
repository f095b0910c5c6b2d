//! One forwarded connection: bytes both ways between a client and a node's stream.

use bytes::Bytes;
use kabuki_model::StatusError;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, ToNode};

/// The client's end is over.
pub(super) struct Gone;

/// What a client sends on one connection.
pub(super) trait Reader: Send {
    /// The next bytes; `None` when all was sent.
    fn receive(&mut self) -> impl Future<Output = Option<Bytes>> + Send;
}

/// What a client gets on one connection.
pub(super) trait Writer: Send {
    /// Sends bytes; waits for room.
    fn send(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// Moves bytes until the pod's side has ended, or the client is gone.
///
/// # Errors
/// The connection broke on the pod's side.
pub(super) async fn pipe(
    node: NodeStream,
    reader: &mut impl Reader,
    writer: &mut impl Writer,
) -> Result<(), StatusError> {
    let NodeStream {
        input: to_node,
        output: mut from_node,
    } = node;
    let inward = async {
        while let Some(mut bytes) = reader.receive().await {
            while !bytes.is_empty() {
                let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
                if to_node.send(ToNode::Input(chunk)).await.is_err() {
                    break;
                }
            }
        }
        // The pod may still have something to say.
        let _ = to_node.send(ToNode::EndOfInput).await;
        std::future::pending::<()>().await;
    };
    let outward = async {
        loop {
            match from_node.recv().await {
                Some(FromNode::Output(bytes)) => {
                    if writer.send(bytes).await.is_err() {
                        return Ok(());
                    }
                }
                Some(FromNode::Done(end)) => return end.map(drop),
                Some(_) => {}
                None => return Err(StatusError::unavailable("the node ended the connection")),
            }
        }
    };
    tokio::select! {
        () = inward => Ok(()),
        end = outward => end,
    }
}
