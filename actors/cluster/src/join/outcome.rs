//! Why a machine could not join, each cause in its own words.

use crate::authority::PkiError;
use crate::member::MemberError;
use kabuki_protocol::join::JoinRefusal;

/// Why a machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The address has no form that is known, or its name does not resolve.
    #[error("{address:?} is no address: {why}; give HOST:PORT of any node of the cluster")]
    Address {
        /// The address.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody answers.
    #[error(
        "{address} cannot be reached: {why}; check the address, the network and the firewall \
         between here and there"
    )]
    Unreachable {
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// The machine is there, and nothing listens.
    #[error(
        "{address} refuses connections: no kabuki node listens there; check the port, and that \
         `kabuki node` runs"
    )]
    ConnectionRefused {
        /// The address.
        address: String,
    },
    /// Something else listens.
    #[error("{address} is not a kabuki node: {why}")]
    NotKabuki {
        /// The address.
        address: String,
        /// What it did.
        why: String,
    },
    /// Another cluster.
    #[error(
        "the cluster at {address} is not the one that the token is for; check the address, or \
         make a token on that cluster with `kabuki token create`"
    )]
    OtherCluster {
        /// The address.
        address: String,
    },
    /// A member answered that may not admit anyone.
    #[error("{address} answers with a certificate of the cluster that is not a server's")]
    NotAServer {
        /// The address.
        address: String,
    },
    /// The server's certificate is too old or not yet good.
    #[error("the certificate of the server at {address} is not good now: {why}")]
    Certificate {
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// The connection broke.
    #[error(
        "the connection to {address} broke while joining: {why}; it is safe to try again with the \
         same data directory"
    )]
    Lost {
        /// The address.
        address: String,
        /// Why.
        why: String,
    },
    /// The cluster does not want it.
    #[error(transparent)]
    Refused(#[from] JoinRefusal),
    /// None of several addresses worked.
    #[error("cannot join through any of the addresses: {}", listed(.0))]
    All(Vec<JoinError>),
    /// No address was given.
    #[error("no address to join was given")]
    NoAddress,
    /// The credentials could not be made or written.
    #[error(transparent)]
    Credentials(#[from] PkiError),
    /// The membership could not be written.
    #[error(transparent)]
    Member(#[from] MemberError),
}

impl JoinError {
    /// Whether every member would say the same, so that there is no use in trying another.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused(refusal) => !matches!(refusal, JoinRefusal::Unavailable(_)),
            Self::Credentials(_) | Self::Member(_) => true,
            Self::All(errors) => errors.iter().any(Self::is_final),
            Self::Address { .. }
            | Self::Unreachable { .. }
            | Self::ConnectionRefused { .. }
            | Self::NotKabuki { .. }
            | Self::OtherCluster { .. }
            | Self::NotAServer { .. }
            | Self::Certificate { .. }
            | Self::Lost { .. }
            | Self::NoAddress => false,
        }
    }
}

fn listed(errors: &[JoinError]) -> String {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}
