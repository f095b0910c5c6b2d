//! A term of office: what only the leader runs. The actor follows Raft's leadership; when this
//! server begins to lead it starts the office, when it ceases to it stops it. What the office
//! writes is bound to its term.
//!
//! ```text
//! leading (rest-for-one)
//! ├── offices (one-for-one)
//! │   └── office-7 (one-for-one)    controllers, scheduler, liveness, membership of term 7
//! └── tenure
//! ```

use crate::raft::RaftHandle;
use kabuki_kit::{ChildSpec, Restart, Slot, Strategy, SupervisorHandle, SupervisorSpec};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long starting or stopping an office may take; stopping ends tasks, it waits for no writes.
const LIMIT: Duration = Duration::from_secs(10);

#[derive(RactorMessage)]
enum TenureMessage {
    /// Leadership has changed.
    Look,
}

/// What the leader of a term runs.
pub(crate) type Office = Arc<dyn Fn(u64) -> SupervisorSpec + Send + Sync>;

struct Tenure {
    raft: RaftHandle,
    offices: SupervisorHandle,
    office: Office,
}

struct TenureState {
    /// The term of the office that runs.
    running: Option<u64>,
    following: JoinHandle<()>,
}

impl Drop for TenureState {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// What a supervisor starts.
pub(crate) fn leading_child(raft: &RaftHandle, office: Office) -> ChildSpec {
    let raft = raft.clone();
    ChildSpec::supervisor("leading", move |_place| {
        let offices = SupervisorHandle::new("offices");
        let handle = offices.clone();
        let (raft, office) = (raft.clone(), office.clone());
        SupervisorSpec::new(Strategy::RestForOne)
            .intensity(16, Duration::from_secs(30))
            .child(ChildSpec::supervisor("offices", move |_place| {
                SupervisorSpec::new(Strategy::OneForOne).handle(&handle)
            }))
            .child(ChildSpec::worker(
                "tenure",
                &Slot::new("tenure"),
                move |_place| {
                    let tenure = Tenure {
                        raft: raft.clone(),
                        offices: offices.clone(),
                        office: office.clone(),
                    };
                    (tenure, ())
                },
            ))
    })
}

impl Actor for Tenure {
    type Msg = TenureMessage;
    type State = TenureState;
    type Arguments = ();

    async fn pre_start(
        &self,
        myself: ActorRef<TenureMessage>,
        (): (),
    ) -> Result<TenureState, ActorProcessingErr> {
        // A former incarnation may have left one.
        for child in self.offices.which_children(LIMIT).await? {
            self.offices.terminate_child(&child.name, LIMIT).await?;
        }
        let mut changes = self.raft.leadership();
        let following = tokio::spawn(async move {
            loop {
                changes.mark_unchanged();
                if myself.cast(TenureMessage::Look).is_err() || changes.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(TenureState {
            running: None,
            following,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<TenureMessage>,
        TenureMessage::Look: TenureMessage,
        state: &mut TenureState,
    ) -> Result<(), ActorProcessingErr> {
        let now = *self.raft.leadership().borrow();
        let wanted = now.leading.then_some(now.term);
        if state.running == wanted {
            return Ok(());
        }
        if let Some(term) = state.running.take() {
            tracing::info!(term, "this server leads no more");
            self.offices.terminate_child(&name(term), LIMIT).await?;
        }
        if let Some(term) = wanted {
            tracing::info!(term, "this server leads");
            let office = self.office.clone();
            let child = ChildSpec::supervisor(&name(term), move |_place| office(term));
            let child = child.restart(Restart::Permanent);
            self.offices.start_child(child, LIMIT).await?;
            state.running = Some(term);
        }
        Ok(())
    }
}

fn name(term: u64) -> String {
    format!("office-{term}")
}
