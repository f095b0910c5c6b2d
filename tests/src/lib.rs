//! What the tests share: the harness for real daemons, and the simulation.

pub mod harness;
pub mod simulation;
