//! The node daemon's side of a shim's socket.
//!
//! A [`ShimClient`] is cheap to clone and every call has a time limit. Calls of several tasks
//! may overlap, but the shim works on one at a time. [`ShimEvents`] ends when the shim is gone.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::ShimError;
use super::wire::{self, Answer, Call, Cause, Fault, Inbox, Request, Say, Target};
use crate::cgroup::CgroupStats;
use crate::spec::{
    AttachSpec, ContainerSpec, Event, ExecSpec, PodMount, PodSpec, Resources, ShimStatus, Warnings,
};

mod transport;

use transport::{Waiting, locked, next, read_all, write_all};

/// For what only touches memory and a few kernel files.
const QUICK: Duration = Duration::from_secs(10);
/// For what makes or ends processes, on a loaded machine.
const SLOW: Duration = Duration::from_secs(60);

/// Requests on their way to the socket; more callers wait their turn.
const OUTGOING: usize = 16;

/// A connection to one shim.
#[derive(Debug, Clone)]
pub struct ShimClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: String,
    dir: PathBuf,
    pid: i32,
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU64,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// What the shim tells on its own. The channel is fed by process exits only, so it needs no
/// bound of its own.
#[derive(Debug)]
pub struct ShimEvents(mpsc::UnboundedReceiver<Event>);

impl ShimEvents {
    /// The next event; `None` once the shim is gone.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// The streams of a further process. Its exit arrives as [`Event::ExecExited`].
#[derive(Debug)]
pub struct ExecHandle {
    pub exec_id: u64,
    pub pid: i32,
    /// The terminal's master side: read, write, and resize. The pipes are absent then.
    pub terminal: Option<OwnedFd>,
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Streams of a container's main process. Output that is not read in time is dropped.
#[derive(Debug)]
pub struct Attached {
    /// The pipe's write end, or (`tty`) the terminal's master: write and resize, never read it.
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub tty: bool,
}

impl ShimClient {
    /// Takes over a connected socket and waits for the shim's greeting.
    pub(super) async fn greet(
        id: String,
        dir: PathBuf,
        socket: std::os::unix::net::UnixStream,
    ) -> Result<(Self, ShimEvents), ShimError> {
        let io = |action| {
            let shim = id.clone();
            move |source| ShimError::Io {
                shim,
                action,
                source,
            }
        };
        socket.set_nonblocking(true).map_err(io("use its socket"))?;
        let stream = Arc::new(UnixStream::from_std(socket).map_err(io("use its socket"))?);
        let mut inbox = Inbox::default();
        let hello = tokio::time::timeout(QUICK, next(&stream, &mut inbox)).await;
        let hello = hello.map_err(|_| timed_out(&id, "the greeting", QUICK))?;
        let pid = match hello.map_err(io("read its greeting"))? {
            Some(Say::Hello {
                version: wire::VERSION,
                pid,
            }) => pid,
            Some(Say::Hello { version, .. }) => return Err(ShimError::Version(id, version)),
            Some(_) => return Err(ShimError::Frame(id)),
            None => return Err(ShimError::Gone(id)),
        };
        let waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (events, received) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read_all(stream.clone(), inbox, waiting.clone(), events));
        let (outgoing, frames) = mpsc::channel(OUTGOING);
        let writer = tokio::spawn(write_all(stream, frames));
        let (next, tasks) = (AtomicU64::new(1), [reader, writer]);
        let inner = Inner {
            id,
            dir,
            pid,
            outgoing,
            waiting,
            next,
            tasks,
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            ShimEvents(received),
        ))
    }

    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The shim's process, whose namespaces are the pod's.
    pub fn pid(&self) -> i32 {
        self.inner.pid
    }

