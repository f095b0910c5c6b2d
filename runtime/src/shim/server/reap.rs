//! Processes that ended, and making them end.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::exec::Exec;
use super::{Attempt, Outcome, Shim, now_ns, refuse};
use crate::shim::wire::{Say, Target};
use crate::spec::{ContainerState, Event, ExitStatus};

/// How long a container's other processes may take to end once killed.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(2);
/// Not every end is announced by a child's exit: look again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long a whole pod may take to end once killed.
const POD_LIMIT: Duration = Duration::from_secs(10);

impl Shim {
    /// Reaps every child that has ended.
    pub(super) fn reap(&mut self) -> Outcome<()> {
        // One notice may stand for many exits: the notices are cleared, the exits are counted.
        while let Ok(Some(notice)) = self.signals.read_signal() {
            let asked = notice.ssi_signo == Signal::SIGTERM as u32;
            // A spare that nobody wants any more may just go.
            self.ending |= asked && self.pod.is_none();
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid.as_raw(), code, 0),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.ended(pid.as_raw(), 128 + signal as i32, signal as i32);
                }
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return Ok(()),
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error).attempt(|| "wait for children".to_owned()),
            }
        }
    }

    fn ended(&mut self, pid: i32, code: i32, signal: i32) {
        let mut exit = ExitStatus {
            code,
            signal,
            oom_killed: false,
            finished_at_ns: now_ns(),
        };
        let live = |exec: &Exec| exec.pid == pid && exec.exit.is_none();
        if let Some(position) = self.execs.iter().position(live) {
            let exec = &mut self.execs[position];
            let (exec_id, token) = (exec.id, exec.token);
            let is_known = |c: &super::Container| c.spec.id == exec.container;
            if exec.lasting.is_some() && self.containers.iter().any(is_known) {
                exec.exit = Some(exit.clone());
            } else {
                self.execs.swap_remove(position);
            }
            let event = Event::ExecExited { exec_id, exit };
            if let Some(connection) = self.connections.find(token) {
                connection.say(&Say::Event(event), Vec::new());
            }
            return;
        }
        let live = |c: &super::Container| c.pid == pid && !c.has_exited();
        let Some(position) = self.containers.iter().position(live) else {
            // A child that libcontainer gave up on, or an orphan of an exec.
            return;
        };
        let cgroup_path = self.containers[position].cgroup_path.clone();
        // Where the process namespace is shared, the kernel leaves the others alive. What
        // cannot be killed now keeps the cgroup, which goes with the pod's.
        let _ = self.cgroups.kill(&cgroup_path, LEFTOVER_LIMIT);
        exit.oom_killed = self.cgroups.oom_kills(&cgroup_path) > 0;
        let _ = self.cgroups.remove(&cgroup_path);
        let container = &mut self.containers[position];
        let lost = container.drain(&mut self.buffer);
        self.log_bytes_lost += lost;
        let started_at_ns = match container.state {
            ContainerState::Running { started_at_ns, .. } => started_at_ns,
            ContainerState::Created { .. } | ContainerState::Exited { .. } => 0,
        };
        container.state = ContainerState::Exited {
            started_at_ns,
            exit: exit.clone(),
        };
        let id = container.spec.id.clone();
        self.connections.broadcast(&Event::ContainerExited {
            id,
            started_at_ns,
            exit,
        });
    }

    pub(super) fn signal(&mut self, target: &Target, number: i32, all: bool) -> Outcome<()> {
        let Ok(signal) = Signal::try_from(number) else {
            return refuse(format!("there is no signal {number}"));
        };
        match target {
            Target::Exec(id) => match self.execs.iter().find(|exec| exec.id == *id) {
                Some(exec) => send_signal(&exec.pidfd, number),
                None => Ok(()),
            },
            Target::Container(id) => {
                let cgroups = self.cgroups.clone();
                let container = self.container(id)?;
                if container.has_exited() {
                    return Ok(());
                }
                if all {
                    cgroups.signal(&container.cgroup_path, signal);
                    return Ok(());
                }
                send_signal(&container.pidfd, number)
            }
        }
    }

    /// Ends everything. The directory is left to the caller, who sees none of the mounts.
    pub(super) fn shutdown(&mut self) -> Outcome<()> {
        if let Some(pod) = &self.pod {
            let (path, infra) = (pod.cgroup_path.clone(), pod.infra_pid);
            let ended = self.until(POD_LIMIT, |shim| {
                shim.cgroups.signal(&path, Signal::SIGKILL);
                let infra_gone = infra.is_none_or(|pid| kill(Pid::from_raw(pid), None).is_err());
                infra_gone
                    && shim.containers.iter().all(super::Container::has_exited)
                    && shim.cgroups.pids(&path).is_empty()
            })?;
            if !ended {
                let left = self.cgroups.pids(&path);
                return refuse(format!(
                    "processes of the pod do not end though killed: {left:?}"
                ));
            }
            self.cgroups.remove(&path)?;
        }
        self.ending = true;
        Ok(())
    }

    /// Reaps until `reached`. Waiting for one process alone could last forever: the first process
    /// of a namespace ends only after all others in it were reaped, and some are children here.
    pub(super) fn until(
        &mut self,
        limit: Duration,
        mut reached: impl FnMut(&Self) -> bool,
    ) -> Outcome<bool> {
        let began = Instant::now();
        loop {
            self.reap()?;
            if reached(self) {
                return Ok(true);
            }
            if began.elapsed() > limit {
                return Ok(false);
            }
            super::container::wait_readable(&self.signals, LOOK_AGAIN);
        }
    }
}

/// By descriptor, which never means another process. To one that has ended it does nothing.
pub(super) fn send_signal(pidfd: &OwnedFd, signal: i32) -> Outcome<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a valid descriptor; a null description asks for the default one.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    };
    if sent == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::ESRCH) {
        return Ok(());
    }
    Err(error).attempt(|| format!("send signal {signal}"))
}
