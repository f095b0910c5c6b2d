//! Counting, combining and limiting events, with the numbers of Kubernetes' clients.

use super::{EventRecord, EventType, Observed, create, event_name, update};
use crate::request::Request;
use k8s_openapi::jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// So many different messages of one kind about one object, within [`COMBINE_WITHIN_S`], become
/// one event.
const COMBINE_AFTER: usize = 10;
const COMBINE_WITHIN_S: i64 = 600;
/// A source may say so much about one object at once, and one more each [`REFILL_S`].
const BURST: f64 = 25.0;
const REFILL_S: f64 = 300.0;
/// Objects that are remembered; the one that was longest silent goes first.
const MAX_REMEMBERED: usize = 4096;
/// What precedes the message of a combined event.
const COMBINED: &str = "(combined from similar events): ";

/// One object, as one source speaks of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    component: String,
    node: String,
    namespace: String,
    kind: String,
    name: String,
    uid: String,
    field_path: String,
}

impl Subject {
    fn of(record: &EventRecord) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let about = &record.regarding;
        Self {
            component: record.component.clone(),
            node: record.node.clone(),
            namespace: text(&about.namespace),
            kind: text(&about.kind),
            name: text(&about.name),
            uid: text(&about.uid),
            field_path: text(&about.field_path),
        }
    }
}

/// Events that differ in their message only.
type Similar = (Subject, EventType, String);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

#[derive(Debug)]
struct Group {
    messages: BTreeSet<String>,
    at: Timestamp,
}

/// Turns what happened into requests. See the module.
#[derive(Debug)]
pub struct Correlator {
    field_manager: String,
    buckets: HashMap<Subject, Bucket>,
    groups: HashMap<Similar, Group>,
    observed: HashMap<(Similar, String), (Observed, Timestamp)>,
}

impl Correlator {
    /// A correlator that remembers nothing. `field_manager` is written into its requests.
    pub fn new(field_manager: &str) -> Self {
        Self {
            field_manager: field_manager.to_string(),
            buckets: HashMap::new(),
            groups: HashMap::new(),
            observed: HashMap::new(),
        }
    }

    /// Records that something happened. `entropy` keeps the names of events from different
    /// sources apart. `None`: the source has said too much about this object lately.
    ///
    /// Should the request be refused because the event that it counts on is gone, call
    /// [`Correlator::forget`] and record again.
    pub fn record(
        &mut self,
        record: &EventRecord,
        now: Timestamp,
        entropy: u64,
    ) -> Option<Request> {
        let subject = Subject::of(record);
        let similar = (subject.clone(), record.event_type, record.reason.clone());
        let combined = self.is_combined(&similar, &record.message, now);
        if !self.admit(subject, now) {
            return None;
        }
        let message = match combined {
            true => format!("{COMBINED}{}", record.message),
            false => record.message.clone(),
        };
        // Combined events are one event, whatever their messages.
        let key = (
            similar,
            if combined {
                COMBINED.to_string()
            } else {
                message.clone()
            },
        );
        if let Some((observed, at)) = self.observed.get_mut(&key) {
            observed.count = observed.count.saturating_add(1);
            *at = now;
            return Some(update(record, &message, observed, now, &self.field_manager));
        }
        make_room(&mut self.observed, |(_, at)| *at);
        let observed = Observed {
            name: event_name(record, now, entropy),
            count: 1,
            first: now,
        };
        let request = create(record, &message, &observed, now, &self.field_manager);
        self.observed.insert(key, (observed, now));
        Some(request)
    }

    /// Forgets the events about the object of `record`, so that the next one is created anew.
    pub fn forget(&mut self, record: &EventRecord) {
        let subject = Subject::of(record);
        self.observed.retain(|key, _| key.0.0 != subject);
    }

    fn is_combined(&mut self, similar: &Similar, message: &str, now: Timestamp) -> bool {
        if !self.groups.contains_key(similar) {
            make_room(&mut self.groups, |g| g.at);
        }
        let group = self.groups.entry(similar.clone()).or_insert_with(|| Group {
            messages: BTreeSet::new(),
            at: now,
        });
        if now.duration_since(group.at).as_secs() > COMBINE_WITHIN_S {
            group.messages.clear();
        }
        group.at = now;
        if group.messages.len() < COMBINE_AFTER {
            group.messages.insert(message.to_string());
        }
        group.messages.len() >= COMBINE_AFTER
    }

