//! Between a node's stream and a client, whatever carries it.

use super::outcome::status;
use bytes::Bytes;
use kabuki_model::StatusError;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, TerminalSize, ToNode};
use serde::Deserialize;
use tokio::sync::mpsc;

/// Where bytes for the client go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Stdout,
    Stderr,
    /// How it ended.
    Error,
}

/// The client is gone.
pub(super) struct Gone;

/// The way to the client.
pub(super) trait Output: Send {
    /// Sends bytes; waits for room.
    fn send(
        &mut self,
        channel: Channel,
        bytes: Bytes,
    ) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// Moves bytes until the process has ended and the client knows how, or the client is gone. The
/// end of `input` means that it is gone; its input's own end is [`ToNode::EndOfInput`].
pub(super) async fn pump(
    node: NodeStream,
    mut input: mpsc::Receiver<ToNode>,
    output: &mut impl Output,
) {
    let NodeStream {
        input: to_node,
        output: mut from_node,
    } = node;
    let inward = async move {
        while let Some(chunk) = input.recv().await {
            if to_node.send(chunk).await.is_err() {
                // The process takes no more, but may have more to say.
                while input.recv().await.is_some() {}
            }
        }
    };
    let outward = async {
        let end = loop {
            match from_node.recv().await {
                Some(FromNode::Output(bytes)) => output.send(Channel::Stdout, bytes).await?,
                Some(FromNode::Error(bytes)) => output.send(Channel::Stderr, bytes).await?,
                Some(FromNode::Done(end)) => break end,
                Some(_) => {}
                None => break Err(StatusError::unavailable("the node ended the stream")),
            }
        };
        output.send(Channel::Error, status(&end)).await
    };
    tokio::select! {
        () = inward => {}
        // Either way there is nothing more to be done.
        _ = outward => {}
    }
}

/// Input of a client, in chunks that the node takes.
pub(super) fn chunks(mut bytes: Bytes) -> impl Iterator<Item = ToNode> {
    std::iter::from_fn(move || {
        let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
        (!chunk.is_empty()).then_some(ToNode::Input(chunk))
    })
}

/// A terminal's size as clients write it.
#[derive(Deserialize)]
struct Size {
    #[serde(rename = "Width")]
    width: u16,
    #[serde(rename = "Height")]
    height: u16,
}

/// Reads a terminal's size. A terminal without columns or lines is none.
pub(super) fn resize(json: &[u8]) -> Option<ToNode> {
    let size: Size = serde_json::from_slice(json).ok()?;
    let size = TerminalSize {
        columns: size.width,
        rows: size.height,
    };
    (size.columns > 0 && size.rows > 0).then_some(ToNode::Resize(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_cut_and_sizes_are_read() {
        let sizes: Vec<usize> = chunks(Bytes::from(vec![0; CHUNK_BYTES + 1]))
            .filter_map(|c| match c {
                ToNode::Input(bytes) => Some(bytes.len()),
                _ => None,
            })
            .collect();
        assert_eq!(sizes, [CHUNK_BYTES, 1]);
        let size = TerminalSize {
            columns: 80,
            rows: 24,
        };
        let read = resize(br#"{"Width":80,"Height":24}"#);
        assert_eq!(read, Some(ToNode::Resize(size)));
        assert_eq!(resize(br#"{"Width":0,"Height":0}"#), None);
        assert_eq!(resize(b"{"), None);
    }
}
