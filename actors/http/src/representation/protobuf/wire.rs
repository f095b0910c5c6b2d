//! Protobuf's wire format.

use super::ProtobufError;

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A whole number.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
    /// Four bytes: no served type has them.
    Fixed32,
}

/// Appends a whole number.
pub(super) fn push_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Appends a field that is a whole number.
pub(crate) fn push_number(buffer: &mut Vec<u8>, number: u32, value: i64) {
    push_varint(buffer, u64::from(number) << 3);
    push_varint(buffer, value as u64);
}

/// Appends a field of eight bytes.
pub(crate) fn push_double(buffer: &mut Vec<u8>, number: u32, value: f64) {
    push_varint(buffer, u64::from(number) << 3 | 1);
    buffer.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends a field that is bytes, a text or a message.
pub(crate) fn push_bytes(buffer: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    push_varint(buffer, u64::from(number) << 3 | 2);
    push_varint(buffer, bytes.len() as u64);
    buffer.extend_from_slice(bytes);
}

/// Reads the fields of a message, one after the other.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Piece<'a>)>, ProtobufError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3)
            .ok()
            .filter(|n| *n > 0)
            .ok_or(ProtobufError::Malformed("a field has no valid number"))?;
        let piece = match tag & 7 {
            0 => Piece::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                let bytes = <[u8; 8]>::try_from(bytes).unwrap_or_default();
                Piece::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Piece::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Piece::Fixed32
            }
            _ => return Err(ProtobufError::Malformed("a field has an unknown wire type")),
        };
        Ok(Some((number, piece)))
    }

    /// The next whole number of a packed list.
    pub(super) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self
                .0
                .split_first()
                .ok_or(ProtobufError::Malformed("it breaks off in a number"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed("a number has more than 64 bits"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let parts = self.0.split_at_checked(length);
        let (taken, rest) = parts.ok_or(ProtobufError::Malformed("it breaks off in a field"))?;
        self.0 = rest;
        Ok(taken)
    }
}
