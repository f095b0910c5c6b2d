//! Reminds the actor after a moment in which nothing more was committed.
//!
//! It is asked with nearly every commit of a busy leader and rarely needed: a timer of the runtime
//! would start a task each time, and wake a second thread beside the one that is about to answer a
//! client. This one is the kernel's. It is pushed on before it fires, and only a firing wakes anybody.

use super::message::RaftMessage;
use kabuki_kit::{Bundle, Strand};
use ractor::ActorRef;
use rustix::io;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;

/// Reminds the actor as long as it lives.
pub(super) struct Reminder {
    timer: Arc<OwnedFd>,
    actor: ActorRef<RaftMessage>,
    /// When it fires.
    set_to: Option<Instant>,
    _strand: Strand,
}

impl Reminder {
    // The descriptor is owned, so it is open for as long as it is registered.
    #[allow(deprecated)]
    pub(super) fn new(bundle: &Bundle, actor: ActorRef<RaftMessage>) -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = Arc::new(timerfd_create(TimerfdClockId::Monotonic, flags)?);
        let fired = AsyncFd::new(timer.clone())?;
        let told = actor.clone();
        let strand = bundle.add(async move {
            while let Ok(mut ready) = fired.readable().await {
                // How often it fired; nothing when it was set anew meanwhile.
                match ready.try_io(|timer| Ok(io::read(timer.as_fd(), &mut [0; 8])?)) {
                    // When the actor is gone, so is everyone who would care.
                    Ok(Ok(_)) => drop(told.cast(RaftMessage::Remind)),
                    Ok(Err(_)) => return,
                    Err(_nothing) => {}
                }
            }
        });
        Ok(Self {
            timer,
            actor,
            set_to: None,
            _strand: strand,
        })
    }

    /// Reminds `after` this time, or up to as much later, unless it is set anew before.
    pub(super) fn set(&mut self, after: Duration) {
        let now = Instant::now();
        if self.set_to.is_some_and(|at| at >= now + after) {
            return;
        }
        let late = 2 * after;
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: late.as_secs() as i64,
                tv_nsec: late.subsec_nanos().into(),
            },
        };
        match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once) {
            Ok(_) => self.set_to = Some(now + late),
            Err(error) => {
                tracing::warn!(%error, "a timer cannot be set");
                let _ = self.actor.cast(RaftMessage::Remind);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::ears::ears;
    use rustix::time::timerfd_gettime;
    use tokio::time::{sleep, timeout};

    #[tokio::test]
    async fn it_is_pushed_on_each_time_and_fires_after_the_last() {
        let (actor, mut heard) = ears().await;
        let mut reminder = Reminder::new(&Bundle::new(), actor.clone()).expect("a timer");
        let moment = Duration::from_millis(20);
        let sets = 8;
        for _ in 0..sets {
            let before = Instant::now();
            reminder.set(moment);
            let left = timerfd_gettime(&reminder.timer)
                .expect("it is set")
                .it_value;
            let left = Duration::new(left.tv_sec as u64, left.tv_nsec as u32);
            assert!(left + before.elapsed() >= moment, "too early: {left:?}");
            sleep(moment / 2).await;
        }
        // Once, unless this test was held up between two of them.
        let mut fired = 0;
        while let Ok(message) = timeout(5 * moment, heard.recv()).await {
            assert!(matches!(message, Some(RaftMessage::Remind)));
            fired += 1;
        }
        assert!((1..=sets).contains(&fired), "{fired} times");
        reminder.set(moment);
        heard.recv().await.expect("it fires again");
        actor.stop(None);
    }
}
