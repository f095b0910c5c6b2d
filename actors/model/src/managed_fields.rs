//! Who owns which fields of an object, and server-side apply (Kubernetes, "Server-Side Apply").
//!
//! Every write is done by a named manager. An ordinary write gives it what it changed, and takes
//! that from everyone else. Applying gives it exactly what it applied: what it owned before and
//! applies no more is removed when nobody else owns it, and what others own and it would change is
//! a conflict, unless it is forced.
//!
//! **What the cluster's own parts write** (controllers, the scheduler, the agents) is most of all
//! writes, mostly of status, and hardly ever of interest to anyone who applies. Their entries own
//! whole parts of an object (`f:status` alone, and nothing below it), which costs no more than a
//! look at the present entries. As soon as anyone else's ownership is touched, or anyone else
//! writes, such an entry is first written out: it owns every field of its part that nobody else
//! owns.
//!
//! The entries are kept apart from the rest of the object's JSON ([`Stored::managed_fields`]), so
//! that those who do not need them never read them.
//!
//! [`Stored::managed_fields`]: crate::Stored::managed_fields

mod collect;
mod compare;
mod entries;
mod last_applied;
mod merge;
mod ownership;
mod part;
mod path;
mod set;
mod shape;

pub use entries::{Entry, Operation, decode, encode};
pub use part::{Part, is_own, of_part};
pub use path::PathElement;
pub use set::FieldSet;

use crate::schema::Message;
use crate::status::{Cause, CauseReason, Reason, StatusError};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// Who writes, what, and when.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The type of the object.
    pub message: &'static Message,
    /// The name of the manager.
    pub manager: &'a str,
    /// The version of the API.
    pub api_version: &'a str,
    /// The part of the object that is written to; empty for the object itself.
    pub subresource: &'a str,
    /// Whether `status` is such a part.
    pub has_status: bool,
    /// When.
    pub now: Timestamp,
}

impl Writer<'_> {
    fn time(&self) -> String {
        let second = Timestamp::from_second(self.now.as_second());
        second.unwrap_or(self.now).to_string()
    }

    fn entry(&self, operation: Operation, fields: FieldSet) -> Entry {
        Entry {
            manager: self.manager.to_string(),
            operation,
            api_version: self.api_version.to_string(),
            time: Some(self.time()),
            subresource: self.subresource.to_string(),
            fields,
        }
    }
}

/// A field that someone else owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who, in words.
    pub manager: String,
    /// The field.
    pub path: String,
}

/// Why a configuration cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own what it would change.
    #[error("{}", shown(.0))]
    Conflicts(Vec<Conflict>),
    /// It does not have the shape of its type.
    #[error("failed to create typed patch object: {0}")]
    Invalid(String),
}

/// As Kubernetes words it.
fn shown(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            one.manager, one.path
        );
    }
    let mut managers: Vec<&str> = conflicts.iter().map(|c| &*c.manager).collect();
    managers.sort_unstable();
    managers.dedup();
    let mut lines = Vec::new();
    for manager in managers {
        lines.push(format!("conflicts with {manager}:"));
        let own = conflicts.iter().filter(|c| c.manager == manager);
        lines.extend(own.map(|c| format!("- {}", c.path)));
    }
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

impl From<ApplyError> for StatusError {
    fn from(error: ApplyError) -> Self {
        let message = error.to_string();
        match error {
            ApplyError::Invalid(_) => Self::bad_request(message),
            ApplyError::Conflicts(conflicts) => {
                let mut status = Self::new(Reason::Conflict, message);
                status.causes = conflicts
                    .into_iter()
                    .map(|c| Cause {
                        reason: CauseReason::FieldManagerConflict,
                        field: c.path,
                        message: format!("conflict with {}", c.manager),
                    })
                    .collect();
                status
            }
        }
    }
}

/// The entries after an ordinary write of `new` over `live` (an empty object at creation); `held`
/// are those before it. An object of which nobody owned anything stays so, until something is
/// applied to it.
pub fn update(writer: &Writer, live: &Value, new: &Value, held: Vec<Entry>) -> Vec<Entry> {
    let creates = live.get("metadata").is_none();
    if held.is_empty() && !creates {
        return held;
    }
    ownership::update(writer, live, new, held)
}

/// What applying comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The object, without its entries; not yet defaulted.
    pub object: Value,
    /// The entries after it.
    pub entries: Vec<Entry>,
}

/// Applies `config` to `live` (`None`: it is created). `None` when nothing changes.
///
/// # Errors
/// Conflicts, when it is not forced; a configuration that does not have its type's shape.
pub fn apply(
    writer: &Writer,
    live: Option<&Value>,
    config: &Value,
    held: Vec<Entry>,
    force: bool,
) -> Result<Option<Applied>, ApplyError> {
    let applied = match ownership::apply(writer, live, config, held.clone(), force) {
        Err(ApplyError::Conflicts(conflicts)) => {
            last_applied::allow(writer, live, conflicts)?;
            ownership::apply(writer, live, config, held, true)?
        }
        applied => applied?,
    };
    Ok(applied.map(|merged| {
        let mut object = merged.object;
        last_applied::renew(writer, &mut object, config);
        Applied {
            object,
            entries: merged.entries,
        }
    }))
}

#[cfg(test)]
mod tests;
