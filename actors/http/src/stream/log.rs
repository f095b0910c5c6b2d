//! Logs of containers (`v1` `PodLogOptions`), as plain text that comes in pieces.

use super::target;
use crate::request::Context;
use crate::response::{Response, TEXT, answer, streamed};
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use kabuki_model::status::Cause;
use kabuki_model::{Resource, StatusError};
use kabuki_protocol::node::{FromNode, LogRequest, LogStream, NodeRequest, PodRef};
use std::io;

/// Serves a log.
pub(super) async fn serve(context: &Context) -> Result<Response, StatusError> {
    let container = context.query.text("container");
    of(context, target::pod(context), container).await
}

/// The log of a container, as the query asks for it.
pub(super) async fn of(
    context: &Context,
    pod: PodRef,
    container: &str,
) -> Result<Response, StatusError> {
    let request = read(context, pod, container, Timestamp::now())?;
    let node = target::open(context, NodeRequest::Logs(request)).await?;
    let pieces = stream::unfold(Some(node), |node| async {
        let mut node = node?;
        match node.output.recv().await {
            Some(FromNode::Output(bytes) | FromNode::Error(bytes)) => {
                Some((Ok::<Bytes, io::Error>(bytes), Some(node)))
            }
            Some(FromNode::Done(Ok(_))) => None,
            // Said in the text, as Kubernetes does: the head of the answer is long gone.
            Some(FromNode::Done(Err(error))) => Some((Ok(Bytes::from(error.message)), None)),
            Some(_) | None => {
                let lost = io::Error::other("the node ended the stream");
                Some((Err(lost), None))
            }
        }
    });
    Ok(answer(StatusCode::OK, TEXT, streamed(pieces)))
}

fn read(
    context: &Context,
    pod: PodRef,
    container: &str,
    now: Timestamp,
) -> Result<LogRequest, StatusError> {
    let query = &context.query;
    let mut causes = Vec::new();
    let mut number = |name: &str, least: i64| -> Result<Option<u64>, StatusError> {
        let Some(number) = query.number(name)? else {
            return Ok(None);
        };
        if number < least {
            let why = format!("must be greater than or equal to {least}");
            causes.push(Cause::invalid(name, number, &why));
        }
        Ok(Some(number.unsigned_abs()))
    };
    let tail_lines = number("tailLines", 0)?;
    let limit_bytes = number("limitBytes", 1)?;
    let since_s = number("sinceSeconds", 1)?;
    let since_time = query.text("sinceTime");
    if since_s.is_some() && !since_time.is_empty() {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        causes.push(Cause::forbidden("sinceSeconds", why));
    }
    let stream = match query.text("stream") {
        "" | "All" => LogStream::All,
        one @ ("Stdout" | "Stderr") => {
            if tail_lines.is_some() {
                let why = "`tailLines` and specific `stream` are mutually exclusive for now";
                causes.push(Cause::forbidden("tailLines", why));
            }
            match one {
                "Stdout" => LogStream::Stdout,
                _ => LogStream::Stderr,
            }
        }
        other => {
            let all = &["All", "Stderr", "Stdout"];
            causes.push(Cause::unsupported("stream", other, all));
            LogStream::All
        }
    };
    if !causes.is_empty() {
        let (kind, name) = ("PodLogOptions", &pod.name);
        let resource = Resource::named(kind);
        return Err(StatusError::invalid(kind, &resource, name, causes));
    }
    let since = match (since_s, since_time) {
        (Some(seconds), _) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            let begun = now.checked_sub(SignedDuration::from_secs(seconds));
            Some(begun.unwrap_or(Timestamp::MIN))
        }
        (None, "") => None,
        (None, text) => Some(text.parse().map_err(|_| {
            StatusError::bad_request(format!("sinceTime {text:?} is no RFC 3339 time"))
        })?),
    };
    let nanoseconds = |t: Timestamp| i64::try_from(t.as_nanosecond()).unwrap_or(i64::MIN);
    Ok(LogRequest {
        pod,
        container: container.to_string(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines,
        since_ns: since.map(nanoseconds),
        timestamps: query.flag("timestamps"),
        limit_bytes,
        stream,
    })
}
