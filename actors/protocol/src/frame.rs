//! How frames are cut out of a byte stream: four bytes of length (big endian), then the encoded
//! message. A length beyond the limit ends the stream before anything is allocated.

use crate::session::MAX_FRAME_BYTES;
use kabuki_model::codec::{self, CodecError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

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
    let body = codec::encode(message)?;
    if body.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge {
            length: body.len(),
            limit: MAX_FRAME_BYTES,
        });
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    // The limit above keeps the length far below 2^32.
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
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

/// Reads one message; `None` when the stream ended between two frames.
pub async fn read<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<T>, FrameError> {
    let mut length = [0u8; 4];
    match stream.read(&mut length).await? {
        0 => return Ok(None),
        read => {
            stream.read_exact(&mut length[read..]).await?;
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge {
            length,
            limit: MAX_FRAME_BYTES,
        });
    }
    // Grows with what arrives, not with what was announced.
    let mut body = Vec::with_capacity(length.min(64 << 10));
    let got = stream.take(length as u64).read_to_end(&mut body).await?;
    if got < length {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Some(codec::decode(&body)?))
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
    async fn an_announced_giant_is_refused() {
        let (mut near, mut far) = tokio::io::duplex(16);
        near.write_all(&u32::MAX.to_be_bytes())
            .await
            .expect("writes");
        assert!(matches!(
            read::<u8>(&mut far).await,
            Err(FrameError::TooLarge { .. })
        ));
    }
}
