//! What a cgroup may do with device nodes on v2, where no file holds the rules: a small program
//! in the kernel decides on every use. On v1 libcontainer writes the rules.
//!
//! The program is loaded without a loader's help: it has no maps, and its few instructions are
//! written here. It stays with the cgroup and goes with it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::{CgroupError, io_error};

/// Nodes that libcontainer makes in every container: null, zero, full, random, urandom, tty.
const ALWAYS: [(i64, i64); 6] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)];

/// Allows a cgroup what the rules allow, and nothing else. A rule for everything starts anew.
pub(super) fn restrict(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Result<(), CgroupError> {
    let Some(allowed) = settle(rules, dir)? else {
        return Ok(());
    };
    let program = with_locked_memory(|| load(&instructions(&allowed)))
        .map_err(io_error("load the device rules of", dir))?;
    let cgroup = File::open(dir).map_err(io_error("open", dir))?;
    attach(&program, &cgroup).map_err(io_error("attach the device rules of", dir))
}

/// Whether the kernel takes such programs at all.
pub(super) fn probe() -> io::Result<()> {
    with_locked_memory(|| load(&instructions(&[]))).map(drop)
}

/// Something that is allowed: what is not set matches everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Allowed {
    kind: Option<i32>,
    major: Option<i32>,
    minor: Option<i32>,
    access: i32,
}

// As `struct bpf_cgroup_dev_ctx` has them.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MAKE: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

/// The list of what is allowed; `None` when that is everything.
fn settle(rules: &[LinuxDeviceCgroup], dir: &Path) -> Result<Option<Vec<Allowed>>, CgroupError> {
    let invalid = || {
        let error = io::Error::from(io::ErrorKind::InvalidInput);
        io_error("write a device rule of", dir)(error)
    };
    let number = |number: Option<i64>| match number {
        Some(number) if number >= 0 => i32::try_from(number).map(Some).map_err(|_| invalid()),
        _ => Ok(None),
    };
    let mut allowed = Some(Vec::new());
    for rule in rules {
        let one = Allowed {
            kind: match rule.typ() {
                Some(LinuxDeviceType::B) => Some(BLOCK),
                Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(CHARACTER),
                Some(LinuxDeviceType::A) | None => None,
                Some(LinuxDeviceType::P) => return Err(invalid()),
            },
            major: number(rule.major())?,
            minor: number(rule.minor())?,
            access: access(rule.access().as_deref().unwrap_or("rwm")),
        };
        let everything = one.kind.is_none() && one.major.is_none() && one.minor.is_none();
        match (rule.allow(), everything, &mut allowed) {
            (true, true, _) => allowed = None,
            (false, true, _) => allowed = Some(Vec::new()),
            (true, false, Some(list)) => list.push(one),
            (true, false, None) => {}
            // No manifest can say so, and it would need the rules' order.
            (false, false, _) => return Err(invalid()),
        }
    }
    let always = ALWAYS.iter().map(|(major, minor)| Allowed {
        kind: Some(CHARACTER),
        major: Some(*major as i32),
        minor: Some(*minor as i32),
        access: MAKE | READ | WRITE,
    });
    Ok(allowed.map(|list| list.into_iter().chain(always).collect()))
}

fn access(letters: &str) -> i32 {
    let bits = [('m', MAKE), ('r', READ), ('w', WRITE)];
    let set = bits.iter().filter(|(letter, _)| letters.contains(*letter));
    set.fold(0, |all, (_, bit)| all | bit)
}

/// One instruction of the kernel's virtual machine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// The destination in the lower half, the source in the upper.
    registers: u8,
    offset: i16,
    value: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const SKIP_UNLESS_EQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;
// Registers: the answer, the request, and what is read out of it.
const ANSWER: u8 = 0;
const REQUEST: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

