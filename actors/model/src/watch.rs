//! Watch requests and events (API concepts, "Efficient detection of changes").

use crate::object::Stored;
use crate::request::ListRequest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What to watch, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// Which objects; `limit` and `continue_token` must be empty.
    pub selection: ListRequest,
    /// Where to begin.
    pub start: WatchStart,
    /// Whether bookmarks tell how far the watch has come while nothing matches.
    pub bookmarks: bool,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchStart {
    /// With every object that there is (as `Added`), then a bookmark that says so, then changes.
    List,
    /// With the changes after this revision; `Expired` when they are no longer held.
    After(u64),
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WatchEvent {
    /// An object came to be, or came to match the selectors.
    Added(Arc<Stored>),
    /// An object changed.
    Modified(Arc<Stored>),
    /// An object is gone, or no longer matches the selectors.
    Deleted(Arc<Stored>),
    /// Everything up to this revision has been delivered.
    Bookmark {
        /// The revision.
        revision: u64,
        /// Whether this ends the initial list.
        initial_end: bool,
    },
}

impl WatchEvent {
    /// The revision to resume after.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Added(o) | Self::Modified(o) | Self::Deleted(o) => o.revision,
            Self::Bookmark { revision, .. } => *revision,
        }
    }

    /// The object, unless it is a bookmark.
    pub fn object(&self) -> Option<&Arc<Stored>> {
        match self {
            Self::Added(o) | Self::Modified(o) | Self::Deleted(o) => Some(o),
            Self::Bookmark { .. } => None,
        }
    }
}
