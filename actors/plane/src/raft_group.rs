//! The raft group: everything that holds the state.
//!
//! ```text
//!   raft-group (one for all)
//!   ├── wal      opens the directory; refuses it when it is damaged
//!   ├── watch    the history outlives it
//!   └── raft     replays the log, leads when it is alone or elected
//! ```
//!
//! All or none: what one of them has in memory is only right together with what the others have.
//! After a restart the state comes from the disk again. Handles go on working: what was not yet
//! proposed still is, what was proposed and not answered ends as
//! [`Interrupted`](crate::raft::RaftError::Interrupted), watches resume by revision.

use crate::raft::{NoTransport, Raft, RaftArgs, RaftConfig, RaftHandle, Transport};
use crate::wal::{Wal, WalArgs};
use crate::watch::{Watch, WatchArgs, WatchConfig, WatchHandle};
use kabuki_kit::{Bundle, ChildSpec, Root, Slot, StartError, Strategy, SupervisorSpec, Tree};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Reading a very large state takes a while; waiting for it is better than beginning again.
const OPEN_LIMIT: Duration = Duration::from_secs(600);

/// What a raft group is made of.
#[derive(Clone)]
pub struct RaftGroupArgs {
    /// The directory of the state; made when it is not there. Nothing else belongs in it.
    pub directory: PathBuf,
    /// How this server takes part.
    pub raft: RaftConfig,
    /// The bounds of watching.
    pub watch: WatchConfig,
    /// The way to other servers.
    pub transport: Arc<dyn Transport>,
    /// Where the log's reports are waited for, with whatever else wakes Raft.
    pub bundle: Bundle,
}

impl RaftGroupArgs {
    /// A cluster of one.
    pub fn single(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            raft: RaftConfig::single(),
            watch: WatchConfig::default(),
            transport: Arc::new(NoTransport),
            bundle: Bundle::new(),
        }
    }
}

/// The handles of a raft group. They may be made long before it runs.
#[derive(Debug, Clone)]
pub struct RaftGroup {
    /// Writes and reads.
    pub raft: RaftHandle,
    /// Watches.
    pub watch: WatchHandle,
}

impl RaftGroup {
    /// The handles of a group that is yet to run.
    pub fn new(args: &RaftGroupArgs) -> Self {
        let raft = RaftHandle::new(args.raft.clone(), args.directory.clone());
        let watch = WatchHandle::new(raft.clone(), args.watch);
        Self { raft, watch }
    }

    /// What a supervisor starts.
    pub fn child(&self, args: RaftGroupArgs) -> ChildSpec {
        let handles = self.clone();
        let child = ChildSpec::supervisor("raft-group", move |_place| supervisor(&handles, &args));
        child.start_timeout(OPEN_LIMIT)
    }
}

/// Starts a raft group as a tree of its own. Returns when the directory is open.
pub async fn start_raft_group(
    tree: &Tree,
    args: RaftGroupArgs,
) -> Result<(RaftGroup, Root), StartError> {
    let group = RaftGroup::new(&args);
    let root = Root::start(tree, "raft-group", supervisor(&group, &args)).await?;
    Ok((group, root))
}

fn supervisor(group: &RaftGroup, args: &RaftGroupArgs) -> SupervisorSpec {
    let wal = Slot::new("wal");
    let (directory, id, start) = (args.directory.clone(), args.raft.id, args.raft.start);
    let log = ChildSpec::worker("wal", &wal, move |_place| {
        (
            Wal,
            WalArgs {
                directory: directory.clone(),
                id,
                start,
            },
        )
    });
    let handle = group.watch.clone();
    let watch = ChildSpec::worker("watch", group.watch.slot(), move |_place| {
        let bookmark_interval = handle.config().bookmark_interval;
        (
            Watch,
            WatchArgs {
                history: handle.history().clone(),
                bookmark_interval,
            },
        )
    });
    let (handles, transport, bundle) = (group.clone(), args.transport.clone(), args.bundle.clone());
    let raft = ChildSpec::worker("raft", group.raft.slot(), move |_place| {
        let args = RaftArgs {
            shared: handles.raft.shared().clone(),
            wal: wal.clone(),
            watch: handles.watch.slot().clone(),
            transport: transport.clone(),
            bundle: bundle.clone(),
        };
        (Raft, args)
    });
    SupervisorSpec::new(Strategy::OneForAll)
        .intensity(10, Duration::from_secs(30))
        .child(log.start_timeout(OPEN_LIMIT))
        .child(watch)
        .child(raft.start_timeout(OPEN_LIMIT))
}
