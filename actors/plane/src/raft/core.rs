//! The core of Raft: one server's part in the consensus, without threads, clocks, disks or
//! networks. What happens to it comes in as calls; what it wants done goes out as [`Effect`]s.
//!
//! ```text
//!   propose, step, tick, wake, persisted, ... ──> Replica ──> Append, Send, Applied, Answer, ...
//!                                                    │
//!                                    raft-rs, the log in memory, the Store
//! ```
//!
//! The shell around it is the `Raft` actor; a simulation is another one. A shell
//!
//! - performs the effects **in the order in which they come**, and nothing twice. An [`Append`]
//!   may take its time (the calls go on meanwhile), but appends become durable in their order,
//!   and each as a whole; then [`Replica::persisted`] is called with the number of the last;
//! - may lose, repeat, delay and reorder the messages of [`Effect::Send`];
//! - calls [`Replica::tick`] at an even pace ([`TICKS_PER_ELECTION`] of them make the shortest
//!   election time-out), and [`Replica::wake`] and [`Replica::remind`] when the times that
//!   [`Effect::Wake`] and [`Effect::Remind`] name are over;
//! - tells a proposal, a read and a reconfiguration apart by a number of its choice, the token,
//!   and gets exactly one answer for each;
//! - after a crash makes a new replica from what was durable: [`Recovered`]. The snapshot is the
//!   one of the last [`Effect::SaveSnapshot`] or [`Restart`] that was finished, the entries are
//!   those after it, the hard state is the newest one of a durable [`Append`].
//!
//! A modelled disk is a `Recovered` that the appends change, one after the other:
//!
//! ```text
//!   let mut replica = Replica::start(config, disk.recovered(), &mut effects)?;
//!   loop {
//!       for effect in effects.drain(..) {
//!           match effect {
//!               Effect::Append(append) => disk.queue(append),
//!               Effect::Send(messages) => network.carry(messages),
//!               Effect::Applied(applied) => history.answered(applied.answers),
//!               ...
//!           }
//!       }
//!       match schedule.next() {
//!           Next::Arrives(message) => replica.step(message, &mut effects)?,
//!           Next::Ticks => replica.tick(&mut effects)?,
//!           Next::Syncs => replica.persisted(disk.sync(), &mut effects)?,
//!           Next::Crashes => replica = Replica::start(config, disk.recovered(), &mut effects)?,
//!           ...
//!       }
//!   }
//! ```
//!
//! `core/tests.rs` has such a shell for several replicas.
//!
//! Everything is a function of the calls and of [`ReplicaConfig::seed`]: no other randomness, no
//! clock. An error is a broken invariant: the replica is not to be used any more.
//!
//! Invariants, which a shell need not know but may check:
//! - a message that promises something is an effect only after what it promises was reported as
//!   persisted; a leader's appends are sent before, but never under a term that is not durable;
//! - every append carries the newest hard state, so that whoever has an entry on disk also has
//!   the commit index that was known with it. (A configuration takes effect when it is applied;
//!   a server that forgets that its configuration was left could lead alone.)
//! - an entry is applied after it is durable here and committed.

mod applier;
mod effect;
mod election;
mod entry;
mod logger;
mod membership;
mod notices;
mod pace;
mod reads;
mod ready;
mod replica;
mod snapshots;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use applier::replay;

pub use effect::{
    Append, ApplyEffect, Effect, Effects, Fetch, Proposed, Recovered, Restart, SaveSnapshot,
};
pub use election::{Leadership, STRANDED_TICKS, TICKS_PER_ELECTION};
pub use entry::{ENTRY_VERSION, EntryError, OLDEST_ENTRY_VERSION};
pub use membership::{MemberProgress, Members, Reconfigure, Replication};
pub use replica::{CoreError, Replica, ReplicaConfig};

/// raft-rs' messages, for shells.
pub use ::raft::eraftpb;