fn instructions(allowed: &[Allowed]) -> Vec<Instruction> {
    let one = |code, to: u8, from: u8, offset, value| Instruction {
        code,
        registers: to | from << 4,
        offset,
        value,
    };
    let mut program = vec![
        // The access in the upper half of the first word, the kind of device in the lower.
        one(LOAD_WORD, KIND, REQUEST, 0, 0),
        one(MOVE, ACCESS, KIND, 0, 0),
        one(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        one(AND, KIND, 0, 0, 0xffff),
        one(LOAD_WORD, MAJOR, REQUEST, 4, 0),
        one(LOAD_WORD, MINOR, REQUEST, 8, 0),
    ];
    for allowed in allowed {
        // What is asked for beyond what this one gives must be nothing.
        let mut tests = vec![
            one(MOVE, SCRATCH, ACCESS, 0, 0),
            one(AND, SCRATCH, 0, 0, !allowed.access),
            one(SKIP_UNLESS_EQUAL, SCRATCH, 0, 0, 0),
        ];
        let parts = [
            (KIND, allowed.kind),
            (MAJOR, allowed.major),
            (MINOR, allowed.minor),
        ];
        for (register, value) in parts {
            tests.extend(value.map(|value| one(SKIP_UNLESS_EQUAL, register, 0, 0, value)));
        }
        tests.extend([one(SET, ANSWER, 0, 0, 1), one(EXIT, 0, 0, 0, 0)]);
        let end = tests.len();
        for (index, test) in tests.iter_mut().enumerate() {
            if test.code == SKIP_UNLESS_EQUAL {
                test.offset = (end - index - 1) as i16;
            }
        }
        program.extend(tests);
    }
    program.extend([one(SET, ANSWER, 0, 0, 0), one(EXIT, 0, 0, 0, 0)]);
    program
}

/// The parts of the kernel's `union bpf_attr` that are used here.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    const PROG_LOAD: libc::c_int = 5;
    const CGROUP_DEVICE: u32 = 15;
    let request = Load {
        kind: CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    let fd = bpf(PROG_LOAD, &request)?;
    // SAFETY: the kernel has just made this descriptor, closed on execution.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(program: &OwnedFd, cgroup: &File) -> io::Result<()> {
    const PROG_ATTACH: libc::c_int = 8;
    const CGROUP_DEVICE: u32 = 6;
    /// Beside those of the cgroups above, all of which must agree.
    const ALLOW_MULTI: u32 = 2;
    let request = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &request).map(drop)
}

fn bpf<T>(command: libc::c_int, request: &T) -> io::Result<i32> {
    // SAFETY: the request is a prefix of the kernel's own structure, of the size given, and all
    // that it points to outlives the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(request),
            size_of::<T>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer as i32)
}

/// Before 5.11 programs count as locked memory of the user, for whom 64 KiB is usual: enough
/// for sixteen containers.
fn with_locked_memory<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    // Without the capability it takes, the usual amount has to do.
    let raised = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    let done = work();
    if raised {
        setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's machine would answer.
    fn answer(program: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> i32 {
        let mut registers = [0i32; 10];
        let request = [kind | access << 16, major, minor];
        let mut at = 0;
        loop {
            let step = program[at];
            let (to, from) = (usize::from(step.registers & 15), step.registers >> 4);
            at += 1;
            match step.code {
                LOAD_WORD => registers[to] = request[step.offset as usize / 4],
                MOVE => registers[to] = registers[usize::from(from)],
                SET => registers[to] = step.value,
                AND => registers[to] &= step.value,
                SHIFT_RIGHT => registers[to] = ((registers[to] as u32) >> step.value) as i32,
                SKIP_UNLESS_EQUAL if registers[to] == step.value => {}
                SKIP_UNLESS_EQUAL => at += step.offset as usize,
                EXIT => return registers[0],
                other => panic!("{other:#x}"),
            }
        }
    }

    fn rule(
        allow: bool,
        typ: Option<LinuxDeviceType>,
        numbers: (i64, i64),
        access: &str,
    ) -> LinuxDeviceCgroup {
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(allow);
        rule.set_typ(typ);
        rule.set_major(Some(numbers.0).filter(|number| *number >= 0));
        rule.set_minor(Some(numbers.1).filter(|number| *number >= 0));
        rule.set_access(Some(access.to_owned()));
        rule
    }

    #[test]
    fn only_what_a_rule_allows_is_allowed() {
        let character = Some(LinuxDeviceType::C);
        let rules = [
            rule(false, None, (-1, -1), "rwm"),
            rule(true, character, (-1, -1), "m"),
            rule(true, character, (136, -1), "rwm"),
            rule(true, Some(LinuxDeviceType::B), (8, 1), "r"),
        ];
        let program = instructions(&settle(&rules, Path::new("/x")).unwrap().unwrap());
        let allowed = [
            (CHARACTER, MAKE, 9, 9),
            (CHARACTER, READ | WRITE, 136, 5),
            (CHARACTER, READ, 1, 3),
            (BLOCK, READ, 8, 1),
        ];
        for (kind, access, major, minor) in allowed {
            assert_eq!(
                answer(&program, kind, access, major, minor),
                1,
                "{major}:{minor}"
            );
        }
        let denied = [
            (CHARACTER, READ, 1, 11),
            (BLOCK, READ | WRITE, 8, 1),
            (BLOCK, READ, 8, 2),
            (BLOCK, MAKE, 8, 0),
            (BLOCK, READ, 136, 5),
        ];
        for (kind, access, major, minor) in denied {
            assert_eq!(
                answer(&program, kind, access, major, minor),
                0,
                "{major}:{minor}"
            );
        }
    }

    #[test]
    fn a_rule_for_everything_needs_no_program_and_a_partial_denial_is_refused() {
        let all = rule(true, None, (-1, -1), "rwm");
        assert_eq!(settle(&[all], Path::new("/x")).unwrap(), None);
        let one = rule(false, Some(LinuxDeviceType::C), (1, 3), "w");
        assert!(settle(&[one], Path::new("/x")).is_err());
    }
}
