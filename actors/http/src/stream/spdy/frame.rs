//! The frames, without input or output: bytes in, frames out, and back.

use super::headers::{Compressor, Decompressor, Headers};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version that every control frame names.
const VERSION: u16 = 3;
/// No control frame is larger, in bytes. Kubernetes' headers take some hundred.
const MAX_CONTROL_BYTES: usize = 64 << 10;
/// Data is handed on in pieces of at most so many bytes.
pub(super) const PIECE_BYTES: usize = 32 << 10;

const FIN: u8 = 1;
const UNIDIRECTIONAL: u8 = 2;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// The stream was refused.
pub const REFUSED_STREAM: u32 = 3;
/// Nobody wants it any more.
pub const CANCEL: u32 = 5;

/// A frame. Data comes in pieces, the last of which may end the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A new stream.
    SynStream {
        /// Its number.
        stream: u32,
        /// The client sends nothing on it.
        fin: bool,
        /// The server may send nothing on it.
        unidirectional: bool,
        /// What it is for.
        headers: Headers,
    },
    /// A new stream is accepted.
    SynReply {
        /// Which.
        stream: u32,
        /// More about it.
        headers: Headers,
    },
    /// A stream is torn down.
    Reset {
        /// Which.
        stream: u32,
        /// Why.
        status: u32,
    },
    /// Is there someone? Answered with the same number.
    Ping(u32),
    /// No further streams.
    GoAway {
        /// The last stream that was taken up.
        last: u32,
    },
    /// More headers of a stream. They say nothing that is used here.
    Headers {
        /// Which.
        stream: u32,
        /// Whether it ends.
        fin: bool,
    },
    /// More may be sent.
    Window {
        /// On which stream; zero is the whole session.
        stream: u32,
        /// How many bytes more.
        more: u32,
    },
    /// Bytes.
    Data {
        /// Of which stream.
        stream: u32,
        /// Whether they are the last.
        fin: bool,
        /// Themselves.
        bytes: Bytes,
    },
}

/// What a client did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// Another version.
    #[error("a frame is not of SPDY/3")]
    Version,
    /// A control frame that is too large.
    #[error("a control frame has more than {MAX_CONTROL_BYTES} bytes")]
    TooLarge,
    /// A control frame that lacks fields.
    #[error("a control frame is too short")]
    Short,
    /// Headers that cannot be unpacked, or are too many.
    #[error("the headers of a stream cannot be read: {0}")]
    Headers(&'static str),
}

/// Cuts a client's bytes into frames.
#[derive(Default)]
pub struct Decoder {
    bytes: BytesMut,
    headers: Decompressor,
    /// A data frame that has not come as a whole: stream, whether it ends it, bytes to come.
    data: Option<(u32, bool, usize)>,
}

impl Decoder {
    /// Where bytes that came are put.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// The next frame; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The client broke the protocol. Nothing further can be read.
    pub fn frame(&mut self) -> Result<Option<Frame>, Mistake> {
        loop {
            if let Some((stream, fin, left)) = self.data {
                return Ok(self.piece(stream, fin, left));
            }
            let Some((head, _)) = self.bytes.split_first_chunk::<8>() else {
                return Ok(None);
            };
            let [a, b, c, d, flags, e, f, g] = *head;
            let length = u32::from_be_bytes([0, e, f, g]) as usize;
            let fin = flags & FIN != 0;
            if a & 0x80 == 0 {
                self.bytes.advance(8);
                self.data = Some((u32::from_be_bytes([a, b, c, d]), fin, length));
                continue;
            }
            if u16::from_be_bytes([a & 0x7f, b]) != VERSION {
                return Err(Mistake::Version);
            }
            if length > MAX_CONTROL_BYTES {
                return Err(Mistake::TooLarge);
            }
            if self.bytes.len() < 8 + length {
                return Ok(None);
            }
            self.bytes.advance(8);
            let body = self.bytes.split_to(length).freeze();
            if let Some(frame) = self.control(u16::from_be_bytes([c, d]), flags, body)? {
                return Ok(Some(frame));
            }
        }
    }

