//! Where a write is made: here, when this server leads; else by the leader. While leadership
//! changes hands the request waits, and is made again only when it is certain that it was not
//! made.

use super::perform::perform;
use crate::cluster::Signs;
use crate::raft::{Leadership, RaftHandle};
use kabuki_cluster::seams::{Directory, Forward};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one look at a changing leadership lasts.
const LOOK: Duration = Duration::from_millis(100);

/// The other servers; none for a cluster of one.
#[derive(Clone, Default)]
pub struct Others {
    reach: Option<(Arc<dyn Forward>, Arc<dyn Directory>)>,
    signs: Signs,
}

impl Others {
    /// The way to others, where they are, and what was heard of them.
    pub fn new(forward: Arc<dyn Forward>, directory: Arc<dyn Directory>, signs: Signs) -> Self {
        Self {
            reach: Some((forward, directory)),
            signs,
        }
    }

    /// How long ago this server last had news of the leader; `None` when it never had.
    pub(super) fn staleness(&self, raft: &RaftHandle) -> Option<Duration> {
        match raft.leadership().borrow().leading {
            true => Some(Duration::ZERO),
            false => self.signs.staleness(),
        }
    }
}

/// Makes a write. `term` binds it to this server's leadership in that term.
pub(super) async fn route(
    raft: &RaftHandle,
    others: &Others,
    who: &Identity,
    request: &Request,
    term: Option<u64>,
    limit: Duration,
) -> Result<Answer, StatusError> {
    let until = Instant::now() + limit / 2;
    let mut changes = raft.leadership();
    loop {
        let now = *changes.borrow_and_update();
        if let Some(term) = term
            && !(now.leading && now.term == term)
        {
            return Err(StatusError::unavailable(
                "the term in which this was decided has passed",
            ));
        }
        let result = match leader_elsewhere(raft, others, now) {
            Some((forward, leader)) => forward.forward(&leader, who.clone(), request.clone()).await,
            None => perform(raft, who, request, term).await,
        };
        match result {
            Err(error) if error.is_undone() && term.is_none() && Instant::now() < until => {
                // Whoever leads next has to become known first.
                let _ = tokio::time::timeout(LOOK, changes.changed()).await;
            }
            other => return other,
        }
        if raft.leadership().borrow().stranded {
            // No leader is to be expected: the refusal is better now than later.
            return perform(raft, who, request, term).await;
        }
    }
}

/// The node that leads, when it is not this one, and the way to it.
fn leader_elsewhere(
    raft: &RaftHandle,
    others: &Others,
    now: Leadership,
) -> Option<(Arc<dyn Forward>, String)> {
    let (forward, directory) = others.reach.as_ref()?;
    now.leader.filter(|id| *id != raft.id())?;
    Some((forward.clone(), directory.leader()?))
}
