//! Starting shims, finding those of an earlier daemon, and clearing up after dead ones.
//!
//! Each shim has a directory in the run directory, named by its id:
//!
//! | entry       | what |
//! |-------------|------|
//! | `lock`      | locked by the live shim, so that a dead one is told from a busy one |
//! | `sock`      | its socket, mode 0600 |
//! | `cgroup`    | the pod's cgroup path, written before anything is put into it |
//! | `log`       | what it had to say before it died |
//! | `bundles/`, `state/` | libcontainer's configuration and state, by container |

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::ShimError;
use super::client::{ShimClient, ShimEvents};
use crate::cgroup::Cgroups;

pub(super) const LOCK: &str = "lock";
pub(super) const SOCKET: &str = "sock";
pub(super) const CGROUP: &str = "cgroup";
pub(super) const LOG: &str = "log";
/// How long killed processes may take to end before the clearing gives up on them.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Where shims live and how they are started.
#[derive(Debug, Clone)]
pub struct ShimLauncher {
    run_dir: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
    cgroup: Option<String>,
}

/// What a run directory held.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Live shims, connected; spares among them have no pod in their status.
    pub live: Vec<(ShimClient, ShimEvents)>,
    /// Ids of dead shims whose leftovers were removed.
    pub cleaned: Vec<String>,
    /// Shims that are alive but do not answer properly, and dead ones that resist removal.
    pub failed: Vec<(String, ShimError)>,
}

impl ShimLauncher {
    /// Shims below `run_dir`, which should be on a tmpfs: nothing in it outlives a boot. They
    /// run this very program with the argument `shim`, whatever has become of its file.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self {
            run_dir: run_dir.into(),
            program: "/proc/self/exe".into(),
            arguments: vec!["shim".into()],
            cgroup: None,
        }
    }

    /// Another program that calls [`crate::shim_main`].
    pub fn with_program(mut self, program: impl Into<PathBuf>, arguments: Vec<OsString>) -> Self {
        (self.program, self.arguments) = (program.into(), arguments);
        self
    }

    /// A cgroup for the shims themselves, so that ending the daemon's service spares them.
    pub fn with_cgroup(mut self, path: impl Into<String>) -> Self {
        self.cgroup = Some(path.into());
        self
    }

    /// Starts a shim with no pod yet. Its namespaces exist when this returns.
    pub async fn spawn(&self, id: &str) -> Result<(ShimClient, ShimEvents), ShimError> {
        let dir = self.run_dir.join(id);
        let (launcher, owned_id) = (self.clone(), id.to_owned());
        // Forking and waiting block: not on the runtime's own threads.
        let started = tokio::task::spawn_blocking(move || launcher.start(&owned_id)).await;
        let started = started.map_err(io::Error::other).flatten();
        let greeted = match started {
            Ok(socket) => ShimClient::greet(id.to_owned(), dir.clone(), socket).await,
            Err(source) => Err(io_error(id, "start")(source)),
        };
        let Err(error) = greeted else { return greeted };
        let error = match last_words(&dir) {
            Some(words) => ShimError::Refused(format!("shim {id} did not start: {words}")),
            None => error,
        };
        // The first error tells more than one of the clearing up.
        let _ = self.clean(id).await;
        Err(error)
    }

    /// Connects to a live shim.
    pub async fn connect(&self, id: &str) -> Result<(ShimClient, ShimEvents), ShimError> {
        let dir = self.run_dir.join(id);
        let socket = connect(&dir).map_err(io_error(id, "connect"))?;
        ShimClient::greet(id.to_owned(), dir, socket).await
    }

    /// Connects to every live shim and removes what dead ones left.
    pub async fn discover(&self) -> Result<Discovery, ShimError> {
        let mut found = Discovery::default();
        let entries = match fs::read_dir(&self.run_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            other => other.map_err(io_error("*", "list the run directory"))?,
        };
        for entry in entries.flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if holder(&entry.path()).is_some() {
                match self.connect(&id).await {
                    Ok(shim) => found.live.push(shim),
                    Err(error) => found.failed.push((id, error)),
                }
                continue;
            }
            match self.clean(&id).await {
                Ok(()) => found.cleaned.push(id),
                Err(error) => found.failed.push((id, error)),
            }
        }
        Ok(found)
    }

    /// Removes all that a shim holds or left: the shim itself if it still runs, every process
    /// of its pod, the pod's cgroup, its mounts (with the last process) and its directory.
    pub async fn clean(&self, id: &str) -> Result<(), ShimError> {
        let (dir, owned_id) = (self.run_dir.join(id), id.to_owned());
        let cleaned = tokio::task::spawn_blocking(move || clean(&owned_id, &dir)).await;
        cleaned
            .map_err(io::Error::other)
            .map_err(io_error(id, "clean up"))?
    }

    fn start(&self, id: &str) -> io::Result<UnixStream> {
        let dir = self.run_dir.join(id);
        fs::create_dir_all(&self.run_dir)?;
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let dir = fs::canonicalize(dir)?;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(dir.join(LOG))?;
        let (near, far) = UnixStream::pair()?;
        let null = fs::File::options().write(true).open("/dev/null")?;
        let mut arguments = vec![OsStr::new("kabuki")];
        arguments.extend(self.arguments.iter().map(OsString::as_os_str));
        arguments.extend([OsStr::new("--dir"), dir.as_os_str()]);
        if let Some(cgroup) = &self.cgroup {
            arguments.extend([OsStr::new("--cgroup"), OsStr::new(cgroup)]);
        }
        let streams = [far.as_fd(), null.as_fd(), log.as_fd()];
        // The first process ends as soon as it has detached the second, which is the shim.
        let first = execute(&self.program, &arguments, streams)?;
        // Held by nobody else here: a shim that dies early is noticed.
        drop(far);
        let status = loop {
            match waitpid(first, None) {
                Err(Errno::EINTR) => {}
                other => break other?,
            }
        };
        if matches!(status, WaitStatus::Exited(_, 0)) {
            return Ok(near);
        }
        let words = last_words(&dir).unwrap_or_else(|| ending(status));
        Err(io::Error::other(words))
    }
}

