//! All that lies between nodes: who this node is, its one port, joining, the sessions of members,
//! and calls to other nodes.
//!
//! | module | what |
//! |---|---|
//! | [`authority`] | the CA and what it signs |
//! | [`certificate`] | what a certificate says |
//! | [`credentials`] | this node's key and certificate, and TLS by them |
//! | [`dialer`] | the way to another node's port |
//! | [`facts`] | what makes a Node object that of a member |
//! | [`discovery`] | finding the cluster on a local network |
//! | [`files`] | private files, replaced whole |
//! | [`join`] | a machine with a token becomes a node |
//! | [`member`] | who this node is in its cluster, on disk |
//! | [`members`] | the actor cluster: ractor_cluster sessions, kept up |
//! | [`port`] | the node's one port |
//! | [`roster`] | the members, as a worker knows them |
//! | [`remote`] | calls to other nodes |
//! | [`renewal`] | this node's certificate, renewed while it runs |
//! | [`seal`] | the proof of who sent a message |
//! | [`seams`] | the traits through which control plane and port find each other |
//!
//! The control plane and the node agent stand on this; neither is known here.

pub mod authority;
pub mod certificate;
pub mod credentials;
pub mod dialer;
pub mod discovery;
pub mod facts;
pub mod files;
pub mod join;
pub mod member;
pub mod members;
pub mod port;
mod recent;
pub mod remote;
pub mod renewal;
pub mod roster;
pub mod seal;
pub mod seams;
mod socket;

pub use authority::{Authority, PkiError};
pub use credentials::Credentials;
pub use dialer::Dialer;
pub use member::Member;
pub use port::{Doors, Port};
pub use remote::Remote;
pub use renewal::Renewal;
