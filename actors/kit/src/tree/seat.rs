//! One path's place in the tree, and the counters of its incarnations.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ractor::{ActorCell, ActorStatus};
use tokio::sync::watch;

use super::info::{ActorInfo, ActorKind, ActorState};

/// What the supervisor means to do with the path while no incarnation lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Restarting,
    Stopped,
}

/// The place of one path. Lives over restarts.
#[derive(Debug)]
pub(crate) struct Seat {
    path: Arc<str>,
    supervisor: AtomicBool,
    starts: AtomicU64,
    restarts: AtomicU64,
    handled: AtomicU64,
    longest_ns: AtomicU64,
    now: Mutex<Now>,
}

/// Counts what one incarnation has waiting and what it is doing.
#[derive(Debug)]
pub(crate) struct Mailbox {
    born: Instant,
    waiting: AtomicU64,
    /// Nanoseconds from `born` to the start of the current handler, plus one; 0 when idle.
    busy_since: AtomicU64,
}

/// Held by everything that belongs to an incarnation: its state and its threads. When the last
/// clone is dropped the incarnation is gone.
#[derive(Debug, Clone)]
pub(crate) struct Occupancy {
    _held: Arc<watch::Sender<()>>,
}

#[derive(Debug)]
struct Now {
    phase: Phase,
    failure: Option<String>,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    cell: ActorCell,
    gone: watch::Receiver<()>,
    mailbox: Arc<Mailbox>,
}

tokio::task_local! {
    static CURRENT: Occupancy;
}

/// Runs `future` so that what it starts can find whose it is.
pub(crate) async fn within<F: Future>(occupancy: &Occupancy, future: F) -> F::Output {
    CURRENT.scope(occupancy.clone(), future).await
}

/// The incarnation whose handler is running, if any.
pub(crate) fn current_occupancy() -> Option<Occupancy> {
    CURRENT.try_with(Clone::clone).ok()
}

impl Seat {
    pub(super) fn new(path: Arc<str>) -> Self {
        Self {
            path,
            supervisor: AtomicBool::new(false),
            starts: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
            now: Mutex::new(Now {
                phase: Phase::Starting,
                failure: None,
                live: None,
            }),
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn mark_supervisor(&self) {
        self.supervisor.store(true, Ordering::Relaxed);
    }

    /// A new incarnation sits down.
    pub(crate) fn occupy(&self, cell: ActorCell, mailbox: Arc<Mailbox>) -> Occupancy {
        let (held, gone) = watch::channel(());
        self.starts.fetch_add(1, Ordering::Relaxed);
        let mut now = self.now();
        now.phase = Phase::Starting;
        now.live = Some(Live {
            cell,
            gone,
            mailbox,
        });
        Occupancy {
            _held: Arc::new(held),
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.now().phase = phase;
    }

    pub(crate) fn record_failure(&self, text: &str) {
        self.now().failure = Some(text.to_owned());
    }

    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Kills the present incarnation; `false` when there is none.
    pub(crate) fn kill(&self) -> bool {
        let cell = self.now().live.as_ref().map(|live| live.cell.clone());
        match cell {
            Some(cell) if cell.get_status() != ActorStatus::Stopped => {
                cell.kill();
                true
            }
            _ => false,
        }
    }

    /// Resolves when the present incarnation is gone; `None` when there is none.
    pub(crate) fn gone(&self) -> Option<impl Future<Output = ()> + use<>> {
        let mut gone = self.now().live.as_ref()?.gone.clone();
        // Nothing is ever sent: the channel only closes.
        Some(async move { while gone.changed().await.is_ok() {} })
    }

    pub(crate) fn count_handled(&self, took: Duration, message: bool) {
        if message {
            self.handled.fetch_add(1, Ordering::Relaxed);
        }
        self.longest_ns.fetch_max(nanos(took), Ordering::Relaxed);
    }

    pub(super) fn info(&self, at: Instant) -> ActorInfo {
        let now = self.now();
        let live = now
            .live
            .as_ref()
            .filter(|live| live.gone.has_changed().is_ok());
        let state = match (live.map(|live| live.cell.get_status()), now.phase) {
            (Some(ActorStatus::Unstarted | ActorStatus::Starting), _) => ActorState::Starting,
            (Some(ActorStatus::Running | ActorStatus::Upgrading), _) => ActorState::Running,
            (Some(_), _) => ActorState::Stopping,
            (None, Phase::Starting) => ActorState::Starting,
            (None, Phase::Restarting) => ActorState::Restarting,
            (None, Phase::Stopped) => ActorState::Stopped,
        };
        let busy_for = live.and_then(|live| live.mailbox.busy_for(at));
        let longest = Duration::from_nanos(self.longest_ns.load(Ordering::Relaxed));
        ActorInfo {
            path: self.path.to_string(),
            kind: match self.supervisor.load(Ordering::Relaxed) {
                true => ActorKind::Supervisor,
                false => ActorKind::Worker,
            },
            state,
            starts: self.starts.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
            handled: self.handled.load(Ordering::Relaxed),
            mailbox: live.map_or(0, |live| live.mailbox.waiting.load(Ordering::Relaxed)),
            longest_handler: longest.max(busy_for.unwrap_or_default()),
            busy_for,
            up_for: live.map(|live| at.saturating_duration_since(live.mailbox.born)),
            last_failure: now.failure.clone(),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            waiting: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
        }
    }

    /// Counted before the send, so that the receiver cannot count down first.
    pub(crate) fn count_send(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A message was taken, or a counted send failed. Stays at 0 when the message was not counted
    /// on its way in: see [`ActorInfo::mailbox`].
    pub(crate) fn count_taken(&self) {
        let down = |waiting: u64| Some(waiting.saturating_sub(1));
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, down);
    }

    pub(crate) fn begin(&self, at: Instant) {
        let since = nanos(at.saturating_duration_since(self.born)).saturating_add(1);
        self.busy_since.store(since, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    fn busy_for(&self, at: Instant) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed).checked_sub(1)?;
        let age = at.saturating_duration_since(self.born);
        Some(age.saturating_sub(Duration::from_nanos(since)))
    }
}

/// 584 years fit; more is cut.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