    /// What has come of a data frame, up to a bound.
    fn piece(&mut self, stream: u32, fin: bool, left: usize) -> Option<Frame> {
        let there = left.min(self.bytes.len()).min(PIECE_BYTES);
        if there == 0 && left > 0 {
            return None;
        }
        let bytes = self.bytes.split_to(there).freeze();
        let left = left - there;
        self.data = (left > 0).then_some((stream, fin, left));
        Some(Frame::Data {
            stream,
            fin: fin && left == 0,
            bytes,
        })
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Option<Frame>, Mistake> {
        let fin = flags & FIN != 0;
        let number = |body: &mut Bytes| body.try_get_u32().map_err(|_| Mistake::Short);
        let id = |body: &mut Bytes| number(body).map(|n| n & 0x7fff_ffff);
        Ok(Some(match kind {
            SYN_STREAM => {
                let stream = id(&mut body)?;
                // The stream that it belongs to, its priority and a slot are of no use here.
                number(&mut body)?;
                body.try_get_u16().map_err(|_| Mistake::Short)?;
                Frame::SynStream {
                    stream,
                    fin,
                    unidirectional: flags & UNIDIRECTIONAL != 0,
                    headers: self.headers.unpack(&body)?,
                }
            }
            SYN_REPLY => Frame::SynReply {
                stream: id(&mut body)?,
                headers: self.headers.unpack(&body)?,
            },
            HEADERS => {
                let stream = id(&mut body)?;
                // Unpacked all the same: the next ones build on them.
                self.headers.unpack(&body)?;
                Frame::Headers { stream, fin }
            }
            RST_STREAM => Frame::Reset {
                stream: id(&mut body)?,
                status: number(&mut body)?,
            },
            PING => Frame::Ping(number(&mut body)?),
            GOAWAY => Frame::GoAway {
                last: id(&mut body)?,
            },
            WINDOW_UPDATE => Frame::Window {
                stream: id(&mut body)?,
                more: id(&mut body)?,
            },
            // Settings bind nobody here; frames that are not known are to be passed over.
            SETTINGS => return Ok(None),
            _ => return Ok(None),
        }))
    }
}

/// Writes frames. One for the whole session: headers are packed with those before.
#[derive(Default)]
pub struct Encoder {
    headers: Compressor,
}

impl Encoder {
    /// Appends a frame.
    pub fn encode(&mut self, frame: &Frame, into: &mut BytesMut) {
        match frame {
            Frame::SynStream {
                stream,
                fin,
                unidirectional,
                headers,
            } => {
                let block = self.headers.pack(headers);
                let flags = (u8::from(*fin) * FIN) | (u8::from(*unidirectional) * UNIDIRECTIONAL);
                control(SYN_STREAM, flags, 10 + block.len(), into);
                into.put_u32(*stream);
                into.put_u32(0);
                into.put_u16(0);
                into.put_slice(&block);
            }
            Frame::SynReply { stream, headers } => {
                let block = self.headers.pack(headers);
                control(SYN_REPLY, 0, 4 + block.len(), into);
                into.put_u32(*stream);
                into.put_slice(&block);
            }
            Frame::Headers { stream, fin } => {
                let block = self.headers.pack(&Vec::new());
                control(HEADERS, u8::from(*fin) * FIN, 4 + block.len(), into);
                into.put_u32(*stream);
                into.put_slice(&block);
            }
            Frame::Reset { stream, status } => pair(RST_STREAM, *stream, *status, into),
            Frame::Window { stream, more } => pair(WINDOW_UPDATE, *stream, *more, into),
            Frame::GoAway { last } => pair(GOAWAY, *last, 0, into),
            Frame::Ping(number) => {
                control(PING, 0, 4, into);
                into.put_u32(*number);
            }
            Frame::Data { stream, fin, bytes } => {
                into.put_u32(*stream & 0x7fff_ffff);
                length(u8::from(*fin) * FIN, bytes.len(), into);
                into.put_slice(bytes);
            }
        }
    }
}

fn control(kind: u16, flags: u8, bytes: usize, into: &mut BytesMut) {
    into.put_u16(0x8000 | VERSION);
    into.put_u16(kind);
    length(flags, bytes, into);
}

/// Flags and length in one word.
fn length(flags: u8, bytes: usize, into: &mut BytesMut) {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX) & 0x00ff_ffff;
    into.put_u32((u32::from(flags) << 24) | bytes);
}

