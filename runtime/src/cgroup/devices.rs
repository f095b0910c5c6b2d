//! What a cgroup may do with device nodes on v2, where no file holds the rules: a small program
//! in the kernel decides on every use. On v1 libcontainer writes the rules.
//!
//! The program has no maps. It stays with the cgroup and goes with it.

use std::fs::File;
use std::io;
use std::path::Path;

use kabuki_bpf::{
    Assembler, AssemblyError, Instruction, Program, ProgramKind, R0, R1, R2, R3, R4, R5, R6,
    Register, Size, Test, with_locked_memory,
};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::{CgroupError, io_error};

/// Nodes that libcontainer makes in every container: null, zero, full, random, urandom, tty.
const ALWAYS: [(i64, i64); 6] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)];

/// Allows a cgroup what the rules allow, and nothing else. A rule for everything starts anew.
pub(super) fn restrict(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Result<(), CgroupError> {
    let Some(allowed) = settle(rules, dir)? else {
        return Ok(());
    };
    let program = load(&allowed).map_err(io_error("load the device rules of", dir))?;
    let cgroup = File::open(dir).map_err(io_error("open", dir))?;
    let guarded = program.guard_devices(&cgroup);
    guarded.map_err(io_error("attach the device rules of", dir))
}

/// Whether the kernel takes such programs at all.
pub(super) fn probe() -> io::Result<()> {
    load(&[]).map(drop)
}

fn load(allowed: &[Allowed]) -> io::Result<Program> {
    let program = instructions(allowed).map_err(io::Error::other)?;
    with_locked_memory(|| Program::load(ProgramKind::CgroupDevice, "kabuki_devices", &program))
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

// The answer, the request, and what is read out of it.
const ANSWER: Register = R0;
const REQUEST: Register = R1;
const KIND: Register = R2;
const ACCESS: Register = R3;
const MAJOR: Register = R4;
const MINOR: Register = R5;
const SCRATCH: Register = R6;

fn instructions(allowed: &[Allowed]) -> Result<Vec<Instruction>, AssemblyError> {
    let mut program = Assembler::default();
    // The access in the upper half of the first word, the kind of device in the lower.
    program.load(Size::Word, KIND, REQUEST, 0);
    program.set(ACCESS, KIND);
    program.shift_right(ACCESS, 16);
    program.mask(KIND, 0xffff);
    program.load(Size::Word, MAJOR, REQUEST, 4);
    program.load(Size::Word, MINOR, REQUEST, 8);
    for (number, allowed) in allowed.iter().enumerate() {
        let next = format!("after {number}");
        // What is asked for beyond what this one gives must be nothing.
        program.set(SCRATCH, ACCESS);
        program.mask(SCRATCH, !allowed.access.cast_unsigned());
        program.when(SCRATCH, Test::NotEqual, 0, next.clone());
        let parts = [
            (KIND, allowed.kind),
            (MAJOR, allowed.major),
            (MINOR, allowed.minor),
        ];
        for (register, value) in parts {
            if let Some(value) = value {
                program.when(register, Test::NotEqual, value, next.clone());
            }
        }
        program.set(ANSWER, 1);
        program.exit();
        program.label(next);
    }
    program.set(ANSWER, 0);
    program.exit();
    program.finish()
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
                // Load a word, move, set, and, shift right, jump unless equal, exit.
                0x61 => registers[to] = request[step.offset as usize / 4],
                0xbf => registers[to] = registers[usize::from(from)],
                0xb7 => registers[to] = step.value,
                0x54 => registers[to] &= step.value,
                0x77 => registers[to] = ((registers[to] as u32) >> step.value) as i32,
                0x55 if registers[to] == step.value => {}
                0x55 => at += step.offset as usize,
                0x95 => return registers[0],
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
        let allowed = settle(&rules, Path::new("/x")).unwrap().unwrap();
        let program = instructions(&allowed).unwrap();
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

    /// A cgroup of its own, for as long as the test runs; `None` without the rights for one.
    struct Cgroup {
        mount: tempfile::TempDir,
        dir: std::path::PathBuf,
    }

    impl Cgroup {
        fn new() -> Option<Self> {
            if !nix::unistd::geteuid().is_root() {
                println!("not tested: only root can make cgroups");
                return None;
            }
            // Also where v1 has the controllers: programs need none.
            let mount = tempfile::tempdir().unwrap();
            let none = None::<&str>;
            let flags = nix::mount::MsFlags::empty();
            nix::mount::mount(none, mount.path(), Some("cgroup2"), flags, none).unwrap();
            let dir = mount
                .path()
                .join(format!("kabuki-devices-{}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            Some(Self { mount, dir })
        }

        /// Whether a process in it can open a device node.
        fn opens(&self, node: &str) -> bool {
            let join = format!("echo $$ > {}", self.dir.join("cgroup.procs").display());
            let open = format!("{join} && exec dd if={node} count=0 status=none");
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &open]).status().unwrap().success()
        }
    }

    impl Drop for Cgroup {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir(&self.dir);
            let _ = nix::mount::umount(self.mount.path());
        }
    }

    #[test]
    fn the_kernel_holds_a_cgroup_to_its_rules() {
        let Some(cgroup) = Cgroup::new() else {
            return;
        };
        assert!(cgroup.opens("/dev/null") && cgroup.opens("/dev/ptmx"));
        let terminals = rule(true, Some(LinuxDeviceType::C), (5, 2), "w");
        restrict(&cgroup.dir, &[terminals]).unwrap();
        assert!(cgroup.opens("/dev/null"));
        // They may be written, which is not what was asked for.
        assert!(!cgroup.opens("/dev/ptmx"));
    }

    #[test]
    fn a_rule_for_everything_needs_no_program_and_a_partial_denial_is_refused() {
        let all = rule(true, None, (-1, -1), "rwm");
        assert_eq!(settle(&[all], Path::new("/x")).unwrap(), None);
        let one = rule(false, Some(LinuxDeviceType::C), (1, 3), "w");
        assert!(settle(&[one], Path::new("/x")).is_err());
    }
}
