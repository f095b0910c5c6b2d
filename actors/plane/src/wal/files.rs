//! The log's files as raft-engine sees them: the plain ones, but with what its recovery cuts off
//! kept, and with the place of its last read known.
//!
//! Recovery truncates the newest file where it can no longer read it, before anyone can say
//! whether something acknowledged stood there. The cut parts are kept in memory until the log is
//! accepted, and put back when it is refused, as everything else that opening changed. Once
//! accepted the files are plain files.
//!
//! Room is made by writing it: a sync of what is written over such blocks is the data alone, while
//! the first write to a fresh block (also to one that is merely allocated) waits for the file
//! system's journal, behind whatever else the machine writes. For the same reason new files are
//! [`Spares`], which have been written to before.

use raft_engine::env::{FileSystem, Handle, Permission, WriteExt};
use spares::Spares;
use std::fs::{File, OpenOptions};
use std::io::{Read, Result, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod spares;

/// Shared by the log and by whoever judges its recovery.
#[derive(Debug, Default, Clone)]
pub(crate) struct LogFiles {
    recovery: Arc<Mutex<Recovery>>,
    spares: Arc<Spares>,
}

#[derive(Debug, Default)]
struct Recovery {
    over: bool,
    cuts: Vec<Cut>,
    opened: Vec<Opened>,
    created: Vec<PathBuf>,
    last_read: Option<(PathBuf, u64)>,
}

/// The end of a file, which recovery could not read.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    tail: Vec<u8>,
}

/// A file as it was when it was opened. Besides truncating, recovery only writes heads.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    size: u64,
    head: Vec<u8>,
}

/// Room is made in such parts.
const PART_BYTES: u64 = 64 << 10;
/// More than the head of a log file.
const HEAD_BYTES: u64 = 256;

impl LogFiles {
    /// From here on truncations are ordinary, and so are the files of `directory`.
    pub(crate) fn accept(&self, directory: &Path) {
        self.spares.find(directory);
        *self.recovery() = Recovery {
            over: true,
            ..Recovery::default()
        };
    }

    /// Puts back what recovery cut off and tells where that was.
    pub(crate) fn undo(&self) -> Result<Vec<Cut>> {
        let recovery = std::mem::replace(
            &mut *self.recovery(),
            Recovery {
                over: true,
                ..Recovery::default()
            },
        );
        for path in &recovery.created {
            std::fs::remove_file(path)?;
        }
        for cut in &recovery.cuts {
            let file = OpenOptions::new().write(true).open(&cut.path)?;
            file.write_all_at(&cut.tail, cut.offset)?;
        }
        for Opened { path, size, head } in &recovery.opened {
            let file = OpenOptions::new().write(true).open(path)?;
            file.write_all_at(head, 0)?;
            file.set_len(*size)?;
            file.sync_all()?;
        }
        Ok(recovery.cuts)
    }

    /// Where the last read was: when recovery failed, that is the place.
    pub(crate) fn last_read(&self) -> Option<(PathBuf, u64)> {
        self.recovery().last_read.clone()
    }

    fn recovery(&self) -> MutexGuard<'_, Recovery> {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, path: &Path, file: File) -> LogHandle {
        LogHandle {
            path: path.to_owned(),
            file,
            files: self.clone(),
        }
    }
}

/// An open file of the log.
#[derive(Debug)]
pub(crate) struct LogHandle {
    path: PathBuf,
    file: File,
    files: LogFiles,
}

impl Handle for LogHandle {
    fn truncate(&self, offset: usize) -> Result<()> {
        let offset = offset as u64;
        let mut recovery = self.files.recovery();
        if !recovery.over {
            let size = self.file.metadata()?.len();
            let mut tail = vec![0; size.saturating_sub(offset) as usize];
            self.file.read_exact_at(&mut tail, offset)?;
            // Allocated but never written: nothing is lost.
            if tail.iter().any(|byte| *byte != 0) {
                recovery.cuts.push(Cut {
                    path: self.path.clone(),
                    offset,
                    tail,
                });
            }
        }
        self.file.set_len(offset)
    }

