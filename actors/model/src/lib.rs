//! Kinds and their metadata, the stored-object envelope, and the rules that every kind shares.
//! Nothing here performs I/O, reads a clock or draws a random number: time and entropy are
//! arguments, so that the cores which stand on this crate can run under a simulated clock.
//!
//! | module | what |
//! |---|---|
//! | [`codec`] | the binary format of frames and log entries |
//! | [`object`] | keys, resources and the stored object with its lazily decoded form |
//! | [`status`] | refusals in the shape of Kubernetes' `Status` |
//! | [`request`] | what a client or controller asks of the API, and the answers |
//! | [`command`] | what the store applies, and what it says of it |
//! | [`watch`] | watch requests and events |
//! | [`view`] | reading the state at one revision |
//! | [`kind`] | the registry: one entry per kind |
//! | [`identity`] | who asks |

pub mod codec;
pub mod command;
pub mod identity;
pub mod kind;
pub mod object;
pub mod request;
pub mod status;
pub mod view;
pub mod watch;

pub use k8s_openapi;
pub use object::{ObjectKey, Resource, Stored};
pub use status::StatusError;
