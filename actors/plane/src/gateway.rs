//! The one door to the state: every request of every caller passes the gateway, which authorises
//! and admits it, proposes what it admitted to Raft, and answers with what was applied.
//!
//! ```text
//! Session, controllers, scheduler, agent
//!        │ GatewayHandle (under an identity: LocalApi)
//!        ▼
//!     Gateway ── admission (pure) ── Raft ── store
//! ```
//!
//! Who talks to it: everyone who holds a [`GatewayHandle`]. Reads are answered from the newest
//! snapshot without a message. Writes pass the actor, which performs each in a task of its own,
//! so that admission uses every core and a slow commit holds up nobody.
//!
//! Invariants: no more than [`MAX_WRITES`] writes are under way, the next is refused with
//! `TooManyRequests`; every path answers; a write is answered only after it is durable and
//! visible to every later read.

mod actor;
mod freshness;
mod local;
mod message;
mod pages;
mod past;
mod perform;
mod route;

pub use actor::GatewayHandle;
pub use local::LocalApi;
pub use message::GatewayMessage;
pub use route::Others;

/// How many writes of one class of callers (users, the system itself) may be under way at once.
/// At 2 KB each they take some 8 MB.
pub const MAX_WRITES: usize = 4096;
