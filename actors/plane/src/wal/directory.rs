//! The data directory: its version, its lock, and what can be wrong with it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The content of the FORMAT file. A change of any file's meaning changes the number.
const FORMAT: &str = "kabuki state 1\n";

/// The file with the id of the server.
const SERVER: &str = "server";

/// The mode of the directory.
const PRIVATE: u32 = 0o700;

/// A predecessor that was told to end may need a moment to do so.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// What to do when something that was acknowledged cannot be read.
pub(crate) const RESTORE: &str = "restore the directory from a backup";

/// Why the state cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system refused something.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no room left; what is on disk already is unharmed.
    #[error("no space left for {}", path.display())]
    NoSpace {
        /// For which file.
        path: PathBuf,
    },
    /// Another process uses the directory.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Written by a program with another layout.
    #[error(
        "{} says {found:?}, this program reads only {:?}: use the program that wrote it",
        path.display(), FORMAT.trim()
    )]
    Format {
        /// The FORMAT file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// There is no state, and none was to be made.
    #[error("{} has no state", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// There is a state where none may be.
    #[error("{} has a state already: remove it first, or use another directory", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory was made for a server with another id.
    #[error(
        "{} is the state of server {found}, this is server {id}: use that server's own directory",
        path.display()
    )]
    OtherServer {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who asks.
        id: u64,
    },
    /// A file is missing, truncated or damaged. Nothing was changed.
    #[error("{}: {what}: nothing was changed; {remedy}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
        /// What the operator can do.
        remedy: String,
    },
    /// The caller asked for something that would break the log; nothing was written.
    #[error("entry {index} does not follow the log, which ends at {last}")]
    Gap {
        /// The entry.
        index: u64,
        /// Where the log ends.
        last: u64,
    },
    /// The log refused for a reason that is not the disk's.
    #[error("cannot {what} the log in {}: {message}", path.display())]
    Log {
        /// What was tried.
        what: &'static str,
        /// The log's directory.
        path: PathBuf,
        /// What the log said.
        message: String,
    },
}

impl WalError {
    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { what, path, source },
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what: what.into(),
            remedy: RESTORE.to_owned(),
        }
    }
}

/// An open, locked directory.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    lock: File,
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is being started at this moment may
        // hold a copy of it until it runs its own program.
        let _ = self.lock.unlock();
    }
}

impl Directory {
    /// Opens and locks the directory, making it when it is not there. `true` when it has no
    /// state yet: then the caller writes the first files and calls [`finish`](Self::finish).
    pub(crate) fn open(root: &Path) -> Result<(Self, bool), WalError> {
        // Secrets are in the log and in snapshots: nobody else may get to them.
        let made = DirBuilder::new().recursive(true).mode(PRIVATE).create(root);
        made.map_err(|e| WalError::io("create", root, e))?;
        let closed = std::fs::set_permissions(root, Permissions::from_mode(PRIVATE));
        closed.map_err(|e| WalError::io("close to others", root, e))?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let lock = lock.map_err(|e| WalError::io("open", &path, e))?;
        let since = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if since.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PATIENCE / 50);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(WalError::InUse {
                        path: root.to_owned(),
                    });
                }
                Err(TryLockError::Error(e)) => return Err(WalError::io("lock", &path, e)),
            }
        }
        let directory = Self {
            root: root.to_owned(),
            lock,
        };
        let fresh = directory.check()?;
        Ok((directory, fresh))
    }

    fn check(&self) -> Result<bool, WalError> {
        let path = self.format();
        match std::fs::read_to_string(&path) {
            Ok(found) if found == FORMAT => Ok(false),
            Ok(found) => Err(WalError::Format {
                path,
                found: found.trim().to_owned(),
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // The log is only made after FORMAT, so this is no interrupted first start.
                if self.log().exists() {
                    return Err(WalError::damaged(&path, "missing, although there is a log"));
                }
                Ok(true)
            }
            Err(e) if e.kind() == ErrorKind::InvalidData => {
                Err(WalError::damaged(&path, "not a text"))
            }
            Err(e) => Err(WalError::io("read", &path, e)),
        }
    }

    /// Declares the directory complete.
    pub(crate) fn finish(&self) -> Result<(), WalError> {
        write_whole(&self.format(), |file| file.write_all(FORMAT.as_bytes()))
    }

    /// The server that the directory was made for; directories of an earlier program do not say.
    pub(crate) fn server(&self) -> Result<Option<u64>, WalError> {
        server(&self.root)
    }

    /// Says which server the directory is for.
    pub(crate) fn set_server(&self, id: u64) -> Result<(), WalError> {
        let path = self.root.join(SERVER);
        write_whole(&path, |file| file.write_all(format!("{id}\n").as_bytes()))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn synced(&self) -> PathBuf {
        self.root.join("synced")
    }

    fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }
}

/// The id in a directory's `server` file, if there is one.
pub(crate) fn server(root: &Path) -> Result<Option<u64>, WalError> {
    let path = root.join(SERVER);
    match std::fs::read(&path) {
        Ok(content) => {
            let text = String::from_utf8_lossy(&content);
            let id = text.trim().parse().ok().filter(|id| *id != 0);
            let damaged = || WalError::damaged(&path, "not the id of a server");
            id.map(Some).ok_or_else(damaged)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(WalError::io("read", &path, e)),
    }
}

/// Writes a file so that after a crash it is there completely or not at all.
pub(crate) fn write_whole(
    path: &Path,
    content: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), WalError> {
    let temporary = path.with_extension("new");
    let written = File::create(&temporary).and_then(|mut file| {
        content(&mut file)?;
        file.sync_all()
    });
    if let Err(e) = written {
        // It is of no use, and room may be what is missing.
        let _ = std::fs::remove_file(&temporary);
        return Err(WalError::io("write", path, e));
    }
    std::fs::rename(&temporary, path).map_err(|e| WalError::io("rename to", path, e))?;
    sync_parent(path)
}

/// Makes created, renamed and removed names durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), WalError> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(parent).and_then(|d| d.sync_all());
    synced.map_err(|e| WalError::io("sync", parent, e))
}

/// Bytes that may still be written to the file system of `path`.
pub(crate) fn room(path: &Path) -> Result<u64, WalError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| WalError::io("look at", path, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
