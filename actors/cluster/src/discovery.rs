//! Finding the cluster on a local network, without traffic while nobody seeks.
//!
//! A seeker multicasts a question each second (at first faster), on every interface; members of the
//! cluster whose CA it names answer the seeker alone, with the address of their port. Nothing of
//! this is secret and nothing is trusted: joining verifies the cluster by the token.
//!
//! | | |
//! |---|---|
//! | group | `239.255.75.66` (RFC 2365: site-local scope; routers do not pass it on by themselves) |
//! | port | UDP 6443 |
//! | question | at least 128 bytes, so that no answer is larger than what it answers |
//!
//! IPv4 only. Where multicast is not possible, this says so once and goes on trying.
//!
//! ```text
//! discovery    answers; at most 100 answers a second
//! ```

mod interfaces;
mod packet;
mod responder;
mod seeker;

pub use responder::Responder;
pub use seeker::{Seeker, seek};

use std::net::{Ipv4Addr, SocketAddrV4};

/// Where questions go.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 75, 66), 6443);
