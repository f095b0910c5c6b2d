//! One daemon for one data directory.

use anyhow::{Context, bail};
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Held as long as the daemon runs; the kernel lets go of it however the daemon ends.
pub struct DataLock {
    _file: Flock<File>,
}

/// Makes the data directory and takes it.
pub fn take(data_dir: &Path) -> anyhow::Result<DataLock> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(data_dir)
        .with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
    let path = data_dir.join("daemon.pid");
    let mut options = std::fs::OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    let mut file = options
        .mode(0o644)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err(_) => bail!(
            "the data directory {} is in use by another kabuki (process {}); stop that one, or \
             give this one its own --data-dir",
            data_dir.display(),
            holder.trim()
        ),
    };
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(DataLock { _file: file })
}
