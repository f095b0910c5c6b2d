//! What a pull or load tells while it goes on.

use std::sync::Arc;

use super::digest::Digest;

/// Called from any thread, often; it must not block.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far one layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The layer as the registry or archive names it.
    pub layer: Digest,
    pub phase: Phase,
    /// Bytes of this phase that are done.
    pub done_bytes: u64,
    /// Bytes of this phase; 0 if unknown.
    pub total_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Waiting,
    Downloading,
    Unpacking,
    /// Unpacked just now.
    Complete,
    /// Was there before.
    Present,
}

/// One layer's reports. Between two reports of bytes lie at least [`STEP_BYTES`].
#[derive(Clone)]
pub(crate) struct Reporter {
    sink: Option<ProgressFn>,
    layer: Digest,
    total_bytes: u64,
    reported: u64,
}

const STEP_BYTES: u64 = 256 << 10;

impl Reporter {
    pub fn new(sink: Option<ProgressFn>, layer: Digest, total_bytes: u64) -> Self {
        Self {
            sink,
            layer,
            total_bytes,
            reported: 0,
        }
    }

    pub fn phase(&mut self, phase: Phase) {
        self.reported = 0;
        let done = match phase {
            Phase::Complete | Phase::Present => self.total_bytes,
            _ => 0,
        };
        self.send(phase, done);
    }

    pub fn bytes(&mut self, phase: Phase, done: u64) {
        if done == self.total_bytes || done.abs_diff(self.reported) >= STEP_BYTES {
            self.reported = done;
            self.send(phase, done);
        }
    }

    fn send(&self, phase: Phase, done_bytes: u64) {
        if let Some(sink) = &self.sink {
            sink(Progress {
                layer: self.layer,
                phase,
                done_bytes,
                total_bytes: self.total_bytes,
            });
        }
    }
}
