//! Every message that may leave a process, one file per conversation, and the traits through
//! which control plane, node agent and clients talk without knowing each other.
//!
//! | module | conversation |
//! |---|---|
//! | [`api`] | anyone to the API: requests and watches, under one identity |
//! | [`node`] | the control plane to a node: logs, exec, attach, port-forward, images, actors |
//! | [`session`] | a client to the node's client port: the frames of the native protocol |
//! | [`client`] | the client's side of a session, over any byte stream |
//! | [`frame`] | how frames are cut out of a byte stream |
//! | [`join`] | a machine that wants to become a node, to a server |
//! | [`cluster`] | members among each other |
//! | [`front`] | the HTTP API to the control plane behind it |
//! | [`unverified`] | probes and proxies to programs in pods: TLS with anyone |

pub mod api;
pub mod client;
pub mod cluster;
pub mod frame;
pub mod front;
pub mod join;
pub mod node;
pub mod session;
pub mod unverified;

pub use api::{Api, ApiHandle, Watch};
pub use front::{Front, FrontHandle};
pub use node::{Node, NodeHandle, NodeStream};
