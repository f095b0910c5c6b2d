//! One container as the shim holds it: process, streams, log, state.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::log::LogFile;
use super::output::Output;
use super::{Attempt, Outcome, Shim, now_ns, refuse};
use crate::cgroup::CgroupStats;
use crate::shim::wire::Answer;
use crate::spec::{
    AttachSpec, ContainerSpec, ContainerState, ContainerStatus, Resources, Warnings,
};

/// How long a killed container's process may take to end. It is stuck in the kernel then.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How long a program's execution may take to begin; it waits for the file system only.
const START_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Container {
    pub spec: ContainerSpec,
    pub inner: libcontainer::container::Container,
    pub cgroup_path: String,
    pub state: ContainerState,
    pub created_at_ns: u64,
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Where the process says why it could not execute its program; closed when it could.
    pub start_report: Option<OwnedFd>,
    /// The pipe's write end, or a terminal's master.
    pub stdin: Option<OwnedFd>,
    pub outputs: Vec<Output>,
    pub log: Option<LogFile>,
}

impl Container {
    pub fn status(&self) -> ContainerStatus {
        ContainerStatus {
            id: self.spec.id.clone(),
            name: self.spec.name.clone(),
            created_at_ns: self.created_at_ns,
            state: self.state.clone(),
        }
    }

    pub fn has_exited(&self) -> bool {
        matches!(self.state, ContainerState::Exited { .. })
    }

    /// Reads one output for a turn. Returns the number of log bytes lost.
    pub fn pump(&mut self, stream: usize, buffer: &mut [u8], turns: usize) -> u64 {
        let Some(output) = self.outputs.get_mut(stream) else {
            return 0;
        };
        let pumped = output.pump(self.log.as_mut(), buffer, turns);
        if pumped.ended {
            self.outputs.remove(stream);
        }
        pumped.lost
    }

    /// Takes what is still in the pipes of an exited container and closes them, even if a
    /// process that escaped holds their other end.
    pub fn drain(&mut self, buffer: &mut [u8]) -> u64 {
        // A pipe holds a bounded amount: so many reads empty it.
        const TURNS: usize = 128;
        let mut lost = 0;
        while let Some(mut output) = self.outputs.pop() {
            let pumped = output.pump(self.log.as_mut(), buffer, TURNS);
            lost += pumped.lost;
            if !pumped.ended {
                lost += output.finish(self.log.as_mut());
            }
        }
        (self.stdin, self.log) = (None, None);
        lost
    }
}

impl Shim {
    pub(super) fn container(&mut self, id: &str) -> Outcome<&mut Container> {
        match self
            .containers
            .iter_mut()
            .find(|container| container.spec.id == id)
        {
            Some(container) => Ok(container),
            None => refuse(format!("there is no container {id}")),
        }
    }

    pub(super) fn start(&mut self, id: &str) -> Outcome<u64> {
        let container = self.container(id)?;
        let pid = match container.state {
            ContainerState::Created { pid } => pid,
            ContainerState::Running { started_at_ns, .. } => return Ok(started_at_ns),
            ContainerState::Exited { .. } => return refuse(format!("container {id} has exited")),
        };
        let name = container.spec.name.clone();
        container
            .inner
            .start()
            .attempt(|| format!("start container {name}"))?;
        let started_at_ns = now_ns();
        container.state = ContainerState::Running { pid, started_at_ns };
        if let Some(report) = container.start_report.take() {
            let complaint = read_report(report)?;
            if !complaint.is_empty() {
                return refuse(format!("cannot start container {name}: {complaint}"));
            }
        }
        Ok(started_at_ns)
    }

    /// Kills a container that still runs, and forgets it.
    pub(super) fn delete(&mut self, id: &str) -> Outcome<()> {
        let Some(position) = self.containers.iter().position(|c| c.spec.id == id) else {
            return Ok(());
        };
        if !self.containers[position].has_exited() {
            let container = &self.containers[position];
            let _ = super::reap::send_signal(&container.pidfd, libc::SIGKILL);
            let gone = |shim: &Self| shim.containers[position].has_exited();
            if !self.until(KILL_LIMIT, gone)? {
                return refuse(format!("container {id} does not end though it was killed"));
            }
        }
        let container = self.containers.remove(position);
        self.execs
            .retain(|exec| exec.container != id || exec.exit.is_none());
        self.remove_bundle(&container.spec.id)
    }

    pub(super) fn update(&mut self, id: &str, resources: Resources) -> Outcome<Warnings> {
        let cgroups = self.cgroups.clone();
        let container = self.container(id)?;
        if container.has_exited() {
            return refuse(format!("container {id} has exited"));
        }
        let warnings = cgroups.apply(&container.cgroup_path, &resources)?;
        container.spec.resources = resources;
        Ok(warnings)
    }

    pub(super) fn stats(&self) -> Outcome<Answer> {
        let Some(pod) = &self.pod else {
            return refuse("the shim has no pod yet");
        };
        let live = self
            .containers
            .iter()
            .filter(|container| !container.has_exited());
        let containers: Vec<(String, CgroupStats)> = live
            .map(|c| (c.spec.id.clone(), self.cgroups.stats(&c.cgroup_path)))
            .collect();
        Ok(Answer::Stats {
            pod: self.cgroups.stats(&pod.cgroup_path),
            containers,
        })
    }

    pub(super) fn attach(&mut self, spec: &AttachSpec) -> Outcome<(Answer, Vec<OwnedFd>)> {
        let container = self.container(&spec.container)?;
        if container.has_exited() {
            return refuse(format!("container {} has exited", spec.container));
        }
        let mut fds = Vec::new();
        if spec.stdin {
            let once = container.spec.stdin_once && !container.spec.tty;
            // Who is handed the last write end decides when the container sees the end.
            let end = if once {
                container.stdin.take()
            } else {
                clone(&container.stdin)?
            };
            match end {
                Some(end) => fds.push(end),
                None => return refuse(format!("container {} has no open stdin", spec.container)),
            }
        }
        for (name, wanted) in [("stdout", spec.stdout), ("stderr", spec.stderr)] {
            if !wanted || (name == "stderr" && container.spec.tty) {
                continue;
            }
            match container
                .outputs
                .iter_mut()
                .find(|output| output.name() == name)
            {
                Some(output) => fds.push(output.tap()?),
                // Closed by the program already: a pipe that ends at once.
                None => fds.push(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?.0),
            }
        }
        let (pid, tty) = (container.pid, container.spec.tty);
        Ok((
            Answer::Streams {
                exec_id: 0,
                pid,
                tty,
            },
            fds,
        ))
    }
}

fn clone(fd: &Option<OwnedFd>) -> Outcome<Option<OwnedFd>> {
    Ok(fd.as_ref().map(OwnedFd::try_clone).transpose()?)
}

pub(super) fn wait_readable(fd: &impl AsFd, limit: Duration) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
    matches!(poll(&mut fds, timeout), Ok(1))
}

/// The end of the pipe without a word means that the program runs.
fn read_report(report: OwnedFd) -> Outcome<String> {
    use std::io::Read;
    if !wait_readable(&report, START_LIMIT) {
        return refuse("the program's execution does not begin");
    }
    let mut text = String::new();
    std::fs::File::from(report).read_to_string(&mut text)?;
    Ok(text)
}
