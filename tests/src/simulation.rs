//! A whole cluster in one thread, under one seeded clock: the real store, admission, controller,
//! scheduler and pod cores, with modelled disks, messages, machines and people around them.
//!
//! ```text
//!   users ──┐                  ┌── crashes before, between and after each write's steps
//!   nodes ──┼─> calls ─> server ─> log ─> store ─> watches ─┐
//!   cores ──┘     ^                                         │
//!     └───────────┴──── queues, decisions, facts <──────────┘
//! ```
//!
//! Everything that happens is an entry of one agenda, ordered by time and then by arrival. Every
//! choice is drawn from one generator. So a seed gives the same run, byte for byte, every time.
//!
//! | module | what |
//! |---|---|
//! | `world` | the agenda and the loop |
//! | `random`, `trace` | where choices come from, and what is told of a run |
//! | `disk`, `server` | a log that may lose what was not synced, and the API on top of it |
//! | `calls` | requests and answers on their way; some are late, lost or come twice |
//! | `watching` | watches that are late, cut, and resumed or begun again |
//! | `control`, `placing` | the shells of the controllers' and the scheduler's cores |
//! | `machine` | nodes: an agent that dies, and containers that do not |
//! | `people` | what users do |
//! | `faults` | what goes wrong |
//! | `audit` | the invariants that hold all the way |
//! | `rest` | what must hold when the faults have stopped |
//! | `bugs` | ways of breaking a core, to show that the invariants see them |

mod audit;
mod bugs;
mod calls;
mod control;
mod disk;
mod faults;
mod machine;
mod people;
mod placing;
pub(crate) mod random;
mod rest;
mod server;
pub(crate) mod trace;
mod watching;
mod world;

pub use audit::{Invariant, Violation};
pub use bugs::Bug;
pub use world::{Run, run};
