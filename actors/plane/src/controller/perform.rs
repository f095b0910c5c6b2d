//! Performs the actions of a core.

use crate::events::EventSink;
use futures::future::join_all;
use kabuki_model::StatusError;
use kabuki_model::event::EventRecord;
use kabuki_model::request::Request;
use kabuki_model::status::Reason;
use kabuki_protocol::ApiHandle;
use kabuki_reconcile::Action;

/// A request that was refused.
pub(super) struct Refused {
    pub request: Request,
    pub error: StatusError,
}

/// A request, and what is to be said when it was performed.
#[derive(Default)]
struct Step {
    request: Option<Request>,
    events: Vec<EventRecord>,
}

/// Performs actions in order, up to the first that fails. Creations that follow each other do
/// not depend on each other: they go together, first one, then two, then four, so that they
/// share commits and yet one that cannot work is not tried a thousand times.
pub(super) async fn perform(
    api: &ApiHandle,
    events: &EventSink,
    actions: Vec<Action>,
) -> Result<(), Refused> {
    let mut batch = 1;
    let mut steps = steps(actions).into_iter().peekable();
    while let Some(step) = steps.next() {
        let mut together = vec![step];
        if creates(&together[0]) {
            while together.len() < batch
                && let Some(next) = steps.next_if(creates)
            {
                together.push(next);
            }
            batch *= 2;
        } else {
            batch = 1;
        }
        let done = join_all(together.into_iter().map(|step| one(api, events, step))).await;
        done.into_iter().collect::<Result<Vec<()>, Refused>>()?;
    }
    Ok(())
}

/// Each request with the events that follow it.
fn steps(actions: Vec<Action>) -> Vec<Step> {
    let mut steps = vec![Step::default()];
    for action in actions {
        match action {
            Action::Request(request) => steps.push(Step {
                request: Some(request),
                events: Vec::new(),
            }),
            Action::Event(record) => {
                if let Some(last) = steps.last_mut() {
                    last.events.push(record);
                }
            }
        }
    }
    steps
}

fn creates(step: &Step) -> bool {
    matches!(step.request, Some(Request::Create { .. }))
}

async fn one(api: &ApiHandle, events: &EventSink, step: Step) -> Result<(), Refused> {
    if let Some(request) = step.request {
        let settled = settled_by(&request);
        match api.request(request.clone()).await {
            Err(error) if Some(error.reason) != settled => return Err(Refused { request, error }),
            _ => {}
        }
    }
    step.events
        .into_iter()
        .for_each(|record| events.record(record));
    Ok(())
}

/// The refusal that means that what was asked for is already so.
fn settled_by(request: &Request) -> Option<Reason> {
    match request {
        Request::Delete { .. } => Some(Reason::NotFound),
        Request::Create { .. } => Some(Reason::AlreadyExists),
        _ => None,
    }
}
