//! What can become of a proposal, other than being applied.

use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use std::time::Duration;

/// The largest command: an object of 1.5 MiB (etcd's bound) twice over, for the commands that
/// write two.
pub(crate) const MAX_COMMAND_BYTES: usize = 3 << 20;

/// Why a proposal was not applied, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaftError {
    /// Another server leads; nothing happened.
    #[error("this server is not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<u64>,
    },
    /// There was no leader for longer than an election takes; nothing happened.
    #[error(
        "this server cannot reach a majority of the servers: writes and consistent reads are \
         refused until it can"
    )]
    NoQuorum,
    /// This server is no longer one of the cluster; nothing happened.
    #[error("this server was removed from the cluster")]
    Removed,
    /// The servers cannot be changed like this; nothing happened.
    #[error("the servers cannot be changed: {why}")]
    Reconfiguration {
        /// What is wrong with the change.
        why: String,
    },
    /// One change of the servers at a time; nothing happened.
    #[error("another change of the servers is under way")]
    ReconfigurationPending,
    /// Nobody is fit to lead instead of this server; nothing happened.
    #[error("no other server can lead: {why}")]
    NoSuccessor {
        /// Why not.
        why: String,
    },
    /// There is no leader, or the state is not open yet; nothing happened.
    #[error("the state is not available")]
    Unavailable,
    /// Too much waits already; nothing happened.
    #[error("too many writes are waiting")]
    TooManyRequests,
    /// There is no room on the disk; nothing happened.
    #[error("the disk is full: {free_bytes} bytes are free, {reserve_bytes} must be: make room")]
    DiskFull {
        /// What is free.
        free_bytes: u64,
        /// What must be.
        reserve_bytes: u64,
    },
    /// The command is too large; nothing happened.
    #[error("the request is {bytes} bytes, at most {MAX_COMMAND_BYTES} are allowed")]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// The command cannot be written down; nothing happened.
    #[error("{0}")]
    Encode(String),
    /// The leader changed or restarted meanwhile: the command may or may not be applied.
    #[error("the write was interrupted, it may or may not have happened")]
    Interrupted,
    /// It takes too long; nothing happened.
    #[error("the newest state could not be learnt within {limit:?}")]
    ReadTimeout {
        /// How long was waited.
        limit: Duration,
    },
    /// It takes too long: the command may still be applied.
    #[error("the write did not finish within {limit:?}, it may still happen")]
    Timeout {
        /// How long was waited.
        limit: Duration,
    },
}

impl From<RaftError> for StatusError {
    fn from(error: RaftError) -> Self {
        let message = error.to_string();
        match error {
            RaftError::NotLeader { .. }
            | RaftError::NoQuorum
            | RaftError::Removed
            | RaftError::Unavailable
            | RaftError::NoSuccessor { .. }
            | RaftError::DiskFull { .. } => Self::unavailable(message),
            RaftError::Interrupted => Self::unknown_outcome(message),
            RaftError::TooManyRequests => Self::too_many_requests(message),
            RaftError::TooLarge { .. } => Self::new(Reason::RequestEntityTooLarge, message),
            RaftError::Encode(_) => Self::internal(message),
            RaftError::Reconfiguration { .. } => Self::bad_request(message),
            RaftError::ReconfigurationPending => Self::new(Reason::Conflict, message),
            RaftError::Timeout { .. } | RaftError::ReadTimeout { .. } => {
                Self::new(Reason::Timeout, message)
            }
        }
    }
}
