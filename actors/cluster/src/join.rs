//! Joining: a machine with a token becomes a node.
//!
//! 1. The joiner dials a member and takes only a server whose CA has the token's hash: nothing is
//!    sent to anyone else. (A worker hands the connection on to a server.)
//! 2. The server says hello. A joiner whose clock or version cannot work stops here, before it
//!    shows its token.
//! 3. The joiner shows the token and asks for a certificate for its key.
//! 4. The control plane ([`Admit`](crate::seams::Admit)) admits it, or says why not.
//! 5. The joiner writes its credentials and its membership to disk. From then on it is a node by
//!    its certificate alone.
//!
//! Joining again after a broken connection is safe: the joiner comes with the same key, by which
//! the control plane knows it.

mod door;
mod joiner;
mod outcome;
mod search;
mod token;
mod verifier;

pub use door::JoinDoor;
pub use joiner::{Newcomer, Wish, join};
pub use outcome::JoinError;
pub use search::join_by_discovery;
pub use token::{Token, TokenError};

use std::time::Duration;

/// No member takes longer to admit a machine: several servers may have to agree.
const ADMIT_LIMIT: Duration = Duration::from_secs(20);
/// No frame of the conversation is larger, in bytes.
const MAX_FRAME_BYTES: u64 = 256 << 10;
