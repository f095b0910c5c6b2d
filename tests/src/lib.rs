//! What the tests share: the harness for real daemons, the simulation, and how benches show
//! their figures.

pub mod figures;
pub mod harness;
pub mod simulation;
