//! The live actor tree: `kabuki actors`.

use super::stream;
use kabuki_kit::{ActorInfo as Known, ActorState, KillError, Tree};
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{ActorInfo, FromNode, Outcome};

/// All actors of the node, each parent before its children.
pub(super) fn list(tree: &Tree) -> NodeStream {
    let actors = tree.snapshot().into_iter().map(shown).collect();
    answer(FromNode::Actors(actors))
}

/// Kills one, as if it had crashed.
pub(super) fn kill(tree: &Tree, path: &str) -> Result<NodeStream, StatusError> {
    match tree.kill(path) {
        Ok(()) => Ok(done()),
        Err(error @ KillError::Unknown(_)) => {
            Err(StatusError::new(Reason::NotFound, error.to_string()))
        }
        Err(error @ KillError::NotRunning(_)) => {
            Err(StatusError::new(Reason::Conflict, error.to_string()))
        }
    }
}

/// A stream of one chunk.
pub(super) fn answer(chunk: FromNode) -> NodeStream {
    let (caller, ends) = stream();
    tokio::spawn(async move {
        if ends.send(chunk).await {
            ends.send(FromNode::Done(Ok(Outcome::Complete))).await;
        }
    });
    caller
}

fn done() -> NodeStream {
    let (caller, ends) = stream();
    tokio::spawn(async move { ends.send(FromNode::Done(Ok(Outcome::Complete))).await });
    caller
}

fn shown(known: Known) -> ActorInfo {
    let state = match known.state {
        ActorState::Running if known.busy_for.is_none() => "idle".to_string(),
        state => state.to_string(),
    };
    ActorInfo {
        path: known.path,
        state,
        mailbox: known.mailbox,
        handled: known.handled,
        restarts: known.restarts,
        longest_us: u64::try_from(known.longest_handler.as_micros()).unwrap_or(u64::MAX),
        last_failure: known.last_failure.unwrap_or_default(),
    }
}
