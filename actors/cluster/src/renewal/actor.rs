//! The actor: one timer, one attempt at a time.

use super::Certify;
use super::schedule::{Left, due, left, retry_after};
use crate::credentials::Credentials;
use jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// No attempt takes longer.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
/// The clock may jump while a timer runs: it is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Messages of the renewal.
#[derive(RactorMessage)]
pub enum RenewalMessage {
    /// Renew, whatever the time is.
    RenewNow,
    /// Look at the clock; stale when another look was planned since.
    Look(u64),
    /// An attempt has ended.
    Attempted(Result<(String, String), String>),
}

pub(super) struct RenewalActor {
    pub(super) credentials: Credentials,
    pub(super) certify: Arc<dyn Certify>,
}

pub(super) struct RenewalState {
    jitter: f64,
    failures: u32,
    /// Whether to renew at the next look.
    wanted: bool,
    attempting: bool,
    /// The number of the look that is planned.
    planned: u64,
    /// Dropped with the state: the attempt and the timers end with the actor.
    tasks: JoinSet<()>,
}

impl Actor for RenewalActor {
    type Msg = RenewalMessage;
    type State = RenewalState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<RenewalMessage>,
        _arguments: (),
    ) -> Result<RenewalState, ActorProcessingErr> {
        myself.cast(RenewalMessage::Look(0))?;
        Ok(RenewalState {
            jitter: rand::random(),
            failures: 0,
            wanted: false,
            attempting: false,
            planned: 0,
            tasks: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<RenewalMessage>,
        message: RenewalMessage,
        state: &mut RenewalState,
    ) -> Result<(), ActorProcessingErr> {
        while state.tasks.try_join_next().is_some() {}
        match message {
            RenewalMessage::RenewNow => {
                state.wanted = true;
                self.look(&myself, state);
            }
            RenewalMessage::Look(number) if number == state.planned => self.look(&myself, state),
            RenewalMessage::Look(_) => {}
            RenewalMessage::Attempted(outcome) => {
                state.attempting = false;
                let outcome = outcome.and_then(|(certificate, bundle)| {
                    let installed = self.credentials.install(&certificate, &bundle);
                    installed.map_err(|error| error.to_string())
                });
                self.attempted(&myself, state, outcome);
            }
        }
        Ok(())
    }
}

impl RenewalActor {
    fn look(&self, myself: &ActorRef<RenewalMessage>, state: &mut RenewalState) {
        if state.attempting {
            return;
        }
        let credentials = &self.credentials;
        let (begins, ends) = (
            credentials.certificate_begins(),
            credentials.certificate_ends(),
        );
        let due = due(begins, ends, state.jitter);
        let now = Timestamp::now();
        if state.wanted || now >= due {
            self.attempt(myself, state);
        } else {
            let wait = Duration::try_from(due.duration_since(now)).unwrap_or(LOOK_EVERY);
            later(myself, state, wait.min(LOOK_EVERY));
        }
    }

    fn attempt(&self, myself: &ActorRef<RenewalMessage>, state: &mut RenewalState) {
        state.attempting = true;
        state.wanted = false;
        let (credentials, certify) = (self.credentials.clone(), self.certify.clone());
        let myself = myself.clone();
        state.tasks.spawn(async move {
            let attempt = async {
                let csr_pem = credentials.csr_pem().map_err(|e| e.to_string())?;
                certify.certify(csr_pem).await.map_err(|e| e.to_string())
            };
            let outcome = tokio::time::timeout(ATTEMPT_LIMIT, attempt).await;
            let outcome = outcome.unwrap_or_else(|_| Err("no server answered in time".to_string()));
            let _ = myself.cast(RenewalMessage::Attempted(outcome));
        });
    }

    fn attempted(
        &self,
        myself: &ActorRef<RenewalMessage>,
        state: &mut RenewalState,
        outcome: Result<(), String>,
    ) {
        let credentials = &self.credentials;
        let (begins, ends) = (
            credentials.certificate_begins(),
            credentials.certificate_ends(),
        );
        let Err(error) = outcome else {
            state.failures = 0;
            state.jitter = rand::random();
            tracing::info!(certificate.ends = %ends, "this node's certificate was renewed");
            match state.wanted {
                true => self.look(myself, state),
                // Not at once, even if the clocks say that it is due again.
                false => later(myself, state, LOOK_EVERY),
            }
            return;
        };
        state.failures = state.failures.saturating_add(1);
        state.wanted = true;
        let now = Timestamp::now();
        match left(begins, ends, now) {
            Left::Enough => {
                tracing::debug!(error, "this node's certificate cannot be renewed yet");
            }
            Left::Little => {
                tracing::warn!(error, certificate.ends = %ends, "this node's certificate ends soon and cannot be renewed");
            }
            Left::Nothing => {
                tracing::error!(error, certificate.ends = %ends, "this node's certificate has ended: it must join anew, with a token");
            }
        }
        let rest = Duration::try_from(ends.duration_since(now)).unwrap_or(Duration::ZERO);
        later(myself, state, retry_after(state.failures, rest));
    }
}

fn later(myself: &ActorRef<RenewalMessage>, state: &mut RenewalState, wait: Duration) {
    let myself = myself.clone();
    state.planned += 1;
    let number = state.planned;
    state.tasks.spawn(async move {
        tokio::time::sleep(wait).await;
        let _ = myself.cast(RenewalMessage::Look(number));
    });
}
