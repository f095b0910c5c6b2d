//! Events go an hour after they were last seen, as in Kubernetes by default.

use crate::reconciler::{Outcome, Reconciler};
use crate::requests;
use jiff::{SignedDuration, Timestamp};
use kabuki_model::k8s_openapi::api::core::v1::Event;
use kabuki_model::request::DeleteOptions;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};

const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// The core of the controller that removes old events.
pub(crate) struct EventExpiry;

impl Reconciler for EventExpiry {
    fn name(&self) -> &'static str {
        "event-expiry-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Resource::EVENTS]
    }

    /// Only new ones: a time is set for each, and when it comes, its newest form tells whether
    /// it was seen again.
    fn keys(
        &self,
        _view: &dyn View,
        object: &Stored,
        previous: Option<&Stored>,
        removed: bool,
    ) -> Vec<ObjectKey> {
        match removed || previous.is_some() {
            true => Vec::new(),
            false => vec![object.key.clone()],
        }
    }

    fn reconcile(&self, view: &dyn View, key: &ObjectKey, now: Timestamp) -> Outcome {
        let mut outcome = Outcome::done();
        let Some(stored) = view.get(key) else {
            return outcome;
        };
        let seen = stored.typed::<Event>().ok().and_then(|e| last_seen(&e));
        // One that cannot be read, or was never seen, has no time to wait for.
        let expiry = seen.and_then(|at| at.checked_add(LIFETIME).ok());
        match expiry.filter(|at| *at > now) {
            Some(at) => outcome.look_again(at),
            None => {
                let options = DeleteOptions {
                    revision: Some(stored.revision),
                    ..DeleteOptions::default()
                };
                outcome.request(requests::delete_with(stored, options));
            }
        }
        outcome
    }
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|s| s.last_observed_time.as_ref());
    let times = [
        series.map(|t| t.0),
        event.last_timestamp.as_ref().map(|t| t.0),
        event.event_time.as_ref().map(|t| t.0),
        event.metadata.creation_timestamp.as_ref().map(|t| t.0),
    ];
    times.into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use serde_json::json;

    #[test]
    fn an_event_goes_an_hour_after_it_was_last_seen() {
        let mut world = World::new(vec![Box::new(EventExpiry)]);
        let seen = world.now();
        let key = world.create(json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "e", "namespace": "default"},
            "involvedObject": {}, "lastTimestamp": seen.to_string(),
        }));
        world.settle();
        world.advance(SignedDuration::from_mins(59));
        assert!(world.view().get(&key).is_some());
        world.change(&key, |event| {
            event["lastTimestamp"] = (seen + SignedDuration::from_mins(30)).to_string().into()
        });
        world.advance(SignedDuration::from_mins(30));
        assert!(world.view().get(&key).is_some(), "it was seen again");
        world.advance(SignedDuration::from_mins(2));
        assert!(world.view().get(&key).is_none());
    }
}
