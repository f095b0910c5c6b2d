//! The one binary codec of the project: everything that crosses a process or reaches a disk as
//! a frame goes through here, so that the format can be replaced in one place.
//!
//! Values are positional (bincode, little endian, variable-width integers). Types whose decoding
//! asks the format what comes next (`serde_json::Value`, the `k8s-openapi` structs) cannot pass:
//! carry them as JSON bytes.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value cannot be expressed in the format.
    #[error("cannot encode {what}")]
    Encode {
        /// The Rust type that was being written.
        what: &'static str,
        /// What the format refused.
        #[source]
        source: bincode::error::EncodeError,
    },
    /// The bytes are not a value of the type, or claim more than `limit`.
    #[error("cannot decode {what}")]
    Decode {
        /// The Rust type that was expected.
        what: &'static str,
        /// What the format refused.
        #[source]
        source: bincode::error::DecodeError,
    },
    /// Bytes were left after the value: the writer and the reader disagree about the type.
    #[error("{left} bytes left after {what}")]
    Trailing {
        /// The Rust type that was expected.
        what: &'static str,
        /// How many bytes were not consumed.
        left: usize,
    },
}

/// No frame may claim a collection larger than this (bytes): a decoder never allocates more
/// because of a length that the sender merely wrote down.
pub const DECODE_LIMIT_BYTES: usize = 256 << 20;

/// Encodes `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, bincode::config::standard()).map_err(|source| {
        CodecError::Encode {
            what: std::any::type_name::<T>(),
            source,
        }
    })
}

/// Encodes `value`, whose encoded form is expected to have about `size` bytes: it grows without
/// being copied again and again.
pub fn encode_sized<T: Serialize>(value: &T, size: usize) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(size);
    encode_into(value, &mut bytes)?;
    Ok(bytes)
}

/// Encodes `value` behind what is in `bytes`; after an error a part of it may be there.
pub fn encode_into<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    let config = bincode::config::standard();
    let written = bincode::serde::encode_into_std_write(value, bytes, config);
    written.map(drop).map_err(|source| CodecError::Encode {
        what: std::any::type_name::<T>(),
        source,
    })
}

/// Decodes one value that fills `bytes` exactly.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_borrowed(bytes)
}

/// Decodes one value that fills `bytes` exactly, and may point into them.
pub fn decode_borrowed<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let (value, rest) = decode_first(bytes)?;
    let what = std::any::type_name::<T>();
    match rest.len() {
        0 => Ok(value),
        left => Err(CodecError::Trailing { what, left }),
    }
}

/// Decodes one value at the beginning of `bytes`, which may point into them; also what follows it.
pub fn decode_first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), CodecError> {
    let what = std::any::type_name::<T>();
    let config = bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>();
    let (value, read) = bincode::serde::borrow_decode_from_slice(bytes, config)
        .map_err(|source| CodecError::Decode { what, source })?;
    Ok((value, &bytes[read..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_the_round_trip() {
        let value = (7u64, "name".to_string(), vec![1u8, 2, 3]);
        let bytes = encode(&value).expect("encodes");
        assert_eq!(
            decode::<(u64, String, Vec<u8>)>(&bytes).expect("decodes"),
            value
        );
    }

    #[test]
    fn an_expected_size_changes_nothing_of_the_encoded_form() {
        let value = (7u64, "name".to_string(), vec![1u8, 2, 3]);
        let plain = encode(&value).expect("encodes");
        for size in [0, 100] {
            assert_eq!(encode_sized(&value, size).expect("encodes"), plain);
        }
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut bytes = encode(&1u8).expect("encodes");
        bytes.push(0);
        assert!(matches!(
            decode::<u8>(&bytes),
            Err(CodecError::Trailing { left: 1, .. })
        ));
    }

    #[test]
    fn a_value_may_point_into_what_it_was_decoded_from() {
        let mut bytes = encode(&("name", 7u64)).expect("encodes");
        encode_into(&1u8, &mut bytes).expect("encodes");
        let ((name, number), rest) = decode_first::<(&str, u64)>(&bytes).expect("decodes");
        assert_eq!((name, number), ("name", 7));
        assert!(bytes.as_ptr_range().contains(&name.as_ptr()));
        assert_eq!(decode_borrowed::<u8>(rest).expect("decodes"), 1);
    }

    #[test]
    fn a_claimed_length_does_not_allocate() {
        // A vector that claims 2^60 elements, with nothing behind it.
        let bytes = [253, 0, 0, 0, 0, 0, 0, 0, 16];
        assert!(decode::<Vec<u8>>(&bytes).is_err());
    }
}
