//! Streams with a node, in the shapes that Kubernetes' clients know.
//!
//! | subresource | how | module |
//! |---|---|---|
//! | `log` | a body that comes in pieces | `log` |
//! | `exec`, `attach` | channels over WebSocket, or streams over SPDY | `process` |
//! | `portforward` | SPDY, SPDY inside of a WebSocket, or channels over WebSocket | `forward` |
//! | `proxy` of pods and Services | an HTTP request handed on over a forwarded connection | `proxy` |
//! | `proxy` of nodes | what a kubelet serves | `node` |
//!
//! The node is asked before anything is upgraded, so that a refusal is an ordinary `Status`. An
//! upgraded connection is a task with room among the long-running requests.
//!
//! Invariants: every queue is bounded and slows down who fills it; a client that is gone ends what
//! was done for it on the node, because the task that served it drops its stream.

mod forward;
mod log;
mod node;
mod process;
mod proxy;
pub mod spdy;
mod target;
mod upgrade;
pub mod websocket;

use crate::request::Context;
use crate::response::{Response, refusal};
use hyper::body::Incoming;
use kabuki_model::StatusError;
use kabuki_model::status::Reason;

/// Serves `exec`, `attach`, `portforward`, `log` and `proxy`.
pub async fn serve(context: Context, request: http::Request<Incoming>) -> Response {
    let info = &context.info;
    let answered = match (info.resource.as_str(), info.subresource.as_str()) {
        ("pods", "log") => log::serve(&context).await,
        ("pods", "exec" | "attach") => process::serve(&context, request).await,
        ("pods", "portforward") => forward::serve(&context, request).await,
        ("nodes", "proxy") => node::serve(&context).await,
        ("pods" | "services", "proxy") => proxy::serve(&context, request).await,
        (resource, part) => Err(StatusError::new(
            Reason::NotFound,
            format!("{resource}/{part} is not served"),
        )),
    };
    answered.unwrap_or_else(|error| refusal(&error))
}
