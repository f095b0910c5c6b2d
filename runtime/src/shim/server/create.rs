//! Making a container, up to the moment before its program runs.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::unistd::{Gid, Uid, fchown, pipe2};

use super::confined::Confined;
use super::console::Console;
use super::container::Container;
use super::log::LogFile;
use super::mounts;
use super::output::Output;
use super::users::Users;
use super::{Attempt, Outcome, Refusal, Shim, now_ns, refuse};
use crate::oci::{self, Surroundings};
use crate::shim::mounter;
use crate::shim::wire::Cause;
use crate::spec::{ContainerSpec, ContainerState, PidMode, Warnings};

/// The ends of a container's standard streams: its own, and the shim's.
#[derive(Default)]
struct Streams {
    theirs: Option<[OwnedFd; 3]>,
    stdin: Option<OwnedFd>,
    outputs: Vec<Output>,
}

impl Shim {
    pub(super) fn create(&mut self, spec: ContainerSpec) -> Outcome<(i32, Warnings)> {
        if let Some(known) = self.containers.iter().find(|c| c.spec.id == spec.id) {
            if known.spec == spec && !known.has_exited() {
                // Asked again by a daemon that did not hear the reply.
                return Ok((known.pid, Vec::new()));
            }
            return refuse(format!("container {} exists already", spec.id));
        }
        let Some(pod) = &self.pod else {
            return refuse("the shim has no pod yet");
        };
        let cgroup_path = format!("{}/{}", pod.cgroup_path, spec.id);
        let made = self.create_at(&spec, &cgroup_path);
        if made.is_err() {
            // The first error is the one to tell.
            let _ = self
                .cgroups
                .kill(&cgroup_path, std::time::Duration::from_secs(1));
            let _ = self.cgroups.remove(&cgroup_path);
            let _ = self.remove_bundle(&spec.id);
        }
        let (container, warnings) = made?;
        let pid = container.pid;
        self.containers.push(container);
        Ok((pid, warnings))
    }

