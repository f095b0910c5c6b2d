//! How frames are cut out of a byte stream: four bytes of length (big endian), then the encoded
//! message. A length beyond the limit ends the stream before anything is allocated.

mod outflow;
mod outlet;

pub use outflow::Outflow;
pub use outlet::{Outgoing, Outlet, Sending};

use crate::session::MAX_FRAME_BYTES;
use bytes::{Buf, BytesMut};
use kabuki_model::codec::{self, CodecError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The length in front of a message.
const HEAD_BYTES: usize = 4;
/// Room for what arrives: as much as TLS puts into one record.
const READ_BYTES: usize = 16 << 10;
/// A larger buffer is not kept when it is empty.
const KEPT_BYTES: usize = 64 << 10;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The connection failed or ended in the middle of a frame.
    #[error("connection failed")]
    Io(#[from] io::Error),
    /// A frame is larger than the limit.
    #[error("frame of {length} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// What the sender announced.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The bytes are no message.
    #[error("frame is no message of the protocol")]
    Codec(#[from] CodecError),
}

/// Encodes a message with its length in front.
pub fn to_bytes<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = Vec::new();
    append(&mut frame, message)?;
    Ok(frame)
}

/// The same behind other frames, which stay as they are when it cannot be encoded.
pub fn append<T: Serialize>(frames: &mut Vec<u8>, message: &T) -> Result<(), FrameError> {
    append_with(frames, |body| codec::encode_into(message, body))
}

/// The same for a message that `encode` puts behind what is there.
pub fn append_with<E: Into<FrameError>>(
    frames: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), FrameError> {
    let begin = frames.len();
    let body = begin + HEAD_BYTES;
    frames.resize(body, 0);
    let encoded = encode(frames);
    let length = frames.len() - body;
    if let Err(error) = encoded {
        frames.truncate(begin);
        return Err(error.into());
    }
    if length > MAX_FRAME_BYTES {
        frames.truncate(begin);
        return Err(FrameError::TooLarge {
            length,
            limit: MAX_FRAME_BYTES,
        });
    }
    // The limit above keeps the length far below 2^32.
    frames[begin..body].copy_from_slice(&(length as u32).to_be_bytes());
    Ok(())
}

/// Writes one message and flushes it.
pub async fn write<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> Result<(), FrameError> {
    stream.write_all(&to_bytes(message)?).await?;
    stream.flush().await?;
    Ok(())
}

/// Reads one message, and nothing after it; `None` when the stream ended between two frames.
pub async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut length = [0u8; HEAD_BYTES];
    match stream.read(&mut length).await? {
        0 => return Ok(None),
        read => {
            stream.read_exact(&mut length[read..]).await?;
        }
    }
    let length = announced(length)?;
    // Grows with what arrives, not with what was announced.
    let mut body = Vec::with_capacity(length.min(KEPT_BYTES));
    let got = stream.take(length as u64).read_to_end(&mut body).await?;
    if got < length {
        return Err(cut_off());
    }
    Ok(Some(codec::decode(&body)?))
}

/// Reads the messages of a stream to its end: as many as arrive at once with one look at it.
#[derive(Debug)]
pub struct Frames<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// The messages of `stream`, of which nothing has been read.
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; `None` when the stream ended between two frames. Cancel-safe.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        self.next_with(|body| Ok(codec::decode(body)?)).await
    }

    /// The same for messages that `decode` understands.
    pub async fn next_with<T>(
        &mut self,
        mut decode: impl FnMut(&[u8]) -> Result<T, FrameError>,
    ) -> Result<Option<T>, FrameError> {
        loop {
            if let Some(message) = self.arrived_with(&mut decode)? {
                return Ok(Some(message));
            }
            if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
                self.buffer = BytesMut::new();
            }
            // Grows with what arrives, not with what was announced.
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(cut_off()),
                };
            }
        }
    }

    /// The next message, when all of it is here already.
    pub fn arrived<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        self.arrived_with(|body| Ok(codec::decode(body)?))
    }

    fn arrived_with<T>(
        &mut self,
        decode: impl FnOnce(&[u8]) -> Result<T, FrameError>,
    ) -> Result<Option<T>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let end = HEAD_BYTES + announced(*head)?;
        let Some(body) = self.buffer.get(HEAD_BYTES..end) else {
            return Ok(None);
        };
        let message = decode(body)?;
        self.buffer.advance(end);
        Ok(Some(message))
    }
}

/// The length that a frame begins with, if that is a length that it may have.
fn announced(head: [u8; HEAD_BYTES]) -> Result<usize, FrameError> {
    match u32::from_be_bytes(head) as usize {
        length if length > MAX_FRAME_BYTES => Err(FrameError::TooLarge {
            length,
            limit: MAX_FRAME_BYTES,
        }),
        length => Ok(length),
    }
}

fn cut_off() -> FrameError {
    FrameError::Io(io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_the_stream() {
        let (mut near, mut far) = tokio::io::duplex(16);
        let writer = tokio::spawn(async move {
            for n in 0..10u64 {
                write(&mut near, &(n, "x".repeat(n as usize * 7)))
                    .await
                    .expect("writes");
            }
        });
        for n in 0..10u64 {
            let (got, text): (u64, String) = read(&mut far).await.expect("reads").expect("a frame");
            assert_eq!((got, text.len()), (n, n as usize * 7));
        }
        writer.await.expect("joins");
        assert!(read::<u8>(&mut far).await.expect("reads").is_none());
    }

    #[tokio::test]
    async fn frames_that_arrive_together_or_in_pieces_are_told_apart() {
        let mut bytes = Vec::new();
        for n in 0..10u64 {
            append(&mut bytes, &(n, "x".repeat(n as usize * 9000))).expect("encodes");
        }
        for room in [1 << 20, 700] {
            let (mut near, far) = tokio::io::duplex(room);
            let sent = bytes.clone();
            let writer = tokio::spawn(async move { near.write_all(&sent).await });
            let mut frames = Frames::new(far);
            for n in 0..10u64 {
                let (got, text): (u64, String) =
                    frames.next().await.expect("reads").expect("a frame");
                assert_eq!((got, text.len()), (n, n as usize * 9000));
            }
            writer.await.expect("joins").expect("writes");
            assert!(frames.next::<u8>().await.expect("reads").is_none());
        }
        let mut cut = Frames::new(&bytes[..bytes.len() - 1]);
        for _ in 0..9 {
            cut.next::<(u64, String)>().await.expect("reads");
        }
        let error = cut.next::<(u64, String)>().await.expect_err("cut off");
        assert!(matches!(error, FrameError::Io(_)), "{error}");
    }

    #[tokio::test]
    async fn an_announced_giant_is_refused() {
        let (mut near, mut far) = tokio::io::duplex(16);
        let giant = u32::MAX.to_be_bytes();
        near.write_all(&giant).await.expect("writes");
        assert!(matches!(
            read::<u8>(&mut far).await,
            Err(FrameError::TooLarge { .. })
        ));
        assert!(matches!(
            Frames::new(&giant[..]).next::<u8>().await,
            Err(FrameError::TooLarge { .. })
        ));
    }
}
