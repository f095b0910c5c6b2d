//! Probes: which are to run, when each is due, and what its results come to (Kubernetes,
//! "Configure Liveness, Readiness and Startup Probes").
//!
//! The agent keeps one [`Prober`] for each [`Wanted`] probe, performs it when it is due and tells
//! the pod's machine only what [`Prober::took`] says has turned: a probe that goes on as before
//! costs nothing but itself.

mod schedule;
mod wanted;

pub use schedule::{Outcome, Prober, Took};
pub use wanted::{Wanted, wanted};

use std::fmt;

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Whether the program has come up. Until then the others wait.
    Startup,
    /// Whether it may be sent work.
    Readiness,
    /// Whether it must be restarted.
    Liveness,
}

impl ProbeKind {
    /// Its name within a sentence.
    pub fn in_small(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

impl fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        })
    }
}
