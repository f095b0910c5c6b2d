//! The frames of RFC 6455, sections 5 and 7, without input or output: bytes in, messages out.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// No message is larger, in bytes. Clients cut what they send into some ten thousand.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Control frames are never larger (section 5.5).
const MAX_CONTROL_BYTES: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation = 0,
    /// Text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// Is there someone?
    Ping = 9,
    /// There is.
    Pong = 10,
}

impl Opcode {
    fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A whole message. Kubernetes takes text and bytes for the same.
    Data(Bytes),
    /// To be answered with the same bytes.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// Nothing more follows.
    Close,
}

/// What a client did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A client must mask what it sends.
    #[error("a frame is not masked")]
    Unmasked,
    /// Bits or opcodes that no extension was agreed on for.
    #[error("a frame has bits that were not agreed on")]
    Unknown,
    /// A control frame that is cut or too long.
    #[error("a control frame is cut, or too long")]
    Control,
    /// A part of a message that did not begin, or a message within another.
    #[error("a message's parts are out of order")]
    Order,
    /// It is too large.
    #[error("a message has more than {MAX_MESSAGE_BYTES} bytes")]
    TooLarge,
}

impl Mistake {
    /// The code that the connection is closed with (section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::TooLarge => 1009,
            _ => 1002,
        }
    }
}

/// Cuts a client's bytes into messages.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: BytesMut,
    /// The parts of a message that is not complete yet.
    begun: Option<BytesMut>,
}

struct Head {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Of the head itself.
    head_bytes: usize,
    payload_bytes: usize,
}

impl Decoder {
    /// Where bytes that came are put.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// The next message; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The client broke the protocol. Nothing further can be read.
    pub fn message(&mut self) -> Result<Option<Message>, Mistake> {
        loop {
            let Some(head) = head(&self.bytes)? else {
                return Ok(None);
            };
            let begun = self.begun.as_ref().map_or(0, BytesMut::len);
            if begun.saturating_add(head.payload_bytes) > MAX_MESSAGE_BYTES {
                return Err(Mistake::TooLarge);
            }
            let whole = head.head_bytes + head.payload_bytes;
            if self.bytes.len() < whole {
                self.bytes.reserve(whole - self.bytes.len());
                return Ok(None);
            }
            self.bytes.advance(head.head_bytes);
            let mut payload = self.bytes.split_to(head.payload_bytes);
            for (byte, mask) in payload.iter_mut().zip(head.mask.iter().cycle()) {
                *byte ^= mask;
            }
            if let Some(message) = self.take(&head, payload)? {
                return Ok(Some(message));
            }
        }
    }

    fn take(&mut self, head: &Head, payload: BytesMut) -> Result<Option<Message>, Mistake> {
        match head.opcode {
            Opcode::Close => return Ok(Some(Message::Close)),
            Opcode::Ping => return Ok(Some(Message::Ping(payload.freeze()))),
            Opcode::Pong => return Ok(Some(Message::Pong)),
            Opcode::Text | Opcode::Binary if self.begun.is_none() => {
                if head.fin {
                    return Ok(Some(Message::Data(payload.freeze())));
                }
                self.begun = Some(payload);
            }
            Opcode::Continuation => {
                let begun = self.begun.as_mut().ok_or(Mistake::Order)?;
                begun.extend_from_slice(&payload);
                if head.fin {
                    let whole = self.begun.take().unwrap_or_default();
                    return Ok(Some(Message::Data(whole.freeze())));
                }
            }
            Opcode::Text | Opcode::Binary => return Err(Mistake::Order),
        }
        Ok(None)
    }
}

