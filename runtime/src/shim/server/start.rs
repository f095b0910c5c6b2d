//! From a freshly executed program to a detached shim with its own namespaces.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, dup2_stdin, fork, setgroups, setsid};

use super::connection::Connections;
use super::{Attempt, Outcome, READ_BUFFER, Shim, refuse};
use crate::cgroup::Cgroups;
use crate::shim::launcher::{LOCK, SOCKET, whole_file};

/// Spare the shim when memory runs out, almost as much as the kernel allows; its containers get
/// scores of their own.
const OWN_OOM_SCORE: &str = "-998";

pub(super) struct Options {
    dir: PathBuf,
    cgroup: Option<String>,
}

pub(super) enum Side {
    Caller,
    Shim(Box<Shim>),
}

/// The namespaces that the shim was started in.
pub(super) struct Origin {
    pub net: File,
    pub uts: File,
    pub ipc: File,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = OsString>) -> Outcome<Self> {
        let (mut dir, mut cgroup) = (None, None);
        while let Some(name) = arguments.next() {
            let value = arguments.next();
            match (name.to_str(), value) {
                (Some("--dir"), Some(value)) => dir = Some(PathBuf::from(value)),
                (Some("--cgroup"), Some(value)) => cgroup = value.into_string().ok(),
                _ => return refuse(format!("unknown shim argument {}", name.display())),
            }
        }
        match dir {
            Some(dir) => Ok(Self { dir, cgroup }),
            None => refuse("the shim needs --dir"),
        }
    }
}

/// Splits off the shim. The caller's side returns at once, so that the daemon has no child.
pub(super) fn detach(options: &Options) -> Outcome<Side> {
    // SAFETY: by contract of the entry point, no other thread exists.
    match unsafe { fork() }.attempt(|| "detach".to_owned())? {
        ForkResult::Parent { .. } => Ok(Side::Caller),
        ForkResult::Child => become_shim(options).map(Box::new).map(Side::Shim),
    }
}

fn become_shim(options: &Options) -> Outcome<Shim> {
    setsid().attempt(|| "start a session".to_owned())?;
    umask(Mode::from_bits_truncate(0o022));
    std::env::set_current_dir("/").attempt(|| "leave the daemon's directory".to_owned())?;
    // Containers would inherit the daemon's groups.
    setgroups(&[]).attempt(|| "drop supplementary groups".to_owned())?;
    prctl::set_child_subreaper(true).attempt(|| "become a subreaper".to_owned())?;
    prctl::set_name(c"kabuki-shim").attempt(|| "set the process name".to_owned())?;
    // Fails without CAP_SYS_RESOURCE, which then costs this protection and nothing else.
    let _ = fs::write("/proc/self/oom_score_adj", OWN_OOM_SCORE);
    // Should anything fail, it closes with the process: whoever waits at its other end then reads
    // the reason, which must have been written by that time.
    let first = ManuallyDrop::new(take_first_connection()?);
    let cgroups = Cgroups::detect()?;
    libcgroups::common::prepare()?;
    if let Some(path) = &options.cgroup {
        cgroups.create_leaf(path)?;
        cgroups.join(path)?;
    }
    lock(&options.dir)?;
    let origin = separate()?;
    let listener = listen(&options.dir)?;
    let signals = signals()?;
    let mut connections = Connections::default();
    connections.add(ManuallyDrop::into_inner(first));
    Ok(Shim {
        dir: options.dir.clone(),
        listener,
        signals,
        connections,
        cgroups,
        origin: Some(origin),
        pod: None,
        containers: Vec::new(),
        execs: Vec::new(),
        next_exec: 1,
        agent_state: Vec::new(),
        log_bytes_lost: 0,
        buffer: vec![0; READ_BUFFER].into_boxed_slice(),
        ending: false,
    })
}

/// The daemon's end of a socket pair is standard input; a container must not find it there.
fn take_first_connection() -> Outcome<UnixStream> {
    // SAFETY: descriptor 0 is duplicated, and the new number belongs to nobody else.
    let copy = unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error()).attempt(|| "take the first connection".to_owned());
    }
    // SAFETY: the descriptor was made just above.
    let stream = UnixStream::from(unsafe { OwnedFd::from_raw_fd(copy) });
    let null = File::open("/dev/null").attempt(|| "open /dev/null".to_owned())?;
    dup2_stdin(&null).attempt(|| "clear standard input".to_owned())?;
    Ok(stream)
}

/// Held until the process ends, however that comes about.
fn lock(dir: &Path) -> Outcome<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(LOCK));
    let file = file.attempt(|| "create the lock file".to_owned())?;
    let request = whole_file(libc::F_WRLCK);
    // SAFETY: a valid descriptor and a lock description that is only read.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const request) } != 0 {
        return Err(io::Error::last_os_error()).attempt(|| "lock its directory".to_owned());
    }
    // Closing any descriptor of the file would release the lock.
    std::mem::forget(file);
    Ok(())
}

/// Own mounts, network, host name and IPC. A pod that shares the host's goes back for them.
fn separate() -> Outcome<Origin> {
    let open = |name: &str| {
        File::open(format!("/proc/self/ns/{name}")).attempt(|| format!("open the {name} namespace"))
    };
    let origin = Origin {
        net: open("net")?,
        uts: open("uts")?,
        ipc: open("ipc")?,
    };
    let fresh = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(fresh).attempt(|| "make namespaces".to_owned())?;
    // The host's later mounts arrive here; none of the pod's ever leave.
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, slave, None::<&str>)
        .attempt(|| "seclude its mounts".to_owned())?;
    Ok(origin)
}

fn listen(dir: &Path) -> Outcome<UnixListener> {
    let dir = File::open(dir).attempt(|| "open its directory".to_owned())?;
    // Through the descriptor, since a socket address holds only 107 bytes of path.
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixListener::bind(&path);
    umask(before);
    let listener = bound.attempt(|| "listen on its socket".to_owned())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Exits of children as something to poll. Asking to terminate is not answered: a pod does not
/// end because somebody signals everything.
fn signals() -> Outcome<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ] {
        set.add(signal);
    }
    set.thread_block().attempt(|| "block signals".to_owned())?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&set, flags).attempt(|| "receive signals".to_owned())
}
