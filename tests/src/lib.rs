//! What the tests share: the harness for real daemons, the simulations of the consensus and of
//! the control plane, and how benches show their figures.

pub mod consensus;
pub mod figures;
pub mod harness;
pub mod simulation;
pub mod usage;
