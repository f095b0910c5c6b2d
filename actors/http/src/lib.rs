//! The Kubernetes HTTP API: a thin front. A request over HTTP/1.1 or HTTP/2 becomes the same
//! request of `kabuki_model::request` that the CLI sends, answered by the same gateway; here are
//! only the words of HTTP around it.
//!
//! ```text
//! connection (server)
//!    │ authentication     certificate, bearer token, impersonation
//!    │ request            path, verb, query: what is asked
//!    ▼
//! route ── read, write, watching    requests on objects
//!       ── stream                   exec, attach, port-forward, log
//!       ── discovery, openapi       what is served, from the registry of kinds
//!       ── health, metrics          how the server is
//!    │ representation     JSON, YAML, protobuf, Table, partial metadata
//!    ▼
//! response
//! ```
//!
//! Who talks to it: clients through the node's port; it talks to the control plane through
//! [`kabuki_protocol::Front`] alone.
//!
//! Invariants: no request without authentication reaches the control plane; headers, bodies,
//! requests under way and unread watches are bounded; every refusal is a `Status`.

mod authentication;
mod body;
mod compression;
mod connections;
mod discovery;
mod error;
#[cfg(test)]
mod fake;
mod gathering;
mod health;
mod limits;
mod metrics;
mod openapi;
mod openid;
mod options;
mod query;
mod read;
pub mod representation;
mod request;
mod response;
mod route;
mod served;
mod server;
mod stalled;
pub mod stream;
mod usage;
mod watching;
mod write;

pub use connections::{ByteStream, Connections};
pub use request::{Context, RequestInfo};
pub use response::{Body, Response};
pub use server::{Arrived, Server};
