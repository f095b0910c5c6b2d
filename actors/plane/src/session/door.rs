//! The doors behind the node's port that lead to sessions, as one child of the node's tree.

use super::actor::session_child;
use super::{MAX_SESSIONS, Services};
use kabuki_cluster::seams::{Door, Visitor};
use kabuki_kit::{ChildSpec, Strategy, SupervisorHandle, SupervisorSpec};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long starting a session's actor may take.
const START_LIMIT: Duration = Duration::from_secs(5);
/// How long one who comes when all sessions are taken waits for one to end.
const ROOM_LIMIT: Duration = Duration::from_secs(10);

/// The sessions of this node. Clones share them.
#[derive(Clone)]
pub struct Sessions {
    supervisor: SupervisorHandle,
    room: Arc<Semaphore>,
    number: Arc<AtomicU64>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            supervisor: SupervisorHandle::new("sessions"),
            room: Arc::new(Semaphore::new(MAX_SESSIONS)),
            number: Arc::new(AtomicU64::new(1)),
        }
    }
}

impl Sessions {
    /// The door to sessions with these services.
    pub fn door(&self, services: Services) -> Arc<dyn Door> {
        Arc::new(SessionDoor {
            sessions: self.clone(),
            services,
        })
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let sessions = self.supervisor.clone();
        ChildSpec::supervisor("sessions", move |_place| {
            SupervisorSpec::new(Strategy::OneForOne)
                .never_give_up()
                .handle(&sessions)
        })
    }
}

struct SessionDoor {
    sessions: Sessions,
    services: Services,
}

impl Door for SessionDoor {
    fn enter(&self, visitor: Visitor) {
        let (sessions, services) = (self.sessions.clone(), self.services.clone());
        tokio::spawn(async move {
            let Visitor {
                stream, peer, who, ..
            } = visitor;
            let Some(who) = who else { return };
            let room = sessions.room.clone().acquire_owned();
            let Ok(Ok(permit)) = tokio::time::timeout(ROOM_LIMIT, room).await else {
                tracing::warn!(client.address = %peer, "too many sessions: a client is turned away");
                return;
            };
            let number = sessions.number.fetch_add(1, Ordering::Relaxed);
            let child = session_child(number, stream, peer, who, services, permit);
            if let Err(error) = sessions.supervisor.start_child(child, START_LIMIT).await {
                tracing::warn!(client.address = %peer, error = %error, "cannot start a session");
            }
        });
    }
}
