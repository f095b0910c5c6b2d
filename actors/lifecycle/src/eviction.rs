//! Node-pressure eviction (Kubernetes, "Node-pressure Eviction"): when a node runs short, of what,
//! and which pod goes first. What is measured is an argument, and so is the time.

mod monitor;
mod rank;
mod threshold;

pub use monitor::{Judgement, Monitor, Observation, Pressure, Reclaim};
pub use rank::{ContainerUse, PodUse, is_critical, message, rank};
pub use threshold::{Amount, Settings, SettingsError, Signal};

/// Why an evicted pod failed.
pub const REASON: &str = "Evicted";

#[cfg(test)]
mod tests;
