//! One stream of a session: what the client sends on it, and the way back.

use super::frame::{CANCEL, Frame, PIECE_BYTES};
use super::headers::Headers;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// The streams that data is for, by number.
pub(super) type Streams = Arc<Mutex<HashMap<u32, mpsc::Sender<Bytes>>>>;

/// A stream that the client opened. Dropping it tears it down, if it was not ended in order.
pub struct Stream {
    number: u32,
    headers: Headers,
    incoming: mpsc::Receiver<Bytes>,
    out: mpsc::Sender<Frame>,
    /// Whether the server has said that it sends no more.
    ended: bool,
    entry: Entry,
}

/// A stream's place among the open ones; given up when dropped.
struct Entry {
    number: u32,
    streams: Streams,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.remove(&self.number);
    }
}

/// The session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Stream {
    /// A new one, with its place among the open ones.
    pub(super) fn new(
        number: u32,
        headers: Headers,
        incoming: mpsc::Receiver<Bytes>,
        out: mpsc::Sender<Frame>,
        streams: Streams,
    ) -> Self {
        Self {
            number,
            headers,
            incoming,
            out,
            ended: false,
            entry: Entry { number, streams },
        }
    }

    /// What the client says that it is for; empty when it does not say.
    pub fn header(&self, name: &str) -> &str {
        let named = self.headers.iter().find(|(n, _)| n == name);
        named.map_or("", |(_, value)| value.as_str())
    }

    /// What makes two streams a pair: their `requestid`; of clients that give none, the number of
    /// the first of two that were opened one after the other.
    pub fn id(&self) -> String {
        match (self.header("requestid"), self.header("streamtype")) {
            ("", "data") => self.number.saturating_sub(2).to_string(),
            ("", _) => self.number.to_string(),
            (id, _) => id.to_string(),
        }
    }

    /// Lets the client use it.
    ///
    /// # Errors
    /// The session is over.
    pub async fn accept(&self) -> Result<(), Gone> {
        let reply = Frame::SynReply {
            stream: self.number,
            headers: Headers::new(),
        };
        self.out.send(reply).await.map_err(|_| Gone)
    }

    /// The next bytes; `None` when the client has sent all, or is gone.
    pub async fn receive(&mut self) -> Option<Bytes> {
        let bytes = self.incoming.recv().await?;
        let more = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if more > 0 {
            for stream in [self.number, 0] {
                // Clients that count may go on; an end of the session shows elsewhere.
                let _ = self.out.send(Frame::Window { stream, more }).await;
            }
        }
        Some(bytes)
    }

    /// The two directions of the stream, for two tasks.
    pub fn split(self) -> (StreamReader, StreamWriter) {
        let writer = StreamWriter {
            number: self.number,
            out: self.out.clone(),
            ended: self.ended,
        };
        (StreamReader(self), writer)
    }

    /// Sends bytes, waiting for room.
    ///
    /// # Errors
    /// The session is over.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        send(&self.out, self.number, bytes).await
    }

    /// Says that nothing more is sent.
    ///
    /// # Errors
    /// The session is over.
    pub async fn end(&mut self) -> Result<(), Gone> {
        self.ended = true;
        end(&self.out, self.number).await
    }
}

/// What the client sends on a stream.
pub struct StreamReader(Stream);

impl StreamReader {
    /// See [`Stream::receive`].
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.0.receive().await
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        // The writer says how the stream ends.
        self.0.ended = true;
    }
}

/// The way to the client on a stream. Dropping it tears the stream down, if it was not ended.
pub struct StreamWriter {
    number: u32,
    out: mpsc::Sender<Frame>,
    ended: bool,
}

impl StreamWriter {
    /// See [`Stream::send`].
    ///
    /// # Errors
    /// The session is over.
    pub async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        send(&self.out, self.number, bytes).await
    }

    /// See [`Stream::end`].
    ///
    /// # Errors
    /// The session is over.
    pub async fn end(&mut self) -> Result<(), Gone> {
        self.ended = true;
        end(&self.out, self.number).await
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if !self.ended {
            reset(&self.out, self.number, CANCEL);
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            reset(&self.out, self.entry.number, CANCEL);
        }
    }
}

async fn send(out: &mpsc::Sender<Frame>, stream: u32, mut bytes: Bytes) -> Result<(), Gone> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        let frame = Frame::Data {
            stream,
            fin: false,
            bytes: piece,
        };
        out.send(frame).await.map_err(|_| Gone)?;
    }
    Ok(())
}

async fn end(out: &mpsc::Sender<Frame>, stream: u32) -> Result<(), Gone> {
    let frame = Frame::Data {
        stream,
        fin: true,
        bytes: Bytes::new(),
    };
    out.send(frame).await.map_err(|_| Gone)
}

/// Without waiting: a client that does not read learns of the end by the session's.
fn reset(out: &mpsc::Sender<Frame>, stream: u32, status: u32) {
    let _ = out.try_send(Frame::Reset { stream, status });
}
