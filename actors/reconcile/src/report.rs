//! Events about stored objects.

use kabuki_model::Stored;
use kabuki_model::event::{EventRecord, EventType};
use kabuki_model::reference::object_reference;

/// Nothing to worry about.
pub(crate) fn normal(object: &Stored, reason: &str, message: String) -> EventRecord {
    record(object, EventType::Normal, reason, message)
}

/// Bad news.
pub(crate) fn warning(object: &Stored, reason: &str, message: String) -> EventRecord {
    record(object, EventType::Warning, reason, message)
}

fn record(object: &Stored, event_type: EventType, reason: &str, message: String) -> EventRecord {
    EventRecord {
        regarding: object_reference(object),
        event_type,
        reason: reason.to_string(),
        message,
        // The shell fills in the controller's name.
        component: String::new(),
        node: String::new(),
    }
}
