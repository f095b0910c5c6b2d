//! The conditions of a resize: there while it goes on, and gone with it.

use crate::machine::PodState;
use crate::resize::Verdict;

/// The conditions that this module decides.
pub(super) const OWN: &[&str] = &[PENDING, IN_PROGRESS];
const PENDING: &str = "PodResizePending";
const IN_PROGRESS: &str = "PodResizeInProgress";

/// A condition that is true.
pub(super) struct Resizing {
    pub type_: &'static str,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
    /// The generation that it speaks of; `None` is the present one.
    pub generation: Option<i64>,
}

/// What is to be said of a resize.
pub(super) fn of(state: &PodState, resizing: bool) -> Vec<Resizing> {
    let resize = &state.resize;
    let mut conditions = Vec::new();
    let refused = match &resize.refused {
        Some(Verdict::Deferred(why)) => Some(("Deferred", why)),
        Some(Verdict::Infeasible(why)) => Some(("Infeasible", why)),
        Some(Verdict::Granted) | None => None,
    };
    if let Some((reason, why)) = refused {
        conditions.push(Resizing {
            type_: PENDING,
            reason: Some(reason),
            message: Some(why.clone()),
            generation: None,
        });
    }
    // A container that waits for its sandbox is not being resized.
    if resizing && resize.open && state.final_phase.is_none() {
        conditions.push(Resizing {
            type_: IN_PROGRESS,
            reason: resize.error.is_some().then_some("Error"),
            message: resize.error.clone(),
            generation: resize.generation,
        });
    }
    conditions
}
