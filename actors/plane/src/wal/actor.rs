//! The actor: owns the threads. Everything else happens between them and the `Raft` actor.

use super::Recovered;
use super::directory::WalError;
use super::log::Log;
use super::writer::{Waiting, WalWriter, describe};
use crate::raft::Start;
use kabuki_kit::Worker;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// More jobs than a leader ever has at once: one flush, one compaction, a fetch per follower.
const WAITING_JOBS: usize = 256;

/// How far the thread of the snapshots stands back; on Linux this is of the calling thread alone.
const SNAPSHOT_NICE: i32 = 10;

/// One that is written, and those that other servers send at the same time.
const SNAPSHOT_JOBS: usize = 8;

#[derive(RactorMessage)]
pub(crate) enum WalMessage {
    /// Hands over what the directory held and the way to write to it. Once per incarnation.
    Attach {
        reply: RpcReplyPort<Option<(Recovered, WalWriter)>>,
    },
}

pub(crate) struct Wal;

#[derive(Clone)]
pub(crate) struct WalArgs {
    pub(crate) directory: PathBuf,
    pub(crate) id: u64,
    pub(crate) start: Start,
}

pub(crate) struct WalState {
    /// Until the `Raft` actor has it.
    recovered: Option<Recovered>,
    writer: WalWriter,
}

type Opened = Arc<Mutex<Option<Result<Recovered, WalError>>>>;

impl Actor for Wal {
    type Msg = WalMessage;
    type State = WalState;
    type Arguments = WalArgs;

    async fn pre_start(
        &self,
        _myself: ActorRef<WalMessage>,
        args: WalArgs,
    ) -> Result<WalState, ActorProcessingErr> {
        let opened = Opened::default();
        let log = Worker::spawn("wal", WAITING_JOBS, opener(args.clone(), opened.clone()))?;
        // Opening fails with the thread's own error, which says more than the worker can.
        let ready = log.run(|_| ()).await;
        let outcome = opened.lock().unwrap_or_else(PoisonError::into_inner).take();
        let recovered = match (outcome, ready) {
            (Some(Ok(recovered)), Ok(())) => recovered,
            (Some(Err(e)), _) => return Err(describe(&e).into()),
            (_, Err(e)) => return Err(e.into()),
            (None, Ok(())) => return Err("the log opened without a state".into()),
        };
        let writer = WalWriter {
            root: args.directory,
            log: Arc::new(log),
            snapshots: Arc::new(Worker::spawn("snapshots", SNAPSHOT_JOBS, || {
                // Writes, and whoever waits for them, go first. As it was is good enough.
                let _ = rustix::process::setpriority_process(None, SNAPSHOT_NICE);
                Ok::<_, WalError>(())
            })?),
            waiting: Arc::new(Waiting::default()),
        };
        Ok(WalState {
            recovered: Some(recovered),
            writer,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<WalMessage>,
        message: WalMessage,
        state: &mut WalState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WalMessage::Attach { reply } => {
                let recovered = state.recovered.take();
                let _ = reply.send(recovered.map(|r| (r, state.writer.clone())));
            }
        }
        Ok(())
    }
}

/// Opens the log once. After a panic the thread gets no second log: what the first had in memory
/// is gone, so the whole group must start again from the disk.
fn opener(
    args: WalArgs,
    opened: Opened,
) -> impl FnMut() -> Result<Log, &'static str> + Send + 'static {
    let mut first = true;
    move || {
        if !std::mem::take(&mut first) {
            return Err("the log's thread has failed");
        }
        let outcome = Log::open(&args.directory, args.id, args.start);
        let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok((log, recovered)) => {
                *opened = Some(Ok(recovered));
                Ok(log)
            }
            Err(e) => {
                *opened = Some(Err(e));
                Err("it cannot be opened")
            }
        }
    }
}
