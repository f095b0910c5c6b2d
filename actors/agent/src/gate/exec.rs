//! A command in a container. It ends when the caller goes away, because the connection to the
//! shim that started it is this stream's own.

use super::streams::{Channel, feed, pump_out, split};
use super::{Ends, container, stream};
use crate::pod::shim_container;
use crate::services::Services;
use kabuki_model::StatusError;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{ExecRequest, FromNode, Outcome};
use kabuki_runtime::{Event, ExecHandle, ExecSpec, ShimClient, ShimEvents};
use std::io;
use std::time::Duration;

/// What a process leaves running may hold its output open; it is not waited for longer.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Starts the command.
pub(super) async fn open(
    services: &Services,
    request: ExecRequest,
) -> Result<NodeStream, StatusError> {
    if request.command.is_empty() {
        return Err(StatusError::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    let entry = container::pod(services, &request.pod).await?;
    let name = container::named(&entry, &request.container)?;
    let instance = container::running(&entry, &name)?;
    let (client, events) = container::connect(services, &entry, &instance).await?;
    let spec = ExecSpec {
        container: shim_container(&instance),
        args: request.command,
        tty: request.tty,
        stdin: request.stdin,
        stdout: true,
        stderr: !request.tty,
        size: request.size.map(|s| (s.rows, s.columns)),
        env: if request.tty {
            vec!["TERM=xterm".to_string()]
        } else {
            Vec::new()
        },
        ..ExecSpec::default()
    };
    let handle = match client.exec(spec).await {
        Ok(handle) => handle,
        Err(error) => {
            let action = "error executing command in container";
            let failure = container::failure(services, &entry, &instance, action, &error);
            return Err(failure.await);
        }
    };
    let (caller, ends) = stream();
    tokio::spawn(async move {
        let output = ends.output.clone();
        let stdin = request.stdin;
        if let Err(error) = serve(client, events, handle, ends, stdin).await {
            let error = StatusError::internal(format!("exec: {error}"));
            // The caller may have gone.
            let _ = output.send(FromNode::Done(Err(error))).await;
        }
    });
    Ok(caller)
}

async fn serve(
    client: ShimClient,
    mut events: ShimEvents,
    handle: ExecHandle,
    ends: Ends,
    wants_input: bool,
) -> io::Result<()> {
    let (mut input, output) = split(ends);
    let id = handle.exec_id;
    let (terminal, stdout, stderr, stdin);
    match handle.terminal {
        Some(fd) => {
            let write = fd.try_clone()?;
            terminal = Some(Channel::new(fd)?);
            stdin = wants_input.then(|| Channel::writer(write)).transpose()?;
            (stdout, stderr) = (None, None);
        }
        None => {
            terminal = None;
            stdout = handle.stdout.map(Channel::new).transpose()?;
            stderr = handle.stderr.map(Channel::new).transpose()?;
            stdin = handle.stdin.map(Channel::writer).transpose()?;
        }
    }
    let main = terminal.as_ref().or(stdout.as_ref());
    let drain = async {
        let out = async {
            match main {
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
        let (a, b) = tokio::join!(out, err);
        a && b
    };
    let exit = async {
        while let Some(event) = events.recv().await {
            if let Event::ExecExited { exec_id, exit } = event
                && exec_id == id
            {
                return Some(exit.code);
            }
        }
        None
    };
    let feed = async {
        feed(stdin, terminal.as_ref(), terminal.is_some(), &mut input).await;
        // The caller has gone when its side of the output is closed as well.
        output.closed().await;
    };
    tokio::pin!(drain, exit, feed);
    let mut drained = false;
    let mut fed = false;
    let code = loop {
        tokio::select! {
            code = &mut exit => break code,
            there = &mut drain, if !drained => match there {
                true => drained = true,
                false => return Ok(()),
            },
            () = &mut feed, if !fed => match output.is_closed() {
                true => return Ok(()),
                false => fed = true,
            },
        }
    };
    if !drained {
        // The rest of the output; without it nothing is wrong.
        let _ = tokio::time::timeout(DRAIN_LIMIT, &mut drain).await;
    }
    drop(client);
    let outcome = match code {
        Some(code) => Ok(Outcome::Exited(code)),
        None => Err(StatusError::internal("the container's shim is gone")),
    };
    let _ = output.send(FromNode::Done(outcome)).await;
    Ok(())
}
