//! Answers in gzip, for those who accept it and only where it pays (as Kubernetes: from 128 KiB).

pub mod compressed;

/// Smaller answers are sent as they are, in bytes.
const FROM_BYTES: u64 = 128 << 10;
/// Marks an answer that may be compressed: a whole object or list, never a stream of events.
#[derive(Debug, Clone, Copy)]
pub struct Compressible;
