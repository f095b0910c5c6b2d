//! The one door to the state: every request of every caller passes the gateway, which authorises
//! and admits it, proposes what it admitted to Raft, and answers with what was applied.
//!
//! ```text
//! Session, controllers, scheduler, agent
//!        │ GatewayHandle (under an identity: LocalApi)
//!        ▼
//!     gateway ── admission (pure) ── Raft ── store
//! ```
//!
//! Who talks to it: everyone who holds a [`GatewayHandle`]. Reads are answered from the newest
//! snapshot without a message. Writes are admitted in the caller's own task, so that admission uses
//! every core and a slow commit holds up nobody; what was admitted goes to the Raft actor.
//!
//! Invariants: no more than [`MAX_WRITES`] writes are under way, the next is refused with
//! `TooManyRequests`; every path answers; a write is answered only after it is durable and
//! visible to every later read.

mod freshness;
mod handle;
mod local;
mod pages;
mod past;
mod perform;
mod route;

pub use handle::GatewayHandle;
pub use local::LocalApi;
pub use route::Others;

/// How many writes of one class of callers (users, the system itself) may be under way at once.
/// At 2 KB each they take some 8 MB.
pub const MAX_WRITES: usize = 4096;
