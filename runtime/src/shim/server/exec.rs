//! Further processes in a running container.
//!
//! Their streams go straight to the client that asked; the shim keeps nothing but the process,
//! whose exit it reports to that client, and which it kills when that client is gone.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, fchown, pipe2};
use oci_spec::runtime::{Process, ProcessBuilder};

use super::confined::{Confined, Confinement};
use super::console::Console;
use super::create::{open_pidfd, with_oom_score};
use super::reap::send_signal;
use super::{Attempt, Outcome, Shim, refuse};
use crate::oci::{self, Held, linux_capabilities};
use crate::shim::wire::Answer;
use crate::spec::{ContainerSpec, ContainerState, ExecSpec};

pub(super) struct Exec {
    pub id: u64,
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// The connection that asked.
    pub token: u64,
}

impl Shim {
    pub(super) fn exec(&mut self, token: u64, spec: &ExecSpec) -> Outcome<(Answer, Vec<OwnedFd>)> {
        let id = self.next_exec;
        self.next_exec += 1;
        let (state, bundle) = (
            self.dir.join("state"),
            self.dir.join("bundles").join(&spec.container),
        );
        let container = self.container(&spec.container)?;
        if !matches!(container.state, ContainerState::Running { .. }) {
            return refuse(format!("container {} is not running", spec.container));
        }
        let host = &container.spec;
        let held = Held::of_container(host, &mut Vec::new());
        let confinement = Confinement {
            filter: oci::seccomp_filter(host, &held)?,
            capabilities: linux_capabilities(&held)?,
        };
        let file = bundle.join(format!("exec-{id}.json"));
        serde_json::to_writer(File::create(&file)?, &process(host, spec)?)?;
        let mut builder = ContainerBuilder::new(spec.container.clone(), SyscallType::Linux)
            .with_executor(Confined::further(
                confinement,
                spec.size.filter(|_| spec.tty),
            ))
            .with_root_path(&state)?;
        let console = if spec.tty {
            Some(Console::listen(&bundle)?)
        } else {
            None
        };
        let mut ours = Vec::new();
        if let Some(console) = &console {
            builder = builder.with_console_socket(Some(console.path()));
        } else {
            let [stdin, stdout, stderr] = streams(host, spec, &mut ours)?;
            builder = builder
                .with_stdin(stdin)
                .with_stdout(stdout)
                .with_stderr(stderr);
        }
        let tenant = builder
            .as_tenant()
            .with_detach(true)
            .with_process(Some(&file));
        let built = with_oom_score(host.oom_score_adj, &mut Vec::new(), || tenant.build());
        let _ = fs::remove_file(&file);
        let pid = built
            .attempt(|| format!("exec in container {}", spec.container))?
            .as_raw();
        if let Some(console) = console {
            ours.push(console.receive()?);
        }
        self.execs.push(Exec {
            id,
            pid,
            pidfd: open_pidfd(pid)?,
            token,
        });
        Ok((
            Answer::Streams {
                exec_id: id,
                pid,
                tty: spec.tty,
            },
            ours,
        ))
    }

    /// A client that is gone reads no output and hears of no exit.
    pub(super) fn kill_execs_of(&mut self, token: u64) {
        for exec in self.execs.iter().filter(|exec| exec.token == token) {
            // Exited but not reaped yet is fine.
            let _ = send_signal(&exec.pidfd, libc::SIGKILL);
        }
    }
}

fn process(host: &ContainerSpec, spec: &ExecSpec) -> Outcome<Process> {
    if spec.args.first().is_none_or(String::is_empty) {
        return refuse("the command to execute is empty");
    }
    let mut env = oci::with_path(&host.env);
    env.extend(spec.env.iter().cloned());
    let user = match &spec.user {
        Some(user) => oci::user(user.uid, user.gid, &user.supplemental_gids, host.umask)?,
        None => oci::user(host.uid, host.gid, &host.supplemental_gids, host.umask)?,
    };
    let mut process = ProcessBuilder::default()
        .args(spec.args.clone())
        .env(env)
        .cwd(spec.cwd.as_ref().unwrap_or(&host.cwd))
        .terminal(spec.tty)
        .user(user)
        .build()?;
    process.set_no_new_privileges(host.no_new_privs.then_some(true));
    // Kept until the filter is in place; see `Confinement`.
    process.set_capabilities(None);
    process.set_oom_score_adj(None);
    process.set_rlimits(None);
    Ok(process)
}

/// The process' three streams; the ends of those that were asked for go to `ours`.
fn streams(
    host: &ContainerSpec,
    spec: &ExecSpec,
    ours: &mut Vec<OwnedFd>,
) -> Outcome<[OwnedFd; 3]> {
    let (uid, gid) = match &spec.user {
        Some(user) => (user.uid, user.gid),
        None => (host.uid, host.gid),
    };
    let mut stream = |wanted: bool, input: bool| -> Outcome<OwnedFd> {
        if !wanted {
            return Ok(File::options()
                .read(input)
                .write(!input)
                .open("/dev/null")?
                .into());
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fchown(&read, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        let (their, our) = if input { (read, write) } else { (write, read) };
        ours.push(our);
        Ok(their)
    };
    Ok([
        stream(spec.stdin, true)?,
        stream(spec.stdout, false)?,
        stream(spec.stderr, false)?,
    ])
}