fn pair(kind: u16, first: u32, second: u32, into: &mut BytesMut) {
    control(kind, 0, 8, into);
    into.put_u32(first);
    into.put_u32(second);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let pair = |(n, v): &(&str, &str)| ((*n).to_string(), (*v).to_string());
        pairs.iter().map(pair).collect()
    }

    fn frames() -> Vec<Frame> {
        let data = |stream, fin, bytes: &'static [u8]| Frame::Data {
            stream,
            fin,
            bytes: Bytes::from_static(bytes),
        };
        vec![
            Frame::SynStream {
                stream: 1,
                fin: true,
                unidirectional: false,
                headers: headers(&[("streamtype", "error"), ("port", "80"), ("requestid", "0")]),
            },
            Frame::SynReply {
                stream: 1,
                headers: headers(&[]),
            },
            Frame::SynStream {
                stream: 3,
                fin: false,
                unidirectional: true,
                headers: headers(&[("streamtype", "data"), ("port", "80"), ("requestid", "0")]),
            },
            data(3, false, b"hello"),
            data(3, true, b""),
            Frame::Ping(7),
            Frame::Headers {
                stream: 1,
                fin: true,
            },
            Frame::Window {
                stream: 3,
                more: 32_768,
            },
            Frame::Reset {
                stream: 3,
                status: CANCEL,
            },
            Frame::GoAway { last: 3 },
        ]
    }

    #[test]
    fn frames_are_read_as_they_were_written_in_any_pieces() {
        let (mut encoder, mut bytes) = (Encoder::default(), BytesMut::new());
        for frame in frames() {
            encoder.encode(&frame, &mut bytes);
        }
        for size in [1, 3, 1000] {
            let mut decoder = Decoder::default();
            let mut read: Vec<Frame> = Vec::new();
            for piece in bytes.chunks(size) {
                decoder.buffer().put_slice(piece);
                while let Some(frame) = decoder.frame().expect("well formed") {
                    match (read.last_mut(), frame) {
                        // Data may come in pieces.
                        (
                            Some(Frame::Data {
                                stream: of,
                                fin: false,
                                bytes: begun,
                            }),
                            Frame::Data {
                                stream,
                                fin: false,
                                bytes,
                            },
                        ) if *of == stream => *begun = [&begun[..], &bytes[..]].concat().into(),
                        (_, frame) => read.push(frame),
                    }
                }
            }
            assert_eq!(read, frames(), "pieces of {size}");
        }
    }

    #[test]
    fn unknown_frames_are_passed_over_and_broken_ones_refused() {
        let mut decoder = Decoder::default();
        let mut bytes = BytesMut::new();
        control(77, 0, 3, &mut bytes);
        bytes.put_slice(b"abc");
        control(SETTINGS, 0, 4, &mut bytes);
        bytes.put_u32(0);
        Encoder::default().encode(&Frame::Ping(1), &mut bytes);
        decoder.buffer().put_slice(&bytes);
        assert_eq!(decoder.frame(), Ok(Some(Frame::Ping(1))));
        for (bytes, mistake) in [
            (&[0x80, 2, 0, 6, 0, 0, 0, 4][..], Mistake::Version),
            (&[0x80, 3, 0, 6, 0, 0, 0, 0], Mistake::Short),
            (&[0x80, 3, 0, 1, 0, 1, 0, 1], Mistake::TooLarge),
        ] {
            let mut decoder = Decoder::default();
            decoder.buffer().put_slice(bytes);
            assert_eq!(decoder.frame(), Err(mistake));
        }
    }
}