    /// The pod's network namespace, to be opened or entered.
    pub fn netns_path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.pid()).into()
    }

    /// A path as the pod's mounts show it, such as a [`PodMount`]'s content.
    pub fn inside(&self, path: &Path) -> PathBuf {
        let relative = path.strip_prefix("/").unwrap_or(path);
        Path::new(&format!("/proc/{}/root", self.pid())).join(relative)
    }

    /// Gives a pod to a spare shim.
    pub async fn setup(&self, pod: PodSpec) -> Result<Warnings, ShimError> {
        self.warned("setup", Call::Setup(pod), SLOW).await
    }

    pub async fn status(&self) -> Result<ShimStatus, ShimError> {
        match self.call("status", Call::Status, QUICK).await?.0 {
            Answer::Status(status) => Ok(*status),
            _ => Err(self.unexpected()),
        }
    }

    /// Keeps bytes that a restarted daemon will want back, in [`ShimStatus::agent_state`].
    pub async fn set_agent_state(&self, state: Vec<u8>) -> Result<(), ShimError> {
        self.done("set agent state", Call::SetAgentState(state), QUICK)
            .await
    }

    /// Mounts a tmpfs in the pod; it is there for containers created from now on.
    pub async fn mount(&self, mount: PodMount) -> Result<(), ShimError> {
        self.done("mount", Call::Mount(mount), QUICK).await
    }

    pub async fn unmount(&self, path: &str) -> Result<(), ShimError> {
        self.done("unmount", Call::Unmount(path.to_owned()), QUICK)
            .await
    }

    /// Sets a container up to the moment before its program starts. Returns its process.
    pub async fn create(&self, spec: ContainerSpec) -> Result<(i32, Warnings), ShimError> {
        match self
            .call("create", Call::Create(Box::new(spec)), SLOW)
            .await?
            .0
        {
            Answer::Created { pid, warnings } => Ok((pid, warnings)),
            _ => Err(self.unexpected()),
        }
    }

    /// Starts a created container's program. Returns the time of the start.
    pub async fn start(&self, container: &str) -> Result<u64, ShimError> {
        match self
            .call("start", Call::Start(container.to_owned()), SLOW)
            .await?
            .0
        {
            Answer::Started { started_at_ns } => Ok(started_at_ns),
            _ => Err(self.unexpected()),
        }
    }

    /// Sends a signal to a container's main process, or to `all` of its processes. To one that
    /// has ended already it does nothing.
    pub async fn signal(&self, container: &str, signal: i32, all: bool) -> Result<(), ShimError> {
        let target = Target::Container(container.to_owned());
        self.done(
            "signal",
            Call::Signal {
                target,
                signal,
                all,
            },
            QUICK,
        )
        .await
    }

    pub async fn signal_exec(&self, exec_id: u64, signal: i32) -> Result<(), ShimError> {
        let target = Target::Exec(exec_id);
        self.done(
            "signal",
            Call::Signal {
                target,
                signal,
                all: false,
            },
            QUICK,
        )
        .await
    }

    /// Forgets a container, killing it if it still runs. Deleting an unknown one succeeds.
    pub async fn delete(&self, container: &str) -> Result<(), ShimError> {
        self.done("delete", Call::Delete(container.to_owned()), SLOW)
            .await
    }

    /// Starts a further process in a running container. If this client's connection ends
    /// before the process does, it is killed.
    pub async fn exec(&self, spec: ExecSpec) -> Result<ExecHandle, ShimError> {
        let (stdin, stdout, stderr) = (spec.stdin, spec.stdout, spec.stderr);
        let (answer, fds) = self.call("exec", Call::Exec(spec), SLOW).await?;
        let Answer::Streams { exec_id, pid, tty } = answer else {
            return Err(self.unexpected());
        };
        let mut fds = fds.into_iter();
        if tty {
            let terminal = fds.next();
            return Ok(ExecHandle {
                exec_id,
                pid,
                terminal,
                stdin: None,
                stdout: None,
                stderr: None,
            });
        }
        let mut take = |wanted: bool| if wanted { fds.next() } else { None };
        let (stdin, stdout, stderr) = (take(stdin), take(stdout), take(stderr));
        Ok(ExecHandle {
            exec_id,
            pid,
            terminal: None,
            stdin,
            stdout,
            stderr,
        })
    }

    /// Joins the streams of a container's main process.
    pub async fn attach(&self, spec: AttachSpec) -> Result<Attached, ShimError> {
        let (stdin, stdout, stderr) = (spec.stdin, spec.stdout, spec.stderr);
        let (answer, fds) = self.call("attach", Call::Attach(spec), QUICK).await?;
        let Answer::Streams { tty, .. } = answer else {
            return Err(self.unexpected());
        };
        let mut fds = fds.into_iter();
        let mut take = |wanted: bool| if wanted { fds.next() } else { None };
        // A terminal has one output, and stderr is not among the descriptors.
        Ok(Attached {
            stdin: take(stdin),
            stdout: take(stdout),
            stderr: take(stderr && !tty),
            tty,
        })
    }

    pub async fn update(
        &self,
        container: &str,
        resources: Resources,
    ) -> Result<Warnings, ShimError> {
        let container = container.to_owned();
        self.warned(
            "update",
            Call::Update {
                container,
                resources,
            },
            QUICK,
        )
        .await
    }

    /// Changes the limits of the pod as a whole.
    pub async fn update_pod(&self, resources: Resources) -> Result<Warnings, ShimError> {
        self.warned("update pod", Call::UpdatePod(resources), QUICK)
            .await
    }

    /// Usage of the pod and of each live container.
    pub async fn stats(&self) -> Result<(CgroupStats, Vec<(String, CgroupStats)>), ShimError> {
        match self.call("stats", Call::Stats, QUICK).await?.0 {
            Answer::Stats { pod, containers } => Ok((pod, containers)),
            _ => Err(self.unexpected()),
        }
    }

    /// Kills everything in the pod, removes its cgroup and directory, and ends the shim.
    pub async fn shutdown(&self) -> Result<(), ShimError> {
        self.done("shutdown", Call::Shutdown, SLOW).await?;
        // From here, where none of the pod's mounts can be crossed.
        let (id, dir) = (self.inner.id.clone(), self.inner.dir.clone());
        let removed = tokio::task::spawn_blocking(move || super::launcher::remove_dir(&dir)).await;
        let removed = removed.map_err(io::Error::other).flatten();
        removed.map_err(|source| ShimError::Io {
            shim: id,
            action: "remove its directory",
            source,
        })
    }

    async fn done(&self, name: &'static str, call: Call, limit: Duration) -> Result<(), ShimError> {
        self.call(name, call, limit).await.map(|_| ())
    }

    async fn warned(
        &self,
        name: &'static str,
        call: Call,
        limit: Duration,
    ) -> Result<Warnings, ShimError> {
        match self.call(name, call, limit).await?.0 {
            Answer::Warnings(warnings) => Ok(warnings),
            _ => Err(self.unexpected()),
        }
    }

    fn unexpected(&self) -> ShimError {
        ShimError::Frame(self.inner.id.clone())
    }

    async fn call(
        &self,
        name: &'static str,
        call: Call,
        limit: Duration,
    ) -> Result<(Answer, Vec<OwnedFd>), ShimError> {
        let inner = &self.inner;
        let gone = || ShimError::Gone(inner.id.clone());
        let id = inner.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        locked(&inner.waiting)
            .as_mut()
            .ok_or_else(gone)?
            .insert(id, sender);
        let exchange = async {
            let frame = wire::encode(&Request { id, call });
            let frame = frame.map_err(|source| self.io("encode a request", source))?;
            inner.outgoing.send(frame).await.map_err(|_| gone())?;
            receiver.await.map_err(|_| gone())
        };
        let outcome = tokio::time::timeout(limit, exchange).await;
        if let Some(waiting) = locked(&inner.waiting).as_mut() {
            waiting.remove(&id);
        }
        let (result, fds) = outcome.map_err(|_| timed_out(&inner.id, name, limit))??;
        Ok((result.map_err(ShimError::from)?, fds))
    }

    fn io(&self, action: &'static str, source: io::Error) -> ShimError {
        ShimError::Io {
            shim: self.inner.id.clone(),
            action,
            source,
        }
    }
}

impl From<Fault> for ShimError {
    fn from(fault: Fault) -> Self {
        match fault.cause {
            Cause::Work => Self::Refused(fault.words),
            Cause::Description => Self::Description(fault.words),
            Cause::SubPath => Self::SubPath(fault.words),
        }
    }
}

fn timed_out(shim: &str, request: &'static str, limit: Duration) -> ShimError {
    ShimError::TimedOut {
        shim: shim.to_owned(),
        request,
        limit_ms: limit.as_millis() as u64,
    }
}
