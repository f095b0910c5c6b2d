//! The system call that makes maps, loads programs and hangs them somewhere, bpf(2). What it answers
//! is owned here; what goes in has the size that the kernel was told.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::assembler::Instruction;

/// The kinds of maps that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// By keys.
    Hash = 1,
    /// By numbers.
    Array = 2,
    /// As `Hash`, but what is not used goes when room is needed.
    LruHash = 9,
}

/// Entries of a hash are allocated as they come (`BPF_F_NO_PREALLOC`).
const AS_THEY_COME: u32 = 1;

/// What programs are for (`enum bpf_prog_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramKind {
    /// Traffic control: judges packets.
    SchedClassifier = 3,
    /// Says which device nodes a cgroup may use.
    CgroupDevice = 15,
}

/// Where a program for the device nodes of a cgroup hangs (`BPF_CGROUP_DEVICE`).
const CGROUP_DEVICE: u32 = 6;
/// Beside those of the cgroups above, all of which must agree (`BPF_F_ALLOW_MULTI`).
const ALLOW_MULTI: u32 = 2;

/// What the kernel says of a program that it refuses ends with the reason. It may be long.
const LOG_BYTES: usize = 64 * 1024;

/// A map: a table that programs and we share. Keys have `K` bytes, values `V`.
pub struct Map<const K: usize, const V: usize> {
    fd: OwnedFd,
}

/// A program that the kernel has checked.
pub struct Program {
    fd: OwnedFd,
}

