//! Knowing that a log may have grown, or that no more will come.

use crate::services::PodEntry;
use kabuki_lifecycle::Instance;
use kabuki_lifecycle::machine::Life;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Watches the directory of a log and the state of its container.
pub(super) struct Follower {
    entry: Arc<PodEntry>,
    instance: Instance,
    files: AsyncFd<OwnedFd>,
    states: watch::Receiver<u64>,
}

impl Follower {
    // The descriptor is owned, so it is open for as long as it is registered.
    #[allow(deprecated)]
    pub fn new(entry: &Arc<PodEntry>, instance: &Instance, path: &Path) -> io::Result<Self> {
        let states = entry.changes();
        let files = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        // The directory, because rotation renames the file and makes another one.
        let dir = path.parent().unwrap_or(path);
        add_watch(
            &files,
            dir,
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO,
        )?;
        Ok(Self {
            entry: entry.clone(),
            instance: instance.clone(),
            files: AsyncFd::new(files)?,
            states,
        })
    }

    /// Whether the instance writes no more.
    pub fn has_ended(&self) -> bool {
        let state = self.entry.state();
        let held = state.iter().flat_map(|s| &s.containers);
        let held = held.into_iter().find(|c| c.name == self.instance.container);
        held.is_none_or(|c| {
            c.attempt != Some(self.instance.attempt)
                || matches!(c.life, Life::Waiting { .. } | Life::Ended(_))
        })
    }

    /// Waits until something may have changed.
    pub async fn changed(&mut self) -> io::Result<()> {
        tokio::select! {
            ready = self.files.readable() => {
                let mut ready = ready?;
                let mut buffer = [0u8; 4096];
                // What exactly changed does not matter: the files are looked at anyway.
                while let Ok(Ok(1..)) =
                    ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?))
                {}
                Ok(())
            }
            _ = self.states.changed() => Ok(()),
        }
    }
}
