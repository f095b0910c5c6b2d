//! Becoming the shim of one pod: namespaces, cgroup, kernel parameters, pod-wide mounts.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::sethostname;

use super::start::Origin;
use super::users::{self, Users};
use super::{Attempt, Outcome, Shim, refuse};
use crate::shim::launcher::CGROUP;
use crate::spec::{IpcMode, NetMode, PidMode, PodMount, PodSpec, Resources, Warnings};

/// `/dev/shm` of a pod that does not say otherwise, as in most container runtimes.
const SHM_SIZE: u64 = 64 << 20;
/// The cgroup of the pod's own process 1; on v2 a cgroup with children holds no process itself.
const INFRA_CGROUP: &str = "infra";

pub(super) struct Pod {
    pub spec: PodSpec,
    pub cgroup_path: String,
    /// Process 1 of the shared process namespace.
    pub infra_pid: Option<i32>,
    /// The pod's `/dev/shm` in the shim's mount namespace.
    pub shm: String,
    /// Users of its own.
    pub users: Option<Users>,
}

impl Shim {
    pub(super) fn setup(&mut self, spec: PodSpec) -> Outcome<Warnings> {
        if let Some(pod) = &self.pod {
            if pod.spec == spec {
                return Ok(Vec::new());
            }
            return refuse(format!("the shim has pod {} already", pod.spec.uid));
        }
        check(&spec)?;
        let Some(origin) = self.origin.take() else {
            return refuse("an earlier setup of this shim failed");
        };
        let cgroup_path = spec.cgroup_path();
        // Known to whoever clears up before there is anything to clear.
        fs::write(self.dir.join(CGROUP), &cgroup_path)
            .attempt(|| "note the pod's cgroup".to_owned())?;
        self.cgroups.create(&cgroup_path)?;
        let warnings = self.cgroups.apply(&cgroup_path, &spec.resources)?;
        let (users, mut infra_pid) = match spec.users {
            None => (None, None),
            Some(range) => {
                users::let_pass(&self.dir)?;
                let shared = (spec.pid == PidMode::Pod).then_some(infra as fn() -> !);
                let (users, first) = users::enter(range, &self.dir, shared)?;
                (Some(users), first)
            }
        };
        enter_namespaces(&spec, &origin)?;
        for (name, value) in &spec.sysctls {
            let file = format!("/proc/sys/{}", name.replace('.', "/"));
            fs::write(&file, value).attempt(|| format!("set {name}"))?;
        }
        let shm = self.shm(&spec)?;
        if let Some(users) = &users {
            users::give_root(users, &shm)?;
        }
        for mount in &spec.mounts {
            mount_tmpfs(mount)?;
        }
        if spec.pid == PidMode::Pod {
            let pid = match infra_pid {
                Some(pid) => pid,
                None => start_infra()?,
            };
            self.place_infra(&cgroup_path, pid)?;
            infra_pid = Some(pid);
        }
        self.pod = Some(Pod {
            spec,
            cgroup_path,
            infra_pid,
            shm,
            users,
        });
        Ok(warnings)
    }

    pub(super) fn update_pod(&mut self, resources: Resources) -> Outcome<Warnings> {
        let Some(pod) = &mut self.pod else {
            return refuse("the shim has no pod yet");
        };
        let warnings = self.cgroups.apply(&pod.cgroup_path, &resources)?;
        pod.spec.resources = resources;
        Ok(warnings)
    }

    fn shm(&self, spec: &PodSpec) -> Outcome<String> {
        if spec.ipc == IpcMode::Host {
            return Ok("/dev/shm".to_owned());
        }
        let path = self.dir.join("shm").display().to_string();
        let size = if spec.shm_size == 0 {
            SHM_SIZE
        } else {
            spec.shm_size
        };
        mount_tmpfs(&PodMount {
            path: path.clone(),
            size,
            mode: 0o1777,
            uid: 0,
            gid: 0,
            page_size: 0,
        })?;
        Ok(path)
    }

    fn place_infra(&self, cgroup_path: &str, pid: i32) -> Outcome<()> {
        let path = format!("{cgroup_path}/{INFRA_CGROUP}");
        self.cgroups.create_leaf(&path)?;
        self.cgroups.add(&path, pid)?;
        Ok(())
    }
}

