//! What [`Tree::snapshot`](crate::Tree::snapshot) tells of one actor: plain data.

use std::fmt;
use std::time::Duration;

/// What an actor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// Does work.
    Worker,
    /// Starts and heals other actors.
    Supervisor,
}

/// Where an actor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorState {
    /// In `pre_start` or `post_start`.
    Starting,
    /// Takes messages.
    Running,
    /// Finishing: `post_stop` runs, or its state is being dropped.
    Stopping,
    /// Failed; its supervisor is about to start it again.
    Restarting,
    /// Ended, and not to be started again.
    Stopped,
}

/// One line of the live actor tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorInfo {
    /// Names from the root down, joined by `/`.
    pub path: String,
    /// Worker or supervisor.
    pub kind: ActorKind,
    /// Where it is in its life.
    pub state: ActorState,
    /// How many incarnations have begun, the first included. Grows with every (re)start, also
    /// when a supervisor above was the one to fail.
    pub starts: u64,
    /// How often its own supervisor restarted it because of it.
    pub restarts: u64,
    /// Messages handled, over all incarnations.
    pub handled: u64,
    /// Messages waiting, the one in process not counted. Exact as long as all senders use the
    /// actor's [`Slot`](crate::Slot); messages that bypass it (timers, an actor's messages to
    /// itself) are not seen, so the figure is a lower bound, off by at most the number of those
    /// sent since the mailbox was last empty.
    pub mailbox: u64,
    /// The longest that one handler took, over all incarnations, the current one included.
    pub longest_handler: Duration,
    /// For how long the current handler has run; `None` when idle.
    pub busy_for: Option<Duration>,
    /// Age of the present incarnation; `None` when there is none.
    pub up_for: Option<Duration>,
    /// The text of the last failure.
    pub last_failure: Option<String>,
}

impl ActorInfo {
    /// The last name in the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// How many actors are above; 0 for a root.
    pub fn depth(&self) -> usize {
        self.path.matches('/').count()
    }
}

impl fmt::Display for ActorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker",
            Self::Supervisor => "supervisor",
        })
    }
}

impl fmt::Display for ActorState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Restarting => "restarting",
            Self::Stopped => "stopped",
        })
    }
}
