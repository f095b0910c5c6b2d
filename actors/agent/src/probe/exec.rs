//! One command in a container. It has a connection to the pod's shim of its own: when nobody
//! waits for it any more, the connection ends, and the shim kills what is left of it. Hooks alone
//! go on, so that the end of the daemon is not theirs.

use super::ANSWER_MAX;
use super::action::Around;
use crate::pod::shim_container;
use kabuki_lifecycle::probe::Outcome;
use kabuki_runtime::{Event, ExecSpec};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// What a command leaves running may hold its output open; it is not waited for longer.
const DRAIN: Duration = Duration::from_millis(200);

/// Probes: a command that ends with 0 within the limit is a success.
pub(super) async fn probe(around: &Around, command: &[String], limit: Duration) -> Outcome {
    match tokio::time::timeout(limit, run(around, command, None)).await {
        Ok(Ok((0, _))) => Outcome::Success,
        Ok(Ok((_, said))) => Outcome::Failure(said),
        Ok(Err(why)) => Outcome::Error(why),
        Err(_) => {
            let command = command.join(" ");
            Outcome::Failure(format!("command {command:?} timed out"))
        }
    }
}

/// Runs a command: its exit code, and the beginning of what it said. One that has a name goes on
/// when nobody waits, and is waited for again under this name; it says nothing.
///
/// # Errors
/// When it could not be run, why.
pub(super) async fn run(
    around: &Around,
    command: &[String],
    lasting: Option<&str>,
) -> Result<(i32, String), String> {
    let entry = &around.entry;
    let id = entry
        .shim_id()
        .ok_or_else(|| "the pod does not run".to_string())?;
    let connected = around.services.launcher.connect(&id).await;
    let (client, mut events) = connected.map_err(|e| e.to_string())?;
    let spec = ExecSpec {
        container: shim_container(&around.instance),
        args: command.to_vec(),
        stdout: lasting.is_none(),
        stderr: lasting.is_none(),
        lasting: lasting.map(str::to_string),
        ..ExecSpec::default()
    };
    let handle = client.exec(spec).await.map_err(|e| e.to_string())?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = {
        let outputs =
            async { tokio::join!(read(handle.stdout, &mut out), read(handle.stderr, &mut err)) };
        tokio::pin!(outputs);
        let exit = async {
            while let Some(event) = events.recv().await {
                if let Event::ExecExited { exec_id, exit } = event
                    && exec_id == handle.exec_id
                {
                    return Ok(exit.code);
                }
            }
            Err("the container's shim is gone".to_string())
        };
        tokio::pin!(exit);
        tokio::select! {
            code = &mut exit => {
                let _ = tokio::time::timeout(DRAIN, &mut outputs).await;
                code?
            }
            _ = &mut outputs => exit.await?,
        }
    };
    out.extend_from_slice(&err);
    out.truncate(ANSWER_MAX);
    let said = String::from_utf8_lossy(&out).trim_end().to_string();
    Ok((code, said))
}

/// Keeps the beginning of a stream and passes over the rest, so that the writer never waits.
async fn read(stream: Option<OwnedFd>, kept: &mut Vec<u8>) -> std::io::Result<()> {
    let Some(stream) = stream else {
        return Ok(());
    };
    let mut stream = Receiver::from_owned_fd(stream)?;
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => {
                let room = ANSWER_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
        }
    }
}