    fn admit(&mut self, subject: Subject, now: Timestamp) -> bool {
        if !self.buckets.contains_key(&subject) {
            make_room(&mut self.buckets, |b| b.at);
        }
        let bucket = self.buckets.entry(subject).or_insert(Bucket {
            tokens: BURST,
            at: now,
        });
        // A clock that went back refills nothing.
        let passed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed / REFILL_S).min(BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// Forgets the quarter that was longest silent when there is no room left.
fn make_room<K: Hash + Eq + Clone, V>(map: &mut HashMap<K, V>, at: impl Fn(&V) -> Timestamp) {
    if map.len() < MAX_REMEMBERED {
        return;
    }
    let mut times: Vec<Timestamp> = map.values().map(&at).collect();
    times.sort_unstable();
    let Some(limit) = times.get(MAX_REMEMBERED / 4).copied() else {
        return;
    };
    let before = map.len();
    map.retain(|_, value| at(value) > limit);
    if map.len() == before {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind;
    use k8s_openapi::api::core::v1::ObjectReference;
    use serde_json::Value;

    fn record(name: &str, message: &str) -> EventRecord {
        EventRecord {
            regarding: ObjectReference {
                kind: Some("Pod".into()),
                namespace: Some("a".into()),
                name: Some(name.into()),
                ..ObjectReference::default()
            },
            event_type: EventType::Warning,
            reason: "BackOff".into(),
            message: message.into(),
            component: "kubelet".into(),
            node: "n1".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    fn created(request: &Request) -> Value {
        match request {
            Request::Create { object, .. } => serde_json::from_slice(object).expect("JSON"),
            other => panic!("not created: {other:?}"),
        }
    }

    fn patched(request: &Request) -> (String, Value) {
        match request {
            Request::Patch { key, patch, .. } => (
                key.name.to_string(),
                serde_json::from_slice(patch).expect("JSON"),
            ),
            other => panic!("not patched: {other:?}"),
        }
    }

    #[test]
    fn the_same_again_is_counted() {
        let mut correlator = Correlator::new("kubelet");
        let first = created(
            &correlator
                .record(&record("web", "m"), at(0), 0)
                .expect("heard"),
        );
        let (name, patch) = patched(
            &correlator
                .record(&record("web", "m"), at(5), 0)
                .expect("heard"),
        );
        assert_eq!(first["metadata"]["name"], name.as_str());
        assert!(name.starts_with("web.") && name.len() == 20);
        assert_eq!(patch["count"], 2);
        assert_ne!(first["lastTimestamp"], patch["lastTimestamp"]);
        let events = kind::by_name("ev").expect("served");
        let decoded = events.decode(first).expect("an Event");
        assert_eq!(decoded.unknown, Vec::<String>::new());
        assert_eq!(decoded.object.validate(), Vec::new());
        created(
            &correlator
                .record(&record("web", "other"), at(6), 0)
                .expect("heard"),
        );
        correlator.forget(&record("web", ""));
        created(
            &correlator
                .record(&record("web", "m"), at(7), 0)
                .expect("heard"),
        );
    }

    #[test]
    fn many_similar_ones_become_one() {
        let mut correlator = Correlator::new("kubelet");
        for n in 0..9 {
            let event = created(
                &correlator
                    .record(&record("web", &format!("m{n}")), at(n), 0)
                    .expect("heard"),
            );
            assert_eq!(event["message"], format!("m{n}"));
        }
        let event = created(
            &correlator
                .record(&record("web", "m9"), at(9), 0)
                .expect("heard"),
        );
        assert_eq!(event["message"], "(combined from similar events): m9");
        let (_, patch) = patched(
            &correlator
                .record(&record("web", "m10"), at(10), 0)
                .expect("heard"),
        );
        assert_eq!(
            (patch["count"].as_i64(), patch["message"].as_str()),
            (Some(2), Some("(combined from similar events): m10"))
        );
        let event = created(
            &correlator
                .record(&record("web", "later"), at(1000), 0)
                .expect("heard"),
        );
        assert_eq!(event["message"], "later");
    }

    #[test]
    fn who_says_too_much_is_not_heard() {
        let mut correlator = Correlator::new("kubelet");
        let heard = (0..100)
            .filter(|_| correlator.record(&record("web", "m"), at(0), 0).is_some())
            .count();
        assert_eq!(heard, 25);
        assert!(
            correlator.record(&record("db", "m"), at(0), 0).is_some(),
            "other objects are"
        );
        assert!(correlator.record(&record("web", "m"), at(299), 0).is_none());
        assert!(correlator.record(&record("web", "m"), at(601), 0).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let mut correlator = Correlator::new("kubelet");
        for n in 0..(MAX_REMEMBERED as i64 * 2) {
            correlator.record(&record(&format!("p{n}"), "m"), at(n / 10), 0);
        }
        assert!(correlator.buckets.len() <= MAX_REMEMBERED);
        assert!(correlator.observed.len() <= MAX_REMEMBERED);
        assert!(correlator.groups.len() <= MAX_REMEMBERED);
    }
}
