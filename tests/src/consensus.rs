//! The consensus under one seeded clock: many `kabuki_plane::raft::core::Replica`s, each on a
//! modelled disk, with a modelled network between them, and clients whose histories are checked.
//!
//! ```text
//!   clients, the leader's controller ──> server (shell around a Replica) ──> watchers
//!   membership policy ─────────────────────>  │        │
//!                                           disk    network ──> other servers
//! ```
//!
//! Everything that happens is an entry of one agenda, ordered by time and then by arrival, and
//! every choice is drawn from one generator: a seed gives the same run, byte for byte.
//!
//! | module | what |
//! |---|---|
//! | `world` | the agenda and the loop |
//! | `disk` | appends that become durable in their order, after a while; snapshot files |
//! | `network` | who reaches whom, and how late; snapshots on their way |
//! | `server`, `shell` | a replica's life, and the performing of its effects |
//! | `clients`, `calls` | writes with preconditions, reads, and their way to a server and back |
//! | `membership` | servers that come, go and lose their disks; the real policy on the leader |
//! | `watching` | watchers that follow the state from server to server |
//! | `faults` | what goes wrong |
//! | `audit` | the invariants that hold all the way |
//! | `register` | what a client may see of one key, for the linearizability checker |
//! | `rest` | what must hold when the faults have stopped |
//! | `bugs` | ways of breaking the shell, to show that the invariants see them |

mod audit;
mod bugs;
mod calls;
mod clients;
mod disk;
mod faults;
mod membership;
mod network;
mod register;
mod rest;
mod server;
mod shell;
mod watching;
mod world;

pub use audit::{Invariant, Violation};
pub use bugs::Bug;
pub use world::{Run, Stats, run};
