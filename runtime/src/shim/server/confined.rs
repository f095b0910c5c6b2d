//! The last step in a container's new process: becoming the program.
//!
//! libcontainer's own way of doing it leaves three things open that are closed here. Ignored
//! and blocked signals of the shim would stay so in the program. A program that cannot be
//! executed after the start would be seen only as a strange exit. And processes added to a
//! container would run outside of its seccomp filter: for them, filter and capabilities are
//! applied here, in this order, because without `no_new_privs` a filter needs the privileges
//! that go afterwards.

use std::env;
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, FromRawFd, RawFd};
use std::path::Path;

use libcontainer::oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Spec};
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{AccessFlags, Gid, Uid, access, execvp, setgroups, setresgid, setresuid};

use crate::oci::DEFAULT_PATH;
use crate::shim::terminal::resize_terminal;

#[derive(Clone)]
pub(super) struct Confined {
    report_to: Option<RawFd>,
    /// The shim's descriptors. A created container may wait for its start for long, and must
    /// not keep the shim's sockets and pipes open meanwhile, should the shim die.
    not_ours: Vec<RawFd>,
    confinement: Option<Confinement>,
    /// Rows and columns of the terminal, which the program may ask for at once.
    size: Option<(u16, u16)>,
}

/// A user of a pod that has users of its own. libcontainer leaves further processes with the
/// host's users, so that they change over here.
#[derive(Clone)]
pub(super) struct Insider {
    /// The pod's user namespace.
    pub users: RawFd,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

#[derive(Clone)]
pub(super) struct Confinement {
    pub insider: Option<Insider>,
    pub filter: Option<LinuxSeccomp>,
    pub capabilities: LinuxCapabilities,
}

impl Confined {
    /// A container's first process, confined by libcontainer. `report_to` is a pipe that is
    /// closed on execution; `not_ours` is to be closed before the start.
    pub fn first(report_to: RawFd, not_ours: Vec<RawFd>) -> Self {
        Self {
            report_to: Some(report_to),
            not_ours,
            confinement: None,
            size: None,
        }
    }

    /// A further process, confined here.
    pub fn further(confinement: Confinement, size: Option<(u16, u16)>) -> Self {
        Self {
            report_to: None,
            not_ours: Vec::new(),
            confinement: Some(confinement),
            size,
        }
    }

    fn become_program(&self, spec: &Spec) -> Result<(), String> {
        let arguments = spec
            .process()
            .as_ref()
            .and_then(|process| process.args().as_ref());
        let arguments = arguments.ok_or("the command is empty")?;
        let c_strings = arguments
            .iter()
            .map(|argument| CString::new(argument.as_str()));
        let c_strings: Vec<_> = c_strings
            .collect::<Result<_, _>>()
            .map_err(|_| "an argument has a zero byte")?;
        let program = c_strings.first().ok_or("the command is empty")?;
        if let Some((rows, columns)) = self.size {
            resize_terminal(std::io::stdin(), rows, columns)
                .map_err(|error| format!("cannot set the terminal's size: {error}"))?;
        }
        reset_signals().map_err(|error| format!("cannot reset signals: {error}"))?;
        if let Some(confinement) = &self.confinement {
            confinement.apply()?;
        }
        let failed = execvp(program, &c_strings);
        let error = failed.map_or_else(|error| error, |never| match never {});
        Err(format!("exec {:?}: {}", arguments[0], error.desc()))
    }
}

impl Confinement {
    fn apply(&self) -> Result<(), String> {
        if let Some(insider) = &self.insider {
            insider.change_over()?;
        }
        if let Some(filter) = &self.filter {
            libcontainer::seccomp::initialize_seccomp(filter)
                .map_err(|error| format!("cannot apply the seccomp filter: {error}"))?;
        }
        let syscall = create_syscall();
        libcontainer::capabilities::drop_privileges(&self.capabilities, syscall.as_ref())
            .map_err(|error| format!("cannot drop capabilities: {error}"))
    }
}

impl Insider {
    fn change_over(&self) -> Result<(), String> {
        let failed = |what: &str, error: &dyn std::error::Error| format!("cannot {what}: {error}");
        // SAFETY: the shim's descriptor, open for as long as its pod lives.
        let users = unsafe { BorrowedFd::borrow_raw(self.users) };
        setns(users, CloneFlags::CLONE_NEWUSER)
            .map_err(|error| failed("enter the pod's user namespace", &error))?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(|error| failed("set the groups", &error))?;
        // What it may is decided later, and not by who it becomes.
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        nix::sys::prctl::set_keepcaps(true)
            .and_then(|()| setresgid(gid, gid, gid))
            .and_then(|()| setresuid(uid, uid, uid))
            .and_then(|()| nix::sys::prctl::set_keepcaps(false))
            .map_err(|error| failed("become the pod's user", &error))?;
        libcontainer::capabilities::reset_effective(create_syscall().as_ref())
            .map_err(|error| failed("keep capabilities", &error))
    }
}

/// Rust ignores SIGPIPE and the shim blocks some; a program expects neither.
fn reset_signals() -> nix::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    // SAFETY: the default action involves no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }?;
    Ok(())
}

impl Executor for Confined {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Err(why) = self.become_program(spec) else {
            return Ok(());
        };
        if let Some(fd) = self.report_to {
            // SAFETY: the pipe's write end, inherited for this and used nowhere else.
            let mut report = unsafe { File::from_raw_fd(fd) };
            // Without a reader, the exit code has to do.
            let _ = report.write_all(why.as_bytes());
        }
        Err(ExecutorError::Other(why))
    }

    /// Finds what surely cannot be executed while the creation can still fail for it.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process = spec.process().as_ref();
        let program = process.and_then(|process| process.args().as_ref()?.first());
        let refused = |why: &str| {
            let program = program.map_or("", String::as_str);
            Err(ExecutorValidationError::ArgValidationError(format!(
                "exec {program:?}: {why}"
            )))
        };
        let Some(program) = program.filter(|program| !program.is_empty()) else {
            return refused("the command is empty");
        };
        let candidates: Vec<String> = if program.contains('/') {
            vec![program.clone()]
        } else {
            let entries = process
                .and_then(|process| process.env().as_deref())
                .unwrap_or_default();
            let path = entries
                .iter()
                .rev()
                .find_map(|entry| entry.strip_prefix("PATH="));
            path.unwrap_or(DEFAULT_PATH)
                .split(':')
                .map(|dir| format!("{dir}/{program}"))
                .collect()
        };
        let mut why = match program.contains('/') {
            true => "no such file or directory",
            false => "executable file not found in $PATH",
        };
        for candidate in candidates
            .iter()
            .map(Path::new)
            .filter(|candidate| candidate.exists())
        {
            if candidate.is_dir() {
                why = "is a directory";
            } else if access(candidate, AccessFlags::X_OK).is_err() {
                why = "permission denied";
            } else {
                return Ok(());
            }
        }
        refused(why)
    }

    fn setup_envs(
        &self,
        entries: std::collections::HashMap<String, String>,
    ) -> Result<(), libcontainer::workload::ExecutorSetEnvsError> {
        for fd in &self.not_ours {
            // SAFETY: copies of the shim's descriptors, which this process never uses.
            unsafe { libc::close(*fd) };
        }
        let old: Vec<_> = env::vars_os().map(|(name, _)| name).collect();
        let sound = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
        // SAFETY: this process has a single thread.
        unsafe {
            old.iter().for_each(|name| env::remove_var(name));
            for (name, value) in entries.iter().filter(|(name, _)| sound(name)) {
                env::set_var(name, value);
            }
        }
        Ok(())
    }
}
