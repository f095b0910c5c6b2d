//! Patches: the three that the API takes ([`apply`]), and the one that `apply` of a manifest
//! makes ([`create_three_way_patch`]).
//!
//! All work on JSON values. Strategic patches need to know which lists are merged by which key;
//! that is the table in `lists`, by the Kubernetes name of the field's type.

mod json;
mod last_applied;
mod lists;
mod merge;
mod strategic;
mod three_way;

pub use json::json_patch;
pub use last_applied::{LAST_APPLIED, last_applied, set_last_applied};
pub use merge::{create_merge_patch, merge_patch};
pub use strategic::strategic_patch;
pub use three_way::{create_three_way_patch, create_two_way_patch};

use crate::request::PatchType;
use crate::status::{Reason, StatusError};
use serde_json::Value;

/// Why a patch cannot be applied or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is not of the form that its type has.
    #[error("the patch is malformed: {0}")]
    Malformed(String),
    /// An operation of a JSON patch does not fit the object.
    #[error("operation {index} ({op} {path:?}): {why}")]
    Operation {
        /// Which operation, beginning with 0.
        index: usize,
        /// `add`, `test`, ...
        op: String,
        /// Its path.
        path: String,
        /// What does not fit.
        why: String,
    },
    /// A strategic patch does not fit the object.
    #[error("{path}: {why}")]
    Strategic {
        /// The field, for example `spec.containers`.
        path: String,
        /// What does not fit.
        why: String,
    },
}

impl From<PatchError> for StatusError {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Malformed(_) => Self::bad_request(error.to_string()),
            PatchError::Operation { .. } | PatchError::Strategic { .. } => {
                let text = format!(
                    "the server rejected our request due to an error in our request: {error}"
                );
                Self::new(Reason::Invalid, text)
            }
        }
    }
}

/// Applies a patch of the given type to a whole object.
pub fn apply(kind: PatchType, target: &Value, patch: &Value) -> Result<Value, PatchError> {
    match kind {
        PatchType::Json => json_patch(target, patch),
        PatchType::Merge => {
            if !patch.is_object() {
                return Err(PatchError::Malformed(
                    "a merge patch of an object is an object".into(),
                ));
            }
            let mut patched = target.clone();
            merge_patch(&mut patched, patch);
            Ok(patched)
        }
        PatchType::Strategic => strategic_patch(target, patch),
        PatchType::Apply { .. } => Err(PatchError::Malformed(
            "an applied configuration is no patch of an object alone: it needs its owners".into(),
        )),
    }
}

#[cfg(test)]
mod tests;
