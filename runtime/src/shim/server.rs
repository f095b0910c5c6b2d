//! The shim's process: one loop over its sockets, its containers' output, and their exits.
//!
//! One thread, no runtime. A request is worked on until it is done, which takes milliseconds;
//! meanwhile output waits in the pipes. Nothing here waits for a client: what a client is slow
//! to read is kept up to a bound (replies) or dropped (attached output).
//!
//! Children are reaped in the loop only, never in between, so that a process id that is known
//! here cannot have been given to another process.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signalfd::SignalFd;

use crate::cgroup::Cgroups;
use crate::shim::mounter;
use crate::shim::wire::{Cause, Fault};

mod cgroup_view;
mod confined;
mod connection;
mod console;
mod container;
mod create;
mod exec;
mod log;
mod mounts;
mod output;
pub(super) mod paths;
mod pod;
mod reap;
mod request;
mod start;
mod users;

use connection::Connections;
use container::Container;
use exec::Exec;
use pod::Pod;

/// Reads of one source before the others get their turn.
const READS_PER_TURN: usize = 4;
/// The size of a pipe; a read rarely finds more.
const READ_BUFFER: usize = 16 << 10;

/// Runs the shim. To be called first thing in a process started for it, before any thread
/// exists, with the arguments after the subcommand. In the calling process it returns as soon
/// as the shim proper has been detached.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|word| word == mounter::VERB).is_some() {
        return mounter::main(arguments);
    }
    let started = start::Options::parse(arguments).and_then(|options| start::detach(&options));
    match started {
        Ok(start::Side::Caller) => ExitCode::SUCCESS,
        Ok(start::Side::Shim(mut shim)) => match shim.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(refusal) => fail(&refusal),
        },
        Err(refusal) => fail(&refusal),
    }
}

fn fail(refusal: &Refusal) -> ExitCode {
    // Standard error is the shim's log file.
    eprintln!("{}", refusal.0.words);
    ExitCode::FAILURE
}

/// Why a request failed, in words, with all causes.
#[derive(Debug)]
struct Refusal(Fault);

impl Refusal {
    fn new(words: impl Into<String>) -> Self {
        let (cause, words) = (Cause::default(), words.into());
        Self(Fault { cause, words })
    }

    /// The same in other words.
    fn reworded(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.0.words = words(&self.0.words);
        self
    }

    /// The same for another cause.
    fn caused_by(mut self, cause: Cause) -> Self {
        self.0.cause = cause;
        self
    }
}

impl<E: std::error::Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(text)
    }
}

type Outcome<T> = Result<T, Refusal>;

/// Says what was attempted when it fails.
trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: Into<Refusal>> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| {
            let refusal: Refusal = error.into();
            refusal.reworded(|words| format!("cannot {}: {words}", what()))
        })
    }
}

fn refuse<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Refusal::new(why))
}

fn now_ns() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Everything that the process knows.
struct Shim {
    dir: PathBuf,
    listener: UnixListener,
    signals: SignalFd,
    connections: Connections,
    cgroups: Cgroups,
    /// The namespaces it came from, until a pod decides which of them it shares.
    origin: Option<start::Origin>,
    pod: Option<Pod>,
    containers: Vec<Container>,
    execs: Vec<Exec>,
    next_exec: u64,
    agent_state: Vec<u8>,
    log_bytes_lost: u64,
    buffer: Box<[u8]>,
    ending: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    /// By position: containers are removed by requests only, which come last in a turn.
    Output {
        container: usize,
        stream: usize,
    },
}

impl Shim {
    fn run(&mut self) -> Outcome<()> {
        let mut sources = Vec::new();
        let mut polled = Vec::new();
        while !self.ending {
            self.sources(&mut sources, &mut polled);
            wait(&mut polled)?;
            let mut requests = Vec::new();
            for (source, poll) in sources
                .iter()
                .zip(&polled)
                .filter(|(_, poll)| poll.revents != 0)
            {
                match *source {
                    Source::Listener => self.connections.accept(&self.listener),
                    Source::Signals => self.reap()?,
                    Source::Connection(token) => requests.push((token, poll.revents)),
                    Source::Output { container, stream } => self.pump(container, stream),
                }
            }
            for (token, events) in requests {
                self.serve(token, events);
            }
        }
        self.connections.flush_all();
        Ok(())
    }

    /// What to wait for, outputs before connections.
    fn sources(&self, sources: &mut Vec<Source>, polled: &mut Vec<libc::pollfd>) {
        sources.clear();
        polled.clear();
        let mut add = |source, fd: RawFd, events| {
            sources.push(source);
            polled.push(libc::pollfd {
                fd,
                events,
                revents: 0,
            });
        };
        add(Source::Signals, self.signals.as_raw_fd(), libc::POLLIN);
        for (position, container) in self.containers.iter().enumerate() {
            for (stream, output) in container.outputs.iter().enumerate() {
                let source = Source::Output {
                    container: position,
                    stream,
                };
                add(source, output.as_raw_fd(), libc::POLLIN);
            }
        }
        add(Source::Listener, self.listener.as_raw_fd(), libc::POLLIN);
        for connection in self.connections.iter() {
            let source = Source::Connection(connection.token);
            add(source, connection.as_raw_fd(), connection.interest());
        }
    }

    /// Takes a turn at reading one output of a container.
    fn pump(&mut self, container: usize, stream: usize) {
        let Some(container) = self.containers.get_mut(container) else {
            return;
        };
        let lost = container.pump(stream, &mut self.buffer, READS_PER_TURN);
        self.log_bytes_lost += lost;
    }
}

fn wait(polled: &mut [libc::pollfd]) -> io::Result<()> {
    let count = polled.len() as libc::nfds_t;
    // SAFETY: the pointer and count describe the slice, which outlives the call.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), count, -1) };
    if ready >= 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted {
        Ok(())
    } else {
        Err(error)
    }
}