fn ending(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exit status {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("ended by {signal}"),
        other => format!("{other:?}"),
    }
}

/// Starts a program with these standard streams and no environment. The daemon's memory is lent to
/// the new process for the moment before its program runs: the copy that a fork makes of it takes
/// longer than all the rest, and slows the daemon down for as long again.
fn execute(program: &Path, arguments: &[&OsStr], streams: [BorrowedFd<'_>; 3]) -> io::Result<Pid> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (number, stream) in (0..).zip(streams) {
        actions.add_dup2(stream.as_raw_fd(), number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    // Rust's own runtime ignores it.
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    attributes.set_sigmask(&SigSet::empty())?;
    let arguments = arguments
        .iter()
        .map(|argument| CString::new(argument.as_bytes()))
        .collect::<Result<Vec<_>, _>>()?;
    let environment: [CString; 0] = [];
    Ok(posix_spawn(
        program,
        &actions,
        &attributes,
        &arguments,
        &environment,
    )?)
}

fn io_error(shim: &str, action: &'static str) -> impl FnOnce(io::Error) -> ShimError {
    let shim = shim.to_owned();
    move |source| ShimError::Io {
        shim,
        action,
        source,
    }
}

fn last_words(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join(LOG)).ok()?;
    Some(text.lines().last()?.to_owned())
}

/// Through the directory's descriptor, since a socket address holds only 107 bytes of path.
fn connect(dir: &Path) -> io::Result<UnixStream> {
    let dir = fs::File::open(dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

/// The live shim's process, by its lock.
fn holder(dir: &Path) -> Option<i32> {
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(dir.join(LOCK))
        .ok()?;
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: a valid descriptor and a lock description that the kernel only writes into.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
    (answer == 0 && lock.l_type != libc::F_UNLCK as i16).then_some(lock.l_pid)
}

/// A lock on all of a file. It belongs to the process: children do not inherit it, as they would
/// the other sort of lock, or an open socket.
pub(super) fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn clean(id: &str, dir: &Path) -> Result<(), ShimError> {
    if let Some(pid) = holder(dir).filter(|pid| *pid > 0) {
        // Gone already is as good.
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        );
        let killed = std::time::Instant::now();
        while holder(dir).is_some() && killed.elapsed() < KILL_LIMIT {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    if let Ok(path) = fs::read_to_string(dir.join(CGROUP)) {
        let cgroups = Cgroups::detect()?;
        cgroups.kill(&path, KILL_LIMIT)?;
        cgroups.remove(&path)?;
    }
    remove_dir(dir).map_err(io_error(id, "remove its directory"))
}

pub(super) fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
