//! The streams of a container's main process.

use super::streams::{Channel, feed, pump_out, split};
use super::{Ends, container, stream};
use crate::pod::shim_container;
use crate::services::Services;
use kabuki_lifecycle::containers;
use kabuki_model::StatusError;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{AttachRequest, FromNode, Outcome};
use kabuki_runtime::{AttachSpec, Attached, ShimClient};
use std::io;

/// Joins the streams.
pub(super) async fn open(
    services: &Services,
    request: AttachRequest,
) -> Result<NodeStream, StatusError> {
    let entry = container::pod(services, &request.pod).await?;
    let name = container::named(&entry, &request.container)?;
    let instance = container::running(&entry, &name)?;
    let pod = entry.pod();
    let spec = containers::container(&pod, &name);
    let (has_stdin, has_tty) = spec.map_or((false, false), |(_, c)| {
        (c.stdin == Some(true), c.tty == Some(true))
    });
    if request.tty && !has_tty {
        let text = format!("Unable to use a TTY - container {name} did not allocate one");
        return Err(StatusError::bad_request(text));
    }
    let stdin = request.stdin && has_stdin;
    let (client, _events) = container::connect(services, &entry, &instance).await?;
    let wanted = AttachSpec {
        container: shim_container(&instance),
        stdin: stdin || has_tty,
        stdout: true,
        stderr: !has_tty,
    };
    let attached = match client.attach(wanted).await {
        Ok(attached) => attached,
        Err(error) => {
            let failure = container::failure(services, &entry, &instance, "attach", &error);
            return Err(failure.await);
        }
    };
    let (caller, ends) = stream();
    tokio::spawn(async move {
        let output = ends.output.clone();
        if let Err(error) = serve(client, attached, ends, request, stdin).await {
            let error = StatusError::internal(format!("attach: {error}"));
            // The caller may have gone.
            let _ = output.send(FromNode::Done(Err(error))).await;
        }
    });
    Ok(caller)
}

async fn serve(
    client: ShimClient,
    attached: Attached,
    ends: Ends,
    request: AttachRequest,
    wants_input: bool,
) -> io::Result<()> {
    let (mut input, output) = split(ends);
    let terminal = match (attached.tty, &attached.stdin) {
        (true, Some(fd)) => Some(Channel::writer(fd.try_clone()?)?),
        _ => None,
    };
    let stdin = attached.stdin.map(Channel::writer).transpose()?;
    let stdout = attached.stdout.map(Channel::new).transpose()?;
    let stderr = attached.stderr.map(Channel::new).transpose()?;
    if let (Some(size), Some(terminal)) = (request.size, &terminal) {
        terminal.resize(size)?;
    }
    let own = stdin.filter(|_| wants_input);
    let out = async {
        match &stdout {
            Some(channel) => pump_out(channel, &output, FromNode::Output).await,
            None => true,
        }
    };
    let err = async {
        match &stderr {
            Some(channel) => pump_out(channel, &output, FromNode::Error).await,
            None => true,
        }
    };
    let feed = async {
        feed(own, terminal.as_ref(), attached.tty, &mut input).await;
        output.closed().await;
    };
    tokio::select! {
        _ = async { tokio::join!(out, err) } => {}
        () = feed => return Ok(()),
    }
    drop(client);
    let _ = output.send(FromNode::Done(Ok(Outcome::Complete))).await;
    Ok(())
}