/// Reads the head of a frame; `None` when it is not there yet.
fn head(bytes: &[u8]) -> Result<Option<Head>, Mistake> {
    let &[first, second, ref rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Mistake::Unknown);
    }
    let opcode = Opcode::of(first & 0x0f).ok_or(Mistake::Unknown)?;
    let fin = first & 0x80 != 0;
    if second & 0x80 == 0 {
        return Err(Mistake::Unmasked);
    }
    let short = usize::from(second & 0x7f);
    if opcode.is_control() && (!fin || short > MAX_CONTROL_BYTES) {
        return Err(Mistake::Control);
    }
    let mut rest = rest;
    let (length_bytes, payload) = match short {
        126 => (2, rest.try_get_u16().map(u64::from)),
        127 => (8, rest.try_get_u64()),
        length => (0, Ok(length as u64)),
    };
    let Ok(payload) = payload else {
        return Ok(None);
    };
    let payload_bytes = usize::try_from(payload).map_err(|_| Mistake::TooLarge)?;
    if payload_bytes > MAX_MESSAGE_BYTES {
        return Err(Mistake::TooLarge);
    }
    let Some((mask, _)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    Ok(Some(Head {
        fin,
        opcode,
        mask: *mask,
        head_bytes: 2 + length_bytes + 4,
        payload_bytes,
    }))
}

/// Appends one whole frame of a server, which is not masked; the payload is what the parts have.
pub fn encode(opcode: Opcode, parts: &[&[u8]], into: &mut BytesMut) {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    into.reserve(length + 10);
    into.put_u8(0x80 | opcode as u8);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => into.put_u8(short),
        (_, Ok(middle)) => {
            into.put_u8(126);
            into.put_u16(middle);
        }
        _ => {
            into.put_u8(127);
            into.put_u64(length as u64);
        }
    }
    for part in parts {
        into.put_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of a client.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = BytesMut::new();
        encode(Opcode::Binary, &[payload], &mut bytes);
        let head = bytes.len() - payload.len();
        bytes[0] = first;
        bytes[1] |= 0x80;
        let mut whole = bytes[..head].to_vec();
        whole.extend(mask);
        whole.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        whole
    }

    fn read(bytes: &[u8]) -> Result<Vec<Message>, Mistake> {
        let mut decoder = Decoder::default();
        let mut messages = Vec::new();
        // One byte at a time: a frame may come in any pieces.
        for byte in bytes {
            decoder.buffer().put_u8(*byte);
            while let Some(message) = decoder.message()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_of_every_length_come_through() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let messages = read(&frame(0x82, &payload)).expect("well formed");
            assert_eq!(messages, [Message::Data(payload.into())], "{length}");
        }
    }

    #[test]
    fn a_message_in_parts_is_put_together_with_pings_in_between() {
        let mut bytes = frame(0x02, b"one ");
        bytes.extend(frame(0x89, b"there?"));
        bytes.extend(frame(0x00, b"two "));
        bytes.extend(frame(0x80, b"three"));
        bytes.extend(frame(0x88, b""));
        let messages = read(&bytes).expect("well formed");
        let expected = [
            Message::Ping(Bytes::from_static(b"there?")),
            Message::Data(Bytes::from_static(b"one two three")),
            Message::Close,
        ];
        assert_eq!(messages, expected);
    }

    #[test]
    fn what_breaks_the_protocol_is_refused() {
        assert_eq!(read(&[0x82, 0x01, 0x00]), Err(Mistake::Unmasked));
        assert_eq!(read(&frame(0xc2, b"")), Err(Mistake::Unknown));
        assert_eq!(read(&frame(0x83, b"")), Err(Mistake::Unknown));
        assert_eq!(read(&frame(0x09, b"")), Err(Mistake::Control));
        assert_eq!(read(&frame(0x89, &[0; 126])), Err(Mistake::Control));
        assert_eq!(read(&frame(0x80, b"")), Err(Mistake::Order));
        let twice = [frame(0x02, b"a"), frame(0x02, b"b")].concat();
        assert_eq!(read(&twice), Err(Mistake::Order));
        let huge = [0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(read(&huge), Err(Mistake::TooLarge));
        let half = vec![0; MAX_MESSAGE_BYTES / 2 + 1];
        let parts = [frame(0x02, &half), frame(0x80, &half)].concat();
        let mut decoder = Decoder::default();
        decoder.buffer().put_slice(&parts);
        assert_eq!(decoder.message(), Err(Mistake::TooLarge));
    }
}
