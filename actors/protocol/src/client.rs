//! The client's side of a session, over any byte stream (the CLI gives it TLS). Many calls,
//! watches and streams at once; dropping any of them cancels it on the server.

mod connection;
mod servers;

pub use connection::Client;

use kabuki_model::StatusError;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The request never left: nothing was done.
    #[error("{0}")]
    NotSent(String),
    /// The connection broke before the answer came: nothing is known of the outcome.
    #[error("{0}")]
    Lost(String),
    /// The server refused.
    #[error(transparent)]
    Refused(StatusError),
}

impl From<Failure> for StatusError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(why) => Self::unavailable(why),
            Failure::Lost(why) => Self::unknown_outcome(why),
            Failure::Refused(error) => error,
        }
    }
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A frame could not be exchanged.
    #[error("cannot open a session")]
    Frame(#[from] crate::frame::FrameError),
    /// The server ended the session and said why.
    #[error("the server ended the session: {0}")]
    Refused(String),
    /// The other side closed the connection or answered something else.
    #[error("the server does not speak the protocol")]
    NoProtocol,
    /// The server speaks another version.
    #[error(
        "the server speaks version {server} of the protocol, this client {client}: use the same version of kabuki"
    )]
    Version {
        /// The server's version.
        server: u32,
        /// This client's version.
        client: u32,
    },
}
