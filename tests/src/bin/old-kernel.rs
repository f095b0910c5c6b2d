//! `old-kernel PROGRAM ARGUMENT...`: runs a program as if on Linux 5.10.
//!
//! Every system call that came later answers, for the program and all that it starts, that it is
//! not there. What a newer kernel does in calls of before is not hidden, except that
//! `close_range` knew no marking for closing on execution yet.

use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The first system call of 5.11 (`epoll_pwait2`). Numbers are the same on all architectures
/// since long before.
const FIRST_LATER: i32 = 441;
/// Well beyond the last one of today.
const LAST_LATER: i32 = 600;
const CLOSE_RANGE_CLOEXEC: u64 = 4;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: old-kernel PROGRAM ARGUMENT...");
        return ExitCode::FAILURE;
    };
    if let Err(error) = forget() {
        eprintln!("old-kernel: cannot install the filter: {error}");
        return ExitCode::FAILURE;
    }
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("old-kernel: cannot run {}: {error}", program.display());
    ExitCode::FAILURE
}

fn forget() -> Result<(), libseccomp::error::SeccompError> {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow)?;
    // Containers decide on that for themselves.
    filter.set_ctl_nnp(false)?;
    for number in FIRST_LATER..=LAST_LATER {
        let call = ScmpSyscall::from_raw_syscall(number);
        filter.add_rule(ScmpAction::Errno(libc::ENOSYS), call)?;
    }
    let flags = ScmpCompareOp::MaskedEqual(CLOSE_RANGE_CLOEXEC);
    filter.add_rule_conditional(
        ScmpAction::Errno(libc::EINVAL),
        ScmpSyscall::from_name("close_range")?,
        &[ScmpArgCompare::new(2, flags, CLOSE_RANGE_CLOEXEC)],
    )?;
    filter.load()
}
