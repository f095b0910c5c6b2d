//! What the store's reply to a command means for the caller.

use kabuki_model::command::{Applied, Command};
use kabuki_model::request::Answer;
use kabuki_model::{ObjectKey, StatusError, Stored};
use std::sync::Arc;

/// A write that was admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// What the store is to apply.
    pub command: Command,
    /// Warnings for the caller.
    pub warnings: Vec<String>,
    /// Whether the caller set no precondition of its own, so that a lost race is to be admitted
    /// anew against the newer state instead of being refused.
    pub retry: bool,
    /// Whether the command creates the object: a lost race then means that it exists.
    pub creates: bool,
    /// Whether the answer is the object's `Scale`, because that is what was written.
    pub scale: bool,
}

/// What to do after the store's reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Completed {
    /// The caller's answer.
    Answer(Answer),
    /// Admit the same request again, against the newer state.
    Retry,
    /// The caller's refusal.
    Refused(StatusError),
}

/// Reads the store's reply.
pub fn complete(commit: Commit, applied: Applied) -> Completed {
    match applied {
        Applied::Committed(changes) => match changes.last() {
            Some(change) => match shown(change.object.clone(), commit.scale) {
                Ok(object) => Completed::Answer(Answer {
                    warnings: commit.warnings,
                    ..Answer::object(object)
                }),
                Err(error) => Completed::Refused(error),
            },
            None => Completed::Refused(StatusError::internal("the command changed nothing")),
        },
        Applied::Refused { op, key, found } => refused(&commit, op, &key, found),
        // Nothing happened: a new term began between admission and commit. Whoever leads now
        // decides anew.
        Applied::StaleTerm { .. } => Completed::Retry,
    }
}

/// The object, or its `Scale`.
pub(crate) fn shown(object: Arc<Stored>, scale: bool) -> Result<Arc<Stored>, StatusError> {
    match scale {
        true => crate::write::scale_of(&object),
        false => Ok(object),
    }
}

fn refused(commit: &Commit, op: usize, key: &ObjectKey, found: Option<u64>) -> Completed {
    let own = op + 1 == commit.command.ops.len();
    // Whatever else the command required (its namespace, its node, an address that nobody has) has
    // changed: admission against the newer state chooses anew, or says what is wrong in the right
    // words.
    if !own || commit.retry {
        return Completed::Retry;
    }
    Completed::Refused(match found {
        Some(_) if commit.creates => StatusError::already_exists(key),
        Some(_) => StatusError::conflict(key, MODIFIED),
        None => StatusError::not_found(key),
    })
}

/// How Kubernetes words a lost race.
pub(crate) const MODIFIED: &str = "the object has been modified; please apply your changes to the \
                                   latest version and try again";
