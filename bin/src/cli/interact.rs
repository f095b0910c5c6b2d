//! Standard input and output joined to a process in a container: for `exec`, `attach`, `run` and
//! `cp`.

use super::failure::{Failure, Outcome, fail};
use super::session::Session;
use super::terminal::{self, RawTerminal};
use bytes::Bytes;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, Outcome as End, ToNode};
use std::io::Read;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// What is joined.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    /// Standard input goes to the process.
    pub stdin: bool,
    /// The process has a terminal, and so have we.
    pub tty: bool,
}

impl Joined {
    /// Settles what was asked for with what there is.
    pub fn settle(session: &Session, stdin: bool, tty: bool) -> Self {
        let usable = tty && stdin && terminal::is_interactive();
        if tty && stdin && !usable {
            session
                .out
                .note("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        // Without input a terminal is still the process's own, for its output.
        Self {
            stdin,
            tty: usable || (tty && !stdin),
        }
    }
}

/// Joins until the process ends; its exit code. The terminal is raw meanwhile.
pub async fn join(session: &Session, stream: NodeStream, joined: Joined) -> Outcome<End> {
    let _raw = match joined.tty && joined.stdin {
        true => Some(RawTerminal::begin()?),
        false => None,
    };
    let NodeStream { input, mut output } = stream;
    let mut resized = signal(SignalKind::window_change())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    if joined.stdin {
        tokio::spawn(feed(read_stdin(), input.clone()));
    }
    loop {
        tokio::select! {
            chunk = output.recv() => match chunk {
                Some(FromNode::Output(bytes)) => session.out.bytes(&bytes)?,
                Some(FromNode::Error(bytes)) => session.out.error_bytes(&bytes),
                Some(FromNode::Done(end)) => return Ok(end?),
                Some(_) => {}
                None => fail!("the connection to the node was lost; the process may go on there"),
            },
            Some(()) = resized.recv(), if joined.tty => {
                // When there is no room, much input is on its way: the next change will do.
                if let Some(size) = terminal::size() {
                    let _ = input.try_send(ToNode::Resize(size));
                }
            },
            Some(()) = terminated.recv() => return Err(Failure::Exit(SIGNALLED + 15)),
            Some(()) = hung_up.recv() => return Err(Failure::Exit(SIGNALLED + 1)),
        }
    }
}

/// The exit code of a program that a signal ended is this and the signal's number.
const SIGNALLED: u8 = 128;

/// Sends chunks as input, and then its end.
pub async fn feed(mut chunks: mpsc::Receiver<Bytes>, input: mpsc::Sender<ToNode>) {
    while let Some(bytes) = chunks.recv().await {
        if input.send(ToNode::Input(bytes)).await.is_err() {
            return;
        }
    }
    // A process that has ended takes no input; its end is on its way.
    let _ = input.send(ToNode::EndOfInput).await;
}

/// Reads standard input on a thread of its own: a read cannot be interrupted, and must not hold
/// up anything else.
pub fn read_stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut stdin = std::io::stdin().lock();
        loop {
            let read = match stdin.read(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            if sender
                .blocking_send(Bytes::copy_from_slice(&buffer[..read]))
                .is_err()
            {
                return;
            }
        }
    });
    receiver
}

/// Passes a process's exit code on as this program's.
pub fn finish(session: &Session, end: End) -> Outcome {
    match end {
        End::Complete | End::Exited(0) => Ok(()),
        End::Exited(code) => {
            session
                .out
                .note(format!("command terminated with exit code {code}"));
            // A code beyond a byte would be cut to a wrong one, perhaps to success.
            Err(Failure::Exit(u8::try_from(code).unwrap_or(255)))
        }
    }
}
