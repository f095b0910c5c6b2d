//! One write: admit, propose, answer; again when the state moved on in between.

use crate::raft::RaftHandle;
use futures::future::join_all;
use kabuki_admission::{Commit, Completed, Context, Verdict, admit, complete};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Content, ObjectList, Request};
use kabuki_model::view::View;

/// How often a write without a precondition of its own is admitted anew because the state moved
/// on. Every lost race means that another write won, so the bound is only reached under a storm
/// of writes to one object.
const MAX_ATTEMPTS: u32 = 32;

pub(super) async fn perform(
    raft: &RaftHandle,
    who: &Identity,
    request: &Request,
    term: Option<u64>,
) -> Result<Answer, StatusError> {
    for _ in 0..MAX_ATTEMPTS {
        let view = raft.snapshot();
        match admit(&view, who, request, &context(raft, term))? {
            Verdict::Answer(answer) => return Ok(answer),
            Verdict::Each(commits) => return each(raft, request, commits, view.revision()).await,
            Verdict::Commit(commit) => {
                let applied = raft.propose(commit.command.clone()).await?;
                match complete(commit, applied) {
                    Completed::Answer(answer) => return Ok(answer),
                    Completed::Refused(error) => return Err(error),
                    Completed::Retry => {}
                }
            }
        }
    }
    Err(StatusError::too_many_requests(
        "the object is being changed by others all the time; try again",
    ))
}

/// Many independent writes, proposed together so that they share one sync.
async fn each(
    raft: &RaftHandle,
    request: &Request,
    commits: Vec<Result<Commit, StatusError>>,
    revision: u64,
) -> Result<Answer, StatusError> {
    let one = |commit: Result<Commit, StatusError>| async {
        let commit = commit?;
        let applied = raft.propose(commit.command.clone()).await?;
        match complete(commit, applied) {
            Completed::Answer(answer) => Ok(answer),
            Completed::Refused(error) => Err(error),
            Completed::Retry => Err(StatusError::new(
                kabuki_model::status::Reason::Conflict,
                "the object changed meanwhile; try again",
            )),
        }
    };
    let outcomes = join_all(commits.into_iter().map(one)).await;
    let content = match request {
        Request::Bind(_) => Content::Bindings(outcomes.into_iter().map(Result::err).collect()),
        _ => {
            let objects: Result<Vec<Answer>, StatusError> = outcomes.into_iter().collect();
            let items = objects?.into_iter().filter_map(Answer::into_object);
            Content::List(ObjectList {
                revision,
                items: items.collect(),
                ..ObjectList::default()
            })
        }
    };
    Ok(Answer {
        content,
        warnings: Vec::new(),
    })
}

fn context(raft: &RaftHandle, term: Option<u64>) -> Context {
    Context {
        now: jiff::Timestamp::now(),
        entropy: rand::random(),
        term: term.unwrap_or_else(|| raft.leadership().borrow().term),
    }
}
