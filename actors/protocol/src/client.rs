//! The client's side of a session, over any byte stream (the CLI gives it TLS). Many calls,
//! watches and streams at once; dropping any of them cancels it on the server.

mod connection;

pub use connection::Client;

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
