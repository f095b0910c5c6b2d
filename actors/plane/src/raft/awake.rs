//! Keeps the machine's processors from halting while entries follow each other closely.
//!
//! A write passes through several programs, on this machine and others, and between its steps the
//! processors have nothing to do for some tens of microseconds. Those that halt meanwhile are slow
//! to go on: a virtual one first has to be scheduled by its hypervisor, a real one to leave a deep
//! state. So the kernel is asked for less latency (Linux, "PM Quality Of Service Interface",
//! `/dev/cpu_dma_latency`). What is asked holds for as long as the device is open: not longer than
//! this program lives, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

/// Where the kernel is asked.
const DEVICE: &str = "/dev/cpu_dma_latency";

/// On a real machine the first idle state stays allowed, which saves most of the power.
const REAL_US: i32 = 2;
/// On a virtual one, what the guest's kernel takes for the first state is a halt, and only nothing
/// at all keeps it from that.
const VIRTUAL_US: i32 = 0;

/// What is asked of the kernel.
pub(super) struct Awake {
    /// `None` when it is not to be asked, or does not listen.
    device: Option<PathBuf>,
    /// How long a processor may take to go on, in microseconds.
    limit_us: i32,
    request: Option<File>,
}

impl Awake {
    pub(super) fn new(allowed: bool) -> Self {
        Self::at(allowed.then(|| PathBuf::from(DEVICE)))
    }

    fn at(device: Option<PathBuf>) -> Self {
        Self {
            device,
            limit_us: if is_virtual() { VIRTUAL_US } else { REAL_US },
            request: None,
        }
    }

    /// Asks for processors that do not halt, or for nothing any more.
    pub(super) fn keep(&mut self, awake: bool) {
        self.request = None;
        let Some(device) = self.device.as_ref().filter(|_| awake) else {
            return;
        };
        let asked = OpenOptions::new().write(true).open(device);
        let asked = asked.and_then(|mut request| {
            request.write_all(&self.limit_us.to_ne_bytes())?;
            Ok(request)
        });
        match asked {
            Ok(request) => self.request = Some(request),
            Err(error) => {
                let device = device.display().to_string();
                tracing::info!(device, %error, "processors cannot be kept from halting");
                self.device = None;
            }
        }
    }
}

/// Whether a hypervisor runs this machine: processors say so themselves.
fn is_virtual() -> bool {
    let lines = File::open("/proc/cpuinfo").map(|file| BufReader::new(file).lines());
    let lines = lines.into_iter().flatten().map_while(Result::ok);
    let flags = lines.into_iter().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_ascii_whitespace().any(|f| f == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::{Awake, REAL_US, VIRTUAL_US};

    #[test]
    fn the_kernel_is_asked_and_no_longer() {
        let directory = tempfile::tempdir().expect("a directory");
        let device = directory.path().join("device");
        std::fs::write(&device, []).expect("a file");
        let mut awake = Awake::at(Some(device.clone()));
        awake.keep(true);
        let asked = std::fs::read(&device).expect("readable");
        let asked = i32::from_ne_bytes(asked.try_into().expect("four bytes"));
        assert!([REAL_US, VIRTUAL_US].contains(&asked), "{asked}");
        assert!(awake.request.is_some(), "it holds while the file is open");
        awake.keep(false);
        assert!(awake.request.is_none());
    }

    #[test]
    fn without_the_device_or_leave_nothing_is_asked() {
        let directory = tempfile::tempdir().expect("a directory");
        for mut awake in [
            Awake::at(Some(directory.path().join("none"))),
            Awake::new(false),
        ] {
            awake.keep(true);
            assert!(awake.request.is_none() && awake.device.is_none());
            awake.keep(false);
        }
    }
}
