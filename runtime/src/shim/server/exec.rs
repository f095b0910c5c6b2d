//! Further processes in a running container.
//!
//! Their streams go straight to the client that asked; the shim keeps nothing but the process,
//! whose exit it reports to that client, and which it kills when that client is gone.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, fchown, pipe2};
use oci_spec::runtime::{Process, ProcessBuilder};

use super::confined::{Confined, Confinement, Insider};
use super::console::Console;
use super::create::{open_pidfd, owner, with_oom_score};
use super::reap::send_signal;
use super::users::Users;
use super::{Attempt, Outcome, Shim, refuse};
use crate::oci::{self, Held, linux_capabilities};
use crate::shim::wire::{Answer, Say};
use crate::spec::{ContainerSpec, ContainerState, Event, ExecSpec, ExecUser, ExitStatus};

/// A further process of a container.
pub(super) struct Exec {
    pub id: u64,
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// The connection that asked.
    pub token: u64,
    pub container: String,
    /// The name of one that lasts.
    pub lasting: Option<String>,
    /// Of one that lasts: until its container is forgotten.
    pub exit: Option<ExitStatus>,
}

impl Shim {
    pub(super) fn exec(&mut self, token: u64, spec: &ExecSpec) -> Outcome<(Answer, Vec<OwnedFd>)> {
        if let Some(found) = self.join_lasting(token, spec) {
            return Ok((found, Vec::new()));
        }
        let id = self.next_exec;
        self.next_exec += 1;
        let (state, bundle) = (
            self.dir.join("state"),
            self.dir.join("bundles").join(&spec.container),
        );
        let users = self.users();
        let host = self.running(&spec.container)?;
        let user = user(host, spec);
        let confinement = confinement(host, &user, users)?;
        let file = bundle.join(format!("exec-{id}.json"));
        // libcontainer leaves the root that it would have to be.
        let outer = match users {
            Some(_) => ExecUser::default(),
            None => user.clone(),
        };
        write(&file, &process(host, spec, &outer)?)?;
        let mut builder = ContainerBuilder::new(spec.container.clone(), SyscallType::Linux)
            .with_executor(Confined::further(
                confinement,
                spec.size.filter(|_| spec.tty),
            ))
            .with_root_path(&state)?;
        let console = spec.tty.then(|| Console::listen(&bundle)).transpose()?;
        let mut ours = Vec::new();
        if let Some(console) = &console {
            builder = builder.with_console_socket(Some(console.path()));
        } else {
            let [stdin, stdout, stderr] =
                streams(owner(users, user.uid, user.gid)?, spec, &mut ours)?;
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
            container: spec.container.clone(),
            lasting: spec.lasting.clone(),
            exit: None,
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

    fn running(&self, id: &str) -> Outcome<&ContainerSpec> {
        match self.containers.iter().find(|c| c.spec.id == id) {
            None => refuse(format!("there is no container {id}")),
            Some(found) if matches!(found.state, ContainerState::Running { .. }) => Ok(&found.spec),
            Some(_) => refuse(format!("container {id} is not running")),
        }
    }

    /// The process that was begun under this name, whose end is from now on told to `token`.
    fn join_lasting(&mut self, token: u64, spec: &ExecSpec) -> Option<Answer> {
        let name = spec.lasting.as_ref()?;
        let same =
            |e: &&mut Exec| e.lasting.as_ref() == Some(name) && e.container == spec.container;
        let exec = self.execs.iter_mut().find(same)?;
        exec.token = token;
        let (exec_id, pid) = (exec.id, exec.pid);
        if let (Some(exit), Some(connection)) = (&exec.exit, self.connections.find(token)) {
            let exit = exit.clone();
            connection.say(&Say::Event(Event::ExecExited { exec_id, exit }), Vec::new());
        }
        Some(Answer::Streams {
            exec_id,
            pid,
            tty: false,
        })
    }

    /// A client that is gone reads no output and hears of no exit.
    pub(super) fn kill_execs_of(&mut self, token: u64) {
        let bound = |exec: &&Exec| exec.token == token && exec.lasting.is_none();
        for exec in self.execs.iter().filter(bound) {
            // Exited but not reaped yet is fine.
            let _ = send_signal(&exec.pidfd, libc::SIGKILL);
        }
    }
}

/// How far a process is confined that becomes `user`.
fn confinement(
    host: &ContainerSpec,
    user: &ExecUser,
    users: Option<&Users>,
) -> Outcome<Confinement> {
    let held = Held::of_container(host, &mut Vec::new());
    Ok(Confinement {
        insider: users.map(|users| Insider {
            users: users.namespace().as_raw_fd(),
            uid: user.uid,
            gid: user.gid,
            groups: user.supplemental_gids.clone(),
        }),
        filter: oci::seccomp_filter(host, &held)?,
        capabilities: linux_capabilities(&held)?,
    })
}

/// Who executes: the container's user, unless another is asked for.
fn user(host: &ContainerSpec, spec: &ExecSpec) -> ExecUser {
    spec.user.clone().unwrap_or_else(|| ExecUser {
        uid: host.uid,
        gid: host.gid,
        supplemental_gids: host.supplemental_gids.clone(),
    })
}

/// For nobody else's eyes: arguments and variables may be secrets.
fn write(file: &Path, process: &Process) -> Outcome<()> {
    let opened = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    serde_json::to_writer(opened, process)?;
    Ok(())
}

fn process(host: &ContainerSpec, spec: &ExecSpec, user: &ExecUser) -> Outcome<Process> {
    if spec.args.first().is_none_or(String::is_empty) {
        return refuse("the command to execute is empty");
    }
    let mut env = oci::with_path(&host.env);
    env.extend(spec.env.iter().cloned());
    let user = oci::user(user.uid, user.gid, &user.supplemental_gids, host.umask)?;
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
    process.set_apparmor_profile(host.app_armor.clone());
    process.set_oom_score_adj(None);
    process.set_rlimits(None);
    Ok(process)
}

/// The process' three streams; the ends of those that were asked for go to `ours`.
fn streams(
    (uid, gid): (Uid, Gid),
    spec: &ExecSpec,
    ours: &mut Vec<OwnedFd>,
) -> Outcome<[OwnedFd; 3]> {
    let mut stream = |wanted: bool, input: bool| -> Outcome<OwnedFd> {
        if !wanted {
            return Ok(File::options()
                .read(input)
                .write(!input)
                .open("/dev/null")?
                .into());
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        fchown(&read, Some(uid), Some(gid))?;
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
