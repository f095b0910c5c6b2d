//! One output stream of a container: into its log, and to whoever is attached.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

use super::log::{LogFile, Unfinished};

/// What an attached client may be behind by before it loses output, where the kernel allows a
/// pipe of that size. It is the kernel's memory, and only while the client is slow.
const TAP_BYTES: i32 = 1 << 20;

pub(super) struct Output {
    source: File,
    name: &'static str,
    unfinished: Unfinished,
    taps: Vec<File>,
}

/// What a turn of reading came to.
pub(super) struct Pumped {
    pub lost: u64,
    pub ended: bool,
}

impl AsRawFd for Output {
    fn as_raw_fd(&self) -> RawFd {
        self.source.as_raw_fd()
    }
}

impl Output {
    pub fn new(source: OwnedFd, name: &'static str) -> io::Result<Self> {
        set_nonblocking(&source)?;
        let source = File::from(source);
        Ok(Self {
            source,
            name,
            unfinished: Unfinished::default(),
            taps: Vec::new(),
        })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A pipe that gets a copy of all output from now on, as long as it is read in time.
    pub fn tap(&mut self) -> io::Result<OwnedFd> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // Refused above the system's limit: the default size does as well.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(TAP_BYTES));
        set_nonblocking(&write)?;
        self.taps.push(File::from(write));
        Ok(read)
    }

    /// Reads what is there, at most `turns` times.
    pub fn pump(&mut self, log: Option<&mut LogFile>, buffer: &mut [u8], turns: usize) -> Pumped {
        let mut pumped = Pumped {
            lost: 0,
            ended: false,
        };
        let mut log = log;
        for _ in 0..turns {
            let count = match self.source.read(buffer) {
                Ok(0) => {
                    pumped.ended = true;
                    break;
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A terminal whose last user is gone says this instead of ending.
                Err(_) => {
                    pumped.ended = true;
                    break;
                }
            };
            let output = &buffer[..count];
            self.taps.retain_mut(|tap| copy(tap, output));
            if let Some(log) = log.as_deref_mut() {
                pumped.lost += self.unfinished.feed(self.name, output, log);
            }
        }
        if pumped.ended {
            pumped.lost += self.finish(log);
        }
        pumped
    }

    /// Ends the stream: the last line is logged and attached clients see the end.
    pub fn finish(&mut self, log: Option<&mut LogFile>) -> u64 {
        self.taps.clear();
        log.map_or(0, |log| self.unfinished.finish(self.name, log))
    }
}

/// False once the reader is gone. A reader that is merely slow misses this piece of output.
fn copy(tap: &mut File, output: &[u8]) -> bool {
    // What does not fit is dropped as well.
    match nix::unistd::write(tap.as_fd(), output).map_err(io::Error::from) {
        Ok(_) => true,
        Err(error) => {
            matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            )
        }
    }
}

pub(super) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