    fn create_at(&self, spec: &ContainerSpec, cgroup_path: &str) -> Outcome<(Container, Warnings)> {
        let bundle = self.dir.join("bundles").join(&spec.id);
        let state = self.dir.join("state");
        let not_theirs = open_descriptors()?;
        let mut warnings = self.write_bundle(spec, cgroup_path, &bundle)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&state)?;
        let log = spec.log.clone().map(LogFile::open).transpose();
        let log = log.attempt(|| format!("open the log of container {}", spec.name))?;
        let (start_report, reporter) = pipe2(OFlag::O_CLOEXEC)?;
        let mut builder = ContainerBuilder::new(spec.id.clone(), SyscallType::Linux)
            .with_executor(Confined::first(reporter.as_raw_fd(), not_theirs))
            .with_root_path(&state)?;
        let mut streams = Streams::default();
        let console = if spec.tty {
            Some(Console::listen(&bundle)?)
        } else {
            None
        };
        if let Some(console) = &console {
            builder = builder.with_console_socket(Some(console.path()));
        } else {
            streams = pipes(spec.uid, spec.gid, spec.stdin, self.users())?;
        }
        if let Some([stdin, stdout, stderr]) = streams.theirs.take() {
            builder = builder
                .with_stdin(stdin)
                .with_stdout(stdout)
                .with_stderr(stderr);
        }
        let builder = builder.as_init(&bundle).with_systemd(false);
        let inner = with_oom_score(spec.oom_score_adj, &mut warnings, || builder.build())
            .attempt(|| format!("create container {}", spec.name))
            .map_err(|refusal| mounts::explained(&bundle, refusal))
            .map_err(|refusal| plainly(&spec.name, refusal))?;
        drop(reporter);
        if let Some(console) = console {
            let master = console.receive()?;
            streams
                .outputs
                .push(Output::new(master.try_clone()?, "stdout")?);
            streams.stdin = Some(master);
        }
        let Some(pid) = inner.pid().map(|pid| pid.as_raw()) else {
            return refuse(format!(
                "container {} was made without a process",
                spec.name
            ));
        };
        let pidfd = open_pidfd(pid)?;
        warnings.extend(self.cgroups.apply(cgroup_path, &spec.resources)?);
        self.cgroups
            .restrict_devices(cgroup_path, &oci::device_rules(spec)?)?;
        let container = Container {
            spec: spec.clone(),
            inner,
            cgroup_path: cgroup_path.to_owned(),
            state: ContainerState::Created { pid },
            created_at_ns: now_ns(),
            pid,
            pidfd,
            start_report: Some(start_report),
            stdin: streams.stdin,
            outputs: streams.outputs,
            log,
        };
        Ok((container, warnings))
    }

    fn write_bundle(
        &self,
        spec: &ContainerSpec,
        cgroup_path: &str,
        bundle: &Path,
    ) -> Outcome<Warnings> {
        let Some(pod) = &self.pod else {
            return refuse("the shim has no pod yet");
        };
        fs::create_dir_all(bundle)?;
        let users = self.users();
        let mut rootfs = self.rootfs(spec, bundle, users)?;
        let by_hand = mounter::is_needed();
        // With users of the pod's own, what is mounted has to be theirs.
        let ahead = !by_hand && users.is_none();
        if by_hand || ahead {
            rootfs = mounts::root_in(bundle, rootfs)?;
        }
        let (pid, infra_pid) = match &spec.pid_of {
            Some(other) if pod.spec.pid == PidMode::Container => {
                let pid = self.running_pid(other);
                let pid = pid.map_err(|refusal| refusal.caused_by(Cause::Description));
                (PidMode::Pod, Some(pid?))
            }
            _ => (pod.spec.pid, pod.infra_pid),
        };
        let around = Surroundings {
            rootfs: &rootfs,
            cgroup_path,
            pid,
            processes: infra_pid
                .map(|pid| processes(pid, bundle, users))
                .transpose()?,
            shm: &pod.shm,
            binds: self.binds(spec, bundle, users)?,
            cgroup_v2: self.cgroups.is_v2(),
            cgroup_view: self.cgroup_view(cgroup_path, bundle, spec.privileged)?,
            users: users.map(|users| users.path.as_str()),
        };
        let (mut configuration, warnings) = oci::build(spec, &around)
            .map_err(|error| Refusal::from(error).caused_by(Cause::Description))?;
        if ahead {
            mounts::make_ahead(&mut configuration, &rootfs)?;
        }
        if by_hand {
            mounts::take(&mut configuration, &rootfs, bundle)?;
        }
        // It holds the container's environment.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(bundle.join("config.json"))?;
        serde_json::to_writer(io::BufWriter::new(file), &configuration)?;
        Ok(warnings)
    }

    pub(super) fn users(&self) -> Option<&Users> {
        self.pod.as_ref()?.users.as_ref()
    }

    fn running_pid(&self, id: &str) -> Outcome<i32> {
        match self.containers.iter().find(|c| c.spec.id == id) {
            Some(Container {
                state: ContainerState::Running { pid, .. },
                ..
            }) => Ok(*pid),
            _ => refuse(format!("container {id} is not running")),
        }
    }

    /// Unmounts and removes what a container has in the shim's directory.
    pub(super) fn remove_bundle(&self, id: &str) -> Outcome<()> {
        let bundle = self.dir.join("bundles").join(id);
        let mut gone: Vec<String> = Vec::new();
        for path in mounts_below(&bundle)? {
            // Some went with what they were mounted below.
            if gone.iter().any(|gone| Path::new(&path).starts_with(gone)) {
                continue;
            }
            super::pod::unmount(&path)?;
            gone.push(path);
        }
        for dir in [bundle, self.dir.join("state").join(id)] {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.attempt(|| format!("remove {dir:?}"))?,
            }
        }
        Ok(())
    }
}

