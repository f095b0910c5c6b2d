//! `exec` and `attach`: a process's streams over a connection (Kubernetes, `remotecommand`).

mod channels;
mod outcome;
mod pump;
mod streams;

use super::target;
use super::upgrade::{Chosen, Offer, begin};
use crate::request::Context;
use crate::response::Response;
use hyper::body::Incoming;
use kabuki_model::StatusError;
use kabuki_protocol::node::{AttachRequest, ExecRequest, NodeRequest};

/// Without an end of input, but otherwise the same.
const V4: &str = "v4.channel.k8s.io";
/// The client can end its input and go on listening.
const V5: &str = "v5.channel.k8s.io";

const OFFER: Offer = Offer {
    websocket: &[V5, V4],
    spdy: &[V4],
};

/// Which of a process's streams a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    stdin: bool,
    stdout: bool,
    /// Never with a terminal, which has one output.
    stderr: bool,
    tty: bool,
}

/// Serves `exec` and `attach`.
pub(super) async fn serve(
    context: &Context,
    request: http::Request<Incoming>,
) -> Result<Response, StatusError> {
    let (wanted, asked) = read(context)?;
    let (response, chosen) = match OFFER.choose(&context.headers)? {
        Ok(agreed) => agreed,
        Err(response) => return Ok(response),
    };
    let node = target::open(context, asked).await?;
    begin(context, request, move |stream| async move {
        match chosen {
            Chosen::WebSocket(protocol) => {
                channels::serve(stream, protocol == V5, wanted, node).await;
            }
            Chosen::Spdy(_) => streams::serve(stream, wanted, node).await,
        }
    })
    .await?;
    Ok(response)
}

fn read(context: &Context) -> Result<(Wanted, NodeRequest), StatusError> {
    let query = &context.query;
    let tty = query.flag("tty");
    let wanted = Wanted {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr") && !tty,
        tty,
    };
    if !wanted.stdin && !wanted.stdout && !wanted.stderr {
        return Err(StatusError::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    let pod = target::pod(context);
    let container = query.text("container").to_string();
    let (stdin, size) = (wanted.stdin, None);
    let asked = match context.info.subresource.as_str() {
        "exec" => NodeRequest::Exec(ExecRequest {
            pod,
            container,
            command: query.all("command").map(str::to_string).collect(),
            stdin,
            tty,
            size,
        }),
        _ => NodeRequest::Attach(AttachRequest {
            pod,
            container,
            stdin,
            tty,
            size,
        }),
    };
    Ok((wanted, asked))
}

#[cfg(test)]
mod tests;
