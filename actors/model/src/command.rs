//! What the store applies, and what it says of it. A command is one transaction: all of its
//! operations happen, or none.

use crate::object::{ObjectKey, Stored};
use crate::view::Index;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One transaction. Everything that is not deterministic (time, uids, generated names) is
/// already inside the operations' JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The term of the leader that admitted it; refused when a later term has begun. Zero: from
    /// no leader in particular (a client's command, admitted at apply).
    pub term: u64,
    /// The operations, in order. Preconditions see the effects of those before them.
    pub ops: Vec<Op>,
}

/// One operation of a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Creates or replaces an object.
    Put {
        /// Where.
        key: ObjectKey,
        /// `metadata.uid`.
        uid: Arc<str>,
        /// Canonical JSON without `metadata.resourceVersion`.
        json: Bytes,
        /// What must hold of the present object.
        expect: Expect,
    },
    /// Removes an object for good (graceful deletion and finalizers are `Put`s before it).
    Delete {
        /// Where.
        key: ObjectKey,
        /// What must hold of the present object; it must exist in any case.
        expect: Expect,
    },
    /// Changes nothing, but the transaction fails when it does not hold.
    Require {
        /// Where.
        key: ObjectKey,
        /// What must hold of the present object.
        expect: Expect,
    },
    /// Changes nothing, but the transaction fails when another object than this one is found
    /// under a value of an index: what must be unique in the cluster stays so.
    Vacant {
        /// Which object may be found there.
        key: ObjectKey,
        /// The index.
        index: Index,
        /// The value.
        value: Arc<str>,
    },
}

impl Op {
    /// The object that the operation is about.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Put { key, .. }
            | Self::Delete { key, .. }
            | Self::Require { key, .. }
            | Self::Vacant { key, .. } => key,
        }
    }
}

/// A precondition on the present object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// No condition.
    Any,
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// There is one with exactly this revision.
    Revision(u64),
    /// There is one with this uid, at any revision.
    Uid(Arc<str>),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// All operations happened; the changes in their order.
    Committed(Vec<Change>),
    /// A precondition failed; nothing happened.
    Refused {
        /// Which operation.
        op: usize,
        /// The object that did not meet it.
        key: ObjectKey,
        /// What is there instead: its revision, or `None` when it does not exist.
        found: Option<u64>,
    },
    /// The command's leader is no longer the leader; nothing happened.
    StaleTerm {
        /// The term that has begun.
        current: u64,
    },
}

/// One change of one object, with its own revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The object after the change; of a removal, the object as it was, at the removal's
    /// revision.
    pub object: Arc<Stored>,
    /// The object before the change.
    pub previous: Option<Arc<Stored>>,
    /// Whether it was removed.
    pub removed: bool,
}

impl Change {
    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        self.object.revision
    }
}