/// Everything open beyond the standard streams.
fn open_descriptors() -> Outcome<Vec<RawFd>> {
    let entries = fs::read_dir("/proc/self/fd")?.flatten();
    let numbers: Vec<RawFd> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // The listing's own descriptor is closed by now, and its number free for another one.
    // SAFETY: asking for a number's flags changes nothing, whether it is open or not.
    let open = |fd: &RawFd| *fd > 2 && unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0;
    Ok(numbers.into_iter().filter(open).collect())
}

/// Mount points in a directory, outer ones first.
fn mounts_below(dir: &Path) -> Outcome<Vec<String>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points
        .filter(|point| Path::new(point).starts_with(dir))
        .map(str::to_owned)
        .collect())
}

fn pipes(uid: u32, gid: u32, stdin: bool, users: Option<&Users>) -> Outcome<Streams> {
    let (uid, gid) = owner(users, uid, gid)?;
    let pipe = || -> Outcome<(OwnedFd, OwnedFd)> {
        let ends = pipe2(OFlag::O_CLOEXEC)?;
        // So that the container's user may open it again through /dev/stdout.
        fchown(&ends.0, Some(uid), Some(gid))?;
        Ok(ends)
    };
    let (their_stdin, stdin) = if stdin {
        let (read, write) = pipe()?;
        (read, Some(write))
    } else {
        (OwnedFd::from(File::open("/dev/null")?), None)
    };
    let ((stdout, their_stdout), (stderr, their_stderr)) = (pipe()?, pipe()?);
    let outputs = vec![
        Output::new(stdout, "stdout")?,
        Output::new(stderr, "stderr")?,
    ];
    Ok(Streams {
        theirs: Some([their_stdin, their_stdout, their_stderr]),
        stdin,
        outputs,
    })
}

/// Where a process namespace is found by whoever joins it: the pod's own root may not look at
/// processes that were not its own from the beginning.
fn processes(pid: i32, bundle: &Path, users: Option<&Users>) -> Outcome<String> {
    let found = format!("/proc/{pid}/ns/pid");
    if users.is_none() {
        return Ok(found);
    }
    let place = bundle.join("processes");
    File::create(&place)?;
    let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some(found.as_str()), &place, none, bind, none)
        .attempt(|| format!("keep the process namespace of {pid}"))?;
    Ok(place.display().to_string())
}

/// Who a container's user is to the host.
pub(super) fn owner(users: Option<&Users>, uid: u32, gid: u32) -> Outcome<(Uid, Gid)> {
    let (uid, gid) = match users {
        Some(users) => (users.outside(uid)?, users.outside(gid)?),
        None => (uid, gid),
    };
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

pub(super) fn open_pidfd(pid: i32) -> Outcome<OwnedFd> {
    // SAFETY: plain numbers; the result is checked below.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).attempt(|| format!("watch process {pid}"));
    }
    // SAFETY: the kernel has just made this descriptor, closed on execution.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Children inherit the score at their birth. Lowering it takes a capability that not every
/// host leaves to its services: the score stays as low as it can be there.
pub(super) fn with_oom_score<T>(
    score: i32,
    warnings: &mut Warnings,
    make: impl FnOnce() -> T,
) -> T {
    const FILE: &str = "/proc/self/oom_score_adj";
    let own = fs::read_to_string(FILE).unwrap_or_default();
    if fs::write(FILE, score.to_string()).is_err() {
        warnings.push(format!(
            "the host does not permit oomScoreAdj {score}: it stays {}",
            own.trim()
        ));
    }
    let made = make();
    // Creation makes the process undumpable, which would hide its namespaces and this file.
    let _ = nix::sys::prctl::set_dumpable(true);
    // Back to the value of before is always permitted.
    let _ = fs::write(FILE, own.trim());
    made
}

/// A program that cannot run is told of without the ways that its error took in libcontainer.
fn plainly(container: &str, refusal: Refusal) -> Refusal {
    refusal.reworded(
        |held| match held.split_once("error in executing process : ") {
            Some((_, why)) => format!("cannot run container {container}: {why}"),
            None => held.to_owned(),
        },
    )
}
