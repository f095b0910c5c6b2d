//! Where a command writes: the standard streams, or memory in tests.

use super::failure::Outcome;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// The output of a command.
#[derive(Debug, Clone, Default)]
pub enum Out {
    /// The standard streams.
    #[default]
    Standard,
    /// Memory: standard output and standard error in one, in their order.
    #[cfg_attr(not(test), allow(dead_code))]
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Out {
    /// Writes bytes to standard output and flushes them.
    pub fn bytes(&self, bytes: &[u8]) -> Outcome {
        match self {
            Self::Standard => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
            }
            Self::Memory(held) => {
                held.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    /// Writes text to standard output as it is.
    pub fn text(&self, text: &str) -> Outcome {
        self.bytes(text.as_bytes())
    }

    /// Writes a line to standard output.
    pub fn line(&self, line: impl std::fmt::Display) -> Outcome {
        self.text(&format!("{line}\n"))
    }

    /// Writes bytes to standard error.
    pub fn error_bytes(&self, bytes: &[u8]) {
        match self {
            // Nobody is left to tell when standard error is closed.
            Self::Standard => drop(std::io::stderr().lock().write_all(bytes)),
            Self::Memory(held) => {
                held.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(bytes);
            }
        }
    }

    /// Writes a line to standard error.
    pub fn note(&self, line: impl std::fmt::Display) {
        self.error_bytes(format!("{line}\n").as_bytes());
    }

    /// What was written to memory.
    #[cfg(test)]
    pub fn written(&self) -> String {
        match self {
            Self::Standard => String::new(),
            Self::Memory(held) => {
                String::from_utf8_lossy(&held.lock().unwrap_or_else(PoisonError::into_inner))
                    .into_owned()
            }
        }
    }
}
