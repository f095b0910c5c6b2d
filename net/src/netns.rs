//! A network namespace held open by a file descriptor.
//!
//! Which namespace a thread is in is the thread's own property, so work inside another
//! namespace runs on a thread that is made for it and ends with it; an async worker never
//! changes its namespace. A socket belongs for life to the namespace in which it was made.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::NetError;

/// The namespace of the calling thread, as the kernel shows it.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// Stack of a namespace thread: the work is shallow, and many may run at once.
const STACK_BYTES: usize = 256 * 1024;

/// A network namespace. Cloning shares the descriptor; the namespace lives at least as long
/// as any clone.
#[derive(Debug, Clone)]
pub struct Netns {
    fd: Arc<OwnedFd>,
    label: Arc<str>,
}

impl Netns {
    /// Opens a namespace by path, such as `/run/netns/x` or `/proc/7/ns/net`.
    ///
    /// # Errors
    /// [`NetError::OpenNetns`], naming the path.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NetError> {
        let path = path.as_ref();
        let label = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(Self::from_fd(file.into(), label)),
            Err(source) => Err(NetError::OpenNetns {
                netns: label,
                source,
            }),
        }
    }

    /// Takes an open namespace descriptor. `label` is what errors call it.
    pub fn from_fd(fd: OwnedFd, label: impl Into<Arc<str>>) -> Self {
        Self {
            fd: Arc::new(fd),
            label: label.into(),
        }
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// [`NetError::OpenNetns`].
    pub fn current() -> Result<Self, NetError> {
        Self::open(OWN_NETNS)
    }

    /// Makes a new, empty namespace. It lives as long as it is held (or as long as a process
    /// or mount holds it). Blocks for the life of a short thread.
    ///
    /// # Errors
    /// [`NetError::CreateNetns`]; making one needs `CAP_SYS_ADMIN`.
    pub fn create() -> Result<Self, NetError> {
        let thread = std::thread::Builder::new()
            .name("netns-create".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(|| {
                // SAFETY: unshare takes no pointers; it moves only this thread, which ends
                // right after, into a new network namespace.
                if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                    return Err(io::Error::last_os_error());
                }
                File::open(OWN_NETNS)
            })
            .map_err(|source| NetError::CreateNetns { source })?;
        match thread.join() {
            Ok(Ok(file)) => Ok(Self::from_fd(file.into(), "(unnamed)")),
            Ok(Err(source)) => Err(NetError::CreateNetns { source }),
            Err(_) => Err(NetError::NetnsThread {
                netns: "(unnamed)".to_owned(),
                reason: "it panicked".to_owned(),
            }),
        }
    }

    /// What errors call this namespace.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Runs `work` on a thread of its own inside the namespace.
    ///
    /// # Errors
    /// When the thread cannot start, cannot enter the namespace, or panics.
    pub async fn run<T, F>(&self, work: F) -> Result<T, NetError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (result_tx, result_rx) = oneshot::channel();
        self.spawn(move |entered| {
            // The caller may have gone away, which is its right.
            let _ = result_tx.send(entered.map(|()| work()));
        })?;
        match result_rx.await {
            Ok(result) => result,
            Err(_) => Err(self.thread_failed("it panicked")),
        }
    }

    /// As [`Netns::run`], for callers that may block.
    ///
    /// # Errors
    /// As [`Netns::run`].
    pub fn run_blocking<T, F>(&self, work: F) -> Result<T, NetError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (result_tx, result_rx) = std::sync::mpsc::sync_channel(1);
        self.spawn(move |entered| {
            let _ = result_tx.send(entered.map(|()| work()));
        })?;
        match result_rx.recv() {
            Ok(result) => result,
            Err(_) => Err(self.thread_failed("it panicked")),
        }
    }

    fn spawn<F>(&self, work: F) -> Result<(), NetError>
    where
        F: FnOnce(Result<(), NetError>) + Send + 'static,
    {
        let netns = self.clone();
        std::thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let entered = netns.enter();
                work(entered);
            })
            .map(drop)
            .map_err(|error| self.thread_failed(&error.to_string()))
    }

    fn enter(&self) -> Result<(), NetError> {
        // SAFETY: the descriptor is open for as long as `self` lives; setns takes no pointers
        // and moves only the calling thread, which exists for this namespace alone.
        if unsafe { libc::setns(self.fd.as_raw_fd(), libc::CLONE_NEWNET) } == 0 {
            return Ok(());
        }
        Err(NetError::EnterNetns {
            netns: self.label.to_string(),
            source: io::Error::last_os_error(),
        })
    }

    fn thread_failed(&self, reason: &str) -> NetError {
        NetError::NetnsThread {
            netns: self.label.to_string(),
            reason: reason.to_owned(),
        }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Netns {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
