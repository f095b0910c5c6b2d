//! Names.
//!
//! - [`zone`]: PURE. The names of a cluster, from its services and their endpoints.
//! - [`respond`]: PURE. From a question's bytes to its answer's.
//! - [`wire`]: PURE. Questions and answers as bytes, where they are plain.
//! - [`forward`]: the names of others, asked of other servers and kept.
//! - [`server`]: answers over UDP and TCP, from both.
//! - [`lookup`]: what the server would answer, for people.
//! - [`resolv_conf`]: PURE. What a pod's `/etc/resolv.conf` says.
//!
//! hickory's server starts a task for each question; here only a question that has to be asked of
//! others gets one. Its types of messages are used wherever a message is not plain.

pub mod forward;
pub mod lookup;
mod plain;
pub mod resolv_conf;
pub mod respond;
pub mod server;
pub mod wire;
pub mod zone;

pub use hickory_proto;
