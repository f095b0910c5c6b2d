//! The actor: turns messages into calls of the driver.

use super::driver::Driver;
use super::handle::Shared;
use super::message::RaftMessage;
use super::transport::Transport;
use crate::wal::{Report, WalMessage, WalReport};
use crate::watch::WatchMessage;
use kabuki_kit::Slot;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;

/// The Wal is open when this actor starts; it only hands over what it has.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);
/// raft-rs' unit of time, with other servers: elections after 10, heartbeats every 2.
const TICK: Duration = Duration::from_millis(100);
/// How soon a full disk is tried again.
const DISK_RETRY: Duration = Duration::from_millis(200);

pub(crate) struct Raft;

pub(crate) struct RaftArgs {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wal: Slot<WalMessage>,
    pub(crate) watch: Slot<WatchMessage>,
    pub(crate) transport: Arc<dyn Transport>,
}

pub(crate) struct RaftState {
    driver: Driver,
    ticking: bool,
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
        let report: Report = Arc::new(move |report: WalReport| {
            // When the actor is gone, so is everyone who would care.
            let _ = myself.cast(RaftMessage::Wal(report));
        });
        let driver = Driver::start(args, recovered, wal, report)?;
        Ok(RaftState {
            driver,
            ticking: false,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<RaftMessage>,
        state: &mut RaftState,
    ) -> Result<(), ActorProcessingErr> {
        // What no former incarnation has taken waits in the intake.
        let _ = myself.cast(RaftMessage::Flush);
        state.tick_if_needed(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<RaftMessage>,
        message: RaftMessage,
        state: &mut RaftState,
    ) -> Result<(), ActorProcessingErr> {
        let driver = &mut state.driver;
        match message {
            RaftMessage::Flush => driver.propose_waiting()?,
            RaftMessage::Wal(WalReport::NoSpace) => {
                driver.disk_is_full();
                myself.send_after(DISK_RETRY, || RaftMessage::RetryDisk);
            }
            RaftMessage::Wal(report) => driver.reported(report)?,
            RaftMessage::Step(message) => driver.step(*message)?,
            RaftMessage::Tick => driver.tick()?,
            RaftMessage::RetryDisk => driver.retry_disk(),
            RaftMessage::Unreachable(id) => driver.unreachable(id),
        }
        state.tick_if_needed(&myself);
        Ok(())
    }
}

impl RaftState {
    /// Alone there is nobody to lose contact with: an idle server stays idle.
    fn tick_if_needed(&mut self, myself: &ActorRef<RaftMessage>) {
        if !self.ticking && self.driver.has_peers() {
            self.ticking = true;
            myself.send_interval(TICK, || RaftMessage::Tick);
        }
    }
}