    fn file_size(&self) -> Result<usize> {
        Ok(self.file.metadata()?.len() as usize)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data()
    }
}

/// A position in a file of the log.
#[derive(Debug)]
pub(crate) struct LogCursor {
    handle: Arc<LogHandle>,
    offset: u64,
}

impl Read for LogCursor {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut recovery = self.handle.files.recovery();
        if !recovery.over {
            match &mut recovery.last_read {
                Some((path, offset)) if *path == self.handle.path => *offset = self.offset,
                last => *last = Some((self.handle.path.clone(), self.offset)),
            }
        }
        drop(recovery);
        let read = self.handle.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Write for LogCursor {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = self.handle.file.write_at(bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Seek for LogCursor {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = |base: u64, by: i64| {
            let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
            base.checked_add_signed(by).ok_or_else(invalid)
        };
        self.offset = match to {
            SeekFrom::Start(offset) => offset,
            SeekFrom::Current(by) => place(self.offset, by)?,
            SeekFrom::End(by) => place(self.handle.file.metadata()?.len(), by)?,
        };
        Ok(self.offset)
    }
}

impl WriteExt for LogCursor {
    fn truncate(&mut self, offset: usize) -> Result<()> {
        self.handle.file.set_len(offset as u64)?;
        self.offset = offset as u64;
        Ok(())
    }

    fn allocate(&mut self, offset: usize, size: usize) -> Result<()> {
        write_zeros(&self.handle.file, offset as u64, size as u64)
    }
}

fn write_zeros(file: &File, offset: u64, bytes: u64) -> Result<()> {
    let zeros = vec![0; bytes.min(PART_BYTES) as usize];
    let (mut at, end) = (offset, offset + bytes);
    while at < end {
        let part = (zeros.len() as u64).min(end - at);
        file.write_all_at(&zeros[..part as usize], at)?;
        at += part;
    }
    Ok(())
}

impl FileSystem for LogFiles {
    type Handle = LogHandle;
    type Reader = LogCursor;
    type Writer = LogCursor;

    fn create<P: AsRef<Path>>(&self, path: P) -> Result<LogHandle> {
        let path = path.as_ref();
        let mut recovery = self.recovery();
        if recovery.over
            && let Some(file) = self.spares.take(path)
        {
            return Ok(self.handle(path, file));
        }
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .clone();
        let handle = self.handle(path, options.open(path)?);
        if !recovery.over {
            recovery.created.push(path.to_owned());
        }
        drop(recovery);
        Ok(handle)
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> Result<LogHandle> {
        let path = path.as_ref();
        let write = permission == Permission::ReadWrite;
        let file = OpenOptions::new().read(true).write(write).open(path)?;
        let mut recovery = self.recovery();
        if !recovery.over {
            let size = file.metadata()?.len();
            let mut head = vec![0; size.min(HEAD_BYTES) as usize];
            file.read_exact_at(&mut head, 0)?;
            recovery.opened.push(Opened {
                path: path.to_owned(),
                size,
                head,
            });
        }
        drop(recovery);
        Ok(self.handle(path, file))
    }

    fn delete<P: AsRef<Path>>(&self, path: P) -> Result<()> {
        match self.recovery().over && self.spares.keep(path.as_ref()) {
            true => Ok(()),
            false => std::fs::remove_file(path),
        }
    }

    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> Result<()> {
        std::fs::rename(from, to)
    }

    fn new_reader(&self, handle: Arc<LogHandle>) -> Result<LogCursor> {
        Ok(LogCursor { handle, offset: 0 })
    }

    fn new_writer(&self, handle: Arc<LogHandle>) -> Result<LogCursor> {
        Ok(LogCursor { handle, offset: 0 })
    }
}