/// Process 1 of a namespace that containers join. It only reaps, and the kernel kills the whole
/// namespace with it.
fn start_infra() -> Outcome<i32> {
    let flags = libc::CLONE_NEWPID | libc::SIGCHLD;
    // SAFETY: without CLONE_VM this is a fork, in a process that has a single thread; the
    // zeroes are absent stack and id pointers, whatever their order on the architecture.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } as i32;
    match pid {
        0 => infra(),
        pid if pid > 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()).attempt(|| "start the pod's process 1".to_owned()),
    }
}

fn check(spec: &PodSpec) -> Outcome<()> {
    let sound = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if spec.uid.is_empty() || !spec.uid.chars().all(sound) {
        return refuse(format!("the pod's uid is not valid: {:?}", spec.uid));
    }
    let of_host =
        spec.net == NetMode::Host || spec.pid == PidMode::Host || spec.ipc == IpcMode::Host;
    if spec.users.is_some() && of_host {
        return refuse("a pod with users of its own cannot share the host's namespaces");
    }
    for (name, _) in &spec.sysctls {
        let net = name.starts_with("net.");
        let ipc = ["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
        let ipc = ipc.iter().any(|prefix| name.starts_with(prefix));
        let own = (net && spec.net == NetMode::New) || (ipc && spec.ipc == IpcMode::Pod);
        if !own || name.contains('/') || name.contains("..") {
            return refuse(format!("sysctl {name} is not the pod's own to set"));
        }
    }
    Ok(())
}

fn enter_namespaces(spec: &PodSpec, origin: &Origin) -> Outcome<()> {
    match spec.net {
        NetMode::Host => {
            setns(&origin.net, CloneFlags::CLONE_NEWNET)
                .attempt(|| "return to the host's network".to_owned())?;
            setns(&origin.uts, CloneFlags::CLONE_NEWUTS)
                .attempt(|| "return to the host's name".to_owned())?;
        }
        NetMode::New => {
            sethostname(&spec.hostname).attempt(|| format!("set host name {:?}", spec.hostname))?;
            loopback_up().attempt(|| "bring the loopback interface up".to_owned())?;
        }
    }
    if spec.ipc == IpcMode::Host {
        setns(&origin.ipc, CloneFlags::CLONE_NEWIPC)
            .attempt(|| "return to the host's IPC".to_owned())?;
    }
    Ok(())
}

fn loopback_up() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero interface request is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: a valid socket and a request that outlives the call.
    let set = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    if set == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(super) fn mount_tmpfs(wanted: &PodMount) -> Outcome<()> {
    let path = Path::new(&wanted.path);
    if !path.is_absolute() {
        return refuse(format!("mount path {:?} is not absolute", wanted.path));
    }
    fs::create_dir_all(path).attempt(|| format!("create {:?}", wanted.path))?;
    let mut data = format!("mode={:o}", wanted.mode);
    if wanted.size > 0 {
        data.push_str(&format!(",size={}", wanted.size));
    }
    let mut kind = "tmpfs";
    if wanted.page_size > 0 {
        kind = "hugetlbfs";
        data.push_str(&format!(",pagesize={}", wanted.page_size));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some(kind), path, Some(kind), flags, Some(data.as_str()))
        .attempt(|| format!("mount a {kind} on {:?}", wanted.path))?;
    chown(path, Some(wanted.uid), Some(wanted.gid))?;
    // Changing the owner may clear mode bits.
    fs::set_permissions(path, fs::Permissions::from_mode(wanted.mode))?;
    Ok(())
}

pub(super) fn unmount(path: &str) -> Outcome<()> {
    umount2(path, MntFlags::MNT_DETACH).attempt(|| format!("unmount {path:?}"))
}

/// The life of the pod's process 1.
fn infra() -> ! {
    // SAFETY: the descriptors are the shim's copies, none of which is used here any more.
    unsafe { libc::close_range(0, u32::MAX, 0) };
    let _ = nix::sys::prctl::set_name(c"kabuki-infra");
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    loop {
        // SIGCHLD is blocked since the shim's start, so none is lost between the two calls.
        let _ = children.wait();
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
    }
}
