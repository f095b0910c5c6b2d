//! The actor: hands messages to the driver, and keeps time.

use super::bell::Bell;
use super::driver::{DriveError, Driver};
use super::handle::Shared;
use super::hands::Later;
use super::message::RaftMessage;
use super::reminder::Reminder;
use super::transport::Transport;
use crate::wal::{WalMessage, WalReport};
use crate::watch::WatchMessage;
use kabuki_kit::{Bundle, Slot};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The Wal is open when this actor starts; it only hands over what it has.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);
/// The core's unit of time, with other servers: elections after 500 to 1000 ms of silence.
const TICK: Duration = Duration::from_millis(50);
/// Ticks that come closer to each other waited while the actor was busy or the machine slept:
/// time in which nobody else was heard either, so that they say nothing about the others.
const LEAST_TICK: Duration = Duration::from_millis(25);
/// How soon a full disk is tried again.
const DISK_RETRY: Duration = Duration::from_millis(200);

pub(crate) struct Raft;

pub(crate) struct RaftArgs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wal: Slot<WalMessage>,
    pub(crate) watch: Slot<WatchMessage>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) bundle: Bundle,
}

pub(crate) struct RaftState {
    driver: Driver,
    bell: Bell,
    ticking: bool,
    ticked: Instant,
}

impl Actor for Raft {
    type Msg = RaftMessage;
    type State = RaftState;
    type Arguments = RaftArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RaftMessage>,
        args: RaftArgs,
    ) -> Result<RaftState, ActorProcessingErr> {
        let attached = args
            .wal
            .call(|reply| WalMessage::Attach { reply }, ATTACH_LIMIT)
            .await?;
        let (recovered, wal) = attached.ok_or("the log was handed over already")?;
        let bell = Bell::new(&args.bundle, myself.clone())?;
        let report = bell.report(args.transport.clone());
        let reminder = Reminder::new(&args.bundle, myself.clone())?;
        let later: Later = Box::new(move |after, message| {
            myself.send_after(after, move || message);
        });
        let driver = Driver::start(args, recovered, wal, report, later, reminder)?;
        Ok(RaftState {
            driver,
            bell,
            ticking: false,
            ticked: Instant::now(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<RaftMessage>,
        state: &mut RaftState,
    ) -> Result<(), ActorProcessingErr> {
        // What no former incarnation has taken waits in the intake and in the queue of reads.
        let _ = myself.cast(RaftMessage::Flush);
        let _ = myself.cast(RaftMessage::Read);
        state.tick_if_needed(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<RaftMessage>,
        message: RaftMessage,
        state: &mut RaftState,
    ) -> Result<(), ActorProcessingErr> {
        match &message {
            // First let those run who were just answered, or woken together with the one that
            // sent this: what they propose goes into the same entry and the same sync.
            RaftMessage::Flush if state.driver.crowded() => tokio::task::yield_now().await,
            RaftMessage::Tick if state.too_soon() => return Ok(()),
            _ => {}
        }
        state.take_reports(&myself, state.bell.take())?;
        state.driver.handle(message)?;
        loop {
            let missed = state.bell.listen(state.driver.waits_for_disk());
            if missed.is_empty() {
                break;
            }
            state.take_reports(&myself, missed)?;
        }
        state.tick_if_needed(&myself);
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<RaftMessage>,
        state: &mut RaftState,
    ) -> Result<(), ActorProcessingErr> {
        state.driver.stopping();
        Ok(())
    }
}

impl RaftState {
    fn take_reports(
        &mut self,
        myself: &ActorRef<RaftMessage>,
        reports: Vec<WalReport>,
    ) -> Result<(), DriveError> {
        for report in reports {
            if matches!(report, WalReport::NoSpace) {
                myself.send_after(DISK_RETRY, || RaftMessage::RetryDisk);
            }
            self.driver.reported(report)?;
        }
        Ok(())
    }

    /// Alone there is nobody to lose contact with: an idle server stays idle.
    fn tick_if_needed(&mut self, myself: &ActorRef<RaftMessage>) {
        if !self.ticking && self.driver.needs_ticks() {
            self.ticking = true;
            myself.send_interval(TICK, || RaftMessage::Tick);
        }
    }

    fn too_soon(&mut self) -> bool {
        let now = Instant::now();
        let too_soon = now.duration_since(self.ticked) < LEAST_TICK;
        if !too_soon {
            self.ticked = now;
        }
        too_soon
    }
}
