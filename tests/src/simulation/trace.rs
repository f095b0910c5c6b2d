//! What is told of a run: every line goes into a hash, by which two runs are compared, and is
//! kept only when somebody wants to read it.

use std::fmt;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    kept: Option<Vec<String>>,
    hash: Fnv,
    text: String,
}

impl Trace {
    pub fn new(keep: bool) -> Self {
        let kept = keep.then(Vec::new);
        Self {
            kept,
            ..Self::default()
        }
    }

    pub fn line(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        use fmt::Write;
        self.text.clear();
        // Writing to a string does not fail.
        let _ = write!(self.text, "{:>12.6} {what}", now.as_secs_f64());
        self.hash.bytes(self.text.as_bytes());
        if let Some(kept) = &mut self.kept {
            kept.push(self.text.clone());
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash.0
    }

    pub fn into_lines(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}

/// FNV-1a, 64 bits.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(b"\n") {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