// What follows are prefixes of the kernel's `union bpf_attr`, one for each command.

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct Element {
    map: u32,
    /// The kernel wants the next one at a multiple of eight.
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct ProgAttach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// The request of a trial run, and its answer.
#[repr(C)]
struct TestRun {
    program: u32,
    answer: u32,
    data_in_size: u32,
    data_out_size: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_size: u32,
    context_out_size: u32,
    context_in: u64,
    context_out: u64,
}

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TEST_RUN: libc::c_int = 10;

impl<const K: usize, const V: usize> Map<K, V> {
    /// Makes one. Its name is what tools show.
    ///
    /// # Errors
    /// The kernel's.
    pub fn create(kind: MapKind, name: &str, max_entries: u32) -> io::Result<Self> {
        let request = MapCreate {
            kind: kind as u32,
            key_size: K as u32,
            value_size: V as u32,
            max_entries,
            flags: if kind == MapKind::Hash {
                AS_THEY_COME
            } else {
                0
            },
            inner_map: 0,
            numa_node: 0,
            name: object_name(name),
        };
        Ok(Self {
            fd: descriptor(MAP_CREATE, &request)?,
        })
    }

    /// Adds an entry, or changes it.
    ///
    /// # Errors
    /// The kernel's: it is full, above all.
    pub fn put(&self, key: &[u8; K], value: &[u8; V]) -> io::Result<()> {
        let request = self.element(key, value.as_ptr() as u64);
        bpf(MAP_UPDATE, &request).map(drop)
    }

    /// Removes an entry; one that is not there is fine.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, key: &[u8; K]) -> io::Result<()> {
        match bpf(MAP_DELETE, &self.element(key, 0)) {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// The value of an entry.
    ///
    /// # Errors
    /// The kernel's.
    pub fn get(&self, key: &[u8; K]) -> io::Result<Option<[u8; V]>> {
        let mut value = [0; V];
        let request = self.element(key, value.as_mut_ptr() as u64);
        match bpf(MAP_LOOKUP, &request) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What programs call it.
    pub fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn element(&self, key: &[u8; K], value: u64) -> Element {
        Element {
            map: self.fd.as_raw_fd() as u32,
            _pad: 0,
            key: key.as_ptr() as u64,
            value,
            flags: 0,
        }
    }
}

impl Program {
    /// Has the kernel check a program. Its name is what tools show.
    ///
    /// # Errors
    /// The kernel's, which ends with what it says is wrong with the program.
    pub fn load(kind: ProgramKind, name: &str, instructions: &[Instruction]) -> io::Result<Self> {
        let load = |log: &mut [u8]| {
            let request = ProgLoad {
                kind: kind as u32,
                count: instructions.len() as u32,
                instructions: instructions.as_ptr() as u64,
                // None of the kernel's functions that are used asks for another.
                license: c"Apache-2.0".as_ptr() as u64,
                log_level: u32::from(!log.is_empty()),
                log_size: log.len() as u32,
                log: if log.is_empty() {
                    0
                } else {
                    log.as_mut_ptr() as u64
                },
                kernel: 0,
                flags: 0,
                name: object_name(name),
            };
            descriptor(PROG_LOAD, &request)
        };
        let refused = match load(&mut []) {
            Ok(fd) => return Ok(Self { fd }),
            Err(error) => error,
        };
        // Who may not load programs at all gets no log.
        if refused.raw_os_error() == Some(libc::EPERM) {
            return Err(refused);
        }
        let mut log = vec![0; LOG_BYTES];
        match load(&mut log) {
            Ok(fd) => Ok(Self { fd }),
            Err(_) => Err(explained(&refused, &log)),
        }
    }

    /// Asks the program whenever somebody in a cgroup uses a device node. It stays with the cgroup
    /// and goes with it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn guard_devices(&self, cgroup: &File) -> io::Result<()> {
        let request = ProgAttach {
            target: cgroup.as_raw_fd() as u32,
            program: self.fd.as_raw_fd() as u32,
            kind: CGROUP_DEVICE,
            flags: ALLOW_MULTI,
        };
        bpf(PROG_ATTACH, &request).map(drop)
    }

    /// Runs it once on a frame, with what the kernel tells beside it, for tests. Returns the verdict
    /// and the frame as it is then.
    ///
    /// # Errors
    /// The kernel's.
    pub fn run(&self, frame: &[u8], context: &[u8]) -> io::Result<(i32, Vec<u8>)> {
        let mut after = vec![0; frame.len() + 256];
        let mut request = TestRun {
            program: self.fd.as_raw_fd() as u32,
            answer: 0,
            data_in_size: frame.len() as u32,
            data_out_size: after.len() as u32,
            data_in: frame.as_ptr() as u64,
            data_out: after.as_mut_ptr() as u64,
            repeat: 1,
            duration: 0,
            context_in_size: context.len() as u32,
            context_out_size: 0,
            context_in: context.as_ptr() as u64,
            context_out: 0,
        };
        // SAFETY: as in `bpf`; the kernel also writes to the request itself.
        let done = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                PROG_TEST_RUN,
                std::ptr::from_mut(&mut request),
                size_of::<TestRun>(),
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        after.truncate(request.data_out_size as usize);
        Ok((request.answer.cast_signed(), after))
    }

    /// What it is hung somewhere by.
    pub fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Before 5.11 maps and programs count as locked memory of the user, for whom 64 KiB is usual: where
/// that is why they are refused, they are tried again with more. Processes that are started just
/// then have more too, so it is not done without need.
///
/// # Errors
/// Those of the work.
pub fn with_locked_memory<T>(work: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match work() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        done => return done,
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    // Without the capability it takes, the usual amount has to do.
    let raised = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok();
    let done = work();
    if raised {
        setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    }
    done
}

/// The last lines of the log, which is text and ends with a zero.
fn explained(refused: &io::Error, log: &[u8]) -> io::Error {
    let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.reverse();
    io::Error::new(refused.kind(), format!("{refused}: {}", lines.join("; ")))
}

/// A name has at most 15 bytes.
fn object_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// A command that makes something.
fn descriptor<T>(command: libc::c_int, request: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, request)?;
    // SAFETY: the kernel has just made this descriptor, closed on execution; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: libc::c_int, request: &T) -> io::Result<i32> {
    // SAFETY: the request is a prefix of the kernel's own structure, of the size given. What it
    // points to are borrows of the callers that outlive the call, and as long as the request says:
    // keys and values by the types of their map, which was made for these lengths, programs and
    // logs by their counts. What the kernel writes to was borrowed for writing.
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
    i32::try_from(answer).map_err(io::Error::other)
}
