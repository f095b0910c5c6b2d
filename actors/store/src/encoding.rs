//! A snapshot as bytes: what lies in a snapshot file, a backup, and what a server sends to one
//! that fell behind.
//!
//! ```text
//! magic "KABUKISN" | version u32 | frame Header | frame Objects ... | frame Footer | end
//! frame:  kind u8 | length u32 | crc32 u32 | payload
//! ```
//!
//! Numbers are little endian. A frame's checksum covers its kind, length, place in the sequence
//! and payload, so that damage, exchange and repetition are found; the footer's totals and the
//! end of the file tell truncation. Chunks are bounded (about [`CHUNK_BYTES`], or one object
//! when that is larger), so neither side ever holds more than one of them.
//!
//! Writing works from a [`Snapshot`], so writes to the store go on meanwhile.

mod frame;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{Problem, Restored, SnapshotError, read_snapshot};
pub use writer::Encoder;

use bytes::Bytes;
use kabuki_model::ObjectKey;
use kabuki_model::view::Index;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[cfg(doc)]
use crate::Snapshot;

/// The version of the format. Readers refuse any other.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const MAGIC: &[u8; 8] = b"KABUKISN";

/// Where a chunk of objects is closed: large enough that checksums and writes cost little, small
/// enough to be one message between servers.
pub(crate) const CHUNK_BYTES: usize = 192 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    revision: u64,
    index: u64,
    term: u64,
    /// What the owner of the file adds (the Raft configuration).
    extra: Bytes,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    key: ObjectKey,
    uid: Arc<str>,
    revision: u64,
    json: Bytes,
    found_by: Vec<(u8, Arc<str>)>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Footer {
    frames: u64,
    objects: u64,
    json_bytes: u64,
}

/// The numbers of the indexes in the format; never reuse one.
pub(crate) fn index_number(index: Index) -> u8 {
    match index {
        Index::Owner => 1,
        Index::Node => 2,
        Index::ServiceAddress => 3,
        Index::NodePort => 4,
    }
}

pub(crate) fn index_of(number: u8) -> Option<Index> {
    match number {
        1 => Some(Index::Owner),
        2 => Some(Index::Node),
        3 => Some(Index::ServiceAddress),
        4 => Some(Index::NodePort),
        _ => None,
    }
}
