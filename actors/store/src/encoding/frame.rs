//! Frames: a kind, a length, a checksum, and that many bytes.

/// kind, length, checksum.
pub(crate) const HEAD_BYTES: usize = 9;

/// No frame is longer: an object is at most a few MiB, and a chunk is closed before it holds
/// two such. A longer one is damage, found before anything is allocated for it.
pub(crate) const MAX_PAYLOAD_BYTES: u32 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Header = 1,
    Objects = 2,
    Footer = 3,
}

impl Kind {
    pub(crate) fn of(number: u8) -> Option<Self> {
        [Self::Header, Self::Objects, Self::Footer]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// Appends a frame to `out`. `sequence` counts the frames of a file from 0.
pub(crate) fn write(out: &mut Vec<u8>, kind: Kind, sequence: u64, payload: &[u8]) {
    // Payloads are far below 4 GiB: see MAX_PAYLOAD_BYTES.
    let length = (payload.len() as u32).to_le_bytes();
    out.push(kind as u8);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(kind as u8, length, sequence, payload).to_le_bytes());
    out.extend_from_slice(payload);
}

pub(crate) fn checksum(kind: u8, length: [u8; 4], sequence: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&length);
    hasher.update(&sequence.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}
