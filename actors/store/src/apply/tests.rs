use super::*;
use bytes::Bytes;
use kabuki_model::view::{Index, index_entries};
use kabuki_model::{Resource, codec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The same rules over a plain map that is copied before every command.
#[derive(Default, Clone)]
struct Naive {
    objects: BTreeMap<ObjectKey, (u64, Arc<str>, Bytes)>,
    revision: u64,
}

impl Naive {
    /// The revisions of the changes, or which operation failed and what it found.
    fn apply(&mut self, command: &Command) -> Result<Vec<u64>, (usize, Option<u64>)> {
        let before = self.clone();
        let mut done = Vec::new();
        for (number, op) in command.ops.iter().enumerate() {
            let found = match op {
                Op::Vacant { key, index, value } => self.other_holder(key, *index, value),
                _ => self.objects.get(op.key()).map(|o| o.0),
            };
            if !self.perform(op) {
                *self = before;
                return Err((number, found));
            }
            if !matches!(op, Op::Require { .. } | Op::Vacant { .. }) {
                done.push(self.revision);
            }
        }
        Ok(done)
    }

    fn other_holder(&self, key: &ObjectKey, index: Index, value: &str) -> Option<u64> {
        let entry = (index, value.to_string());
        let holds = |k: &ObjectKey, json: &Bytes| index_entries(k, json).contains(&entry);
        let mut others = self.objects.iter().filter(|(k, _)| *k != key);
        others.find(|(k, o)| holds(k, &o.2)).map(|(_, o)| o.0)
    }

    fn perform(&mut self, op: &Op) -> bool {
        let found = self.objects.get(op.key()).cloned();
        let holds = |expect: &Expect| match expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Present => found.is_some(),
            Expect::Revision(r) => found.as_ref().is_some_and(|f| f.0 == *r),
            Expect::Uid(u) => found.as_ref().is_some_and(|f| f.1 == *u),
        };
        match op {
            Op::Put {
                key,
                uid,
                json,
                expect,
            } if holds(expect) => {
                self.revision += 1;
                let object = (self.revision, uid.clone(), json.clone());
                self.objects.insert(key.clone(), object);
                true
            }
            Op::Delete { key, expect } if holds(expect) && found.is_some() => {
                self.revision += 1;
                self.objects.remove(key);
                true
            }
            Op::Require { expect, .. } => holds(expect),
            Op::Vacant { key, index, value } => self.other_holder(key, *index, value).is_none(),
            _ => false,
        }
    }
}

fn key() -> impl Strategy<Value = ObjectKey> {
    let resource = prop_oneof![
        Just(Resource::PODS),
        Just(Resource::SECRETS),
        Just(Resource::named("things.example.com")),
    ];
    let name = |n: u8| ["a", "b", "c", "d"][usize::from(n % 4)];
    (resource, 0..3u8, 0..4u8).prop_map(move |(r, namespace, n)| {
        ObjectKey::new(r, ["", "a", "b"][usize::from(namespace)], name(n))
    })
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        6 => Just(Expect::Any),
        2 => Just(Expect::Absent),
        2 => Just(Expect::Present),
        1 => (0..40u64).prop_map(Expect::Revision),
        1 => (0..4u8).prop_map(|u| Expect::Uid(format!("uid-{u}").into())),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let json = (0..4u8, 0..3u8).prop_map(|(owner, node)| {
        let owners = match owner {
            0 => "".to_string(),
            n => format!("{{\"uid\":\"owner-{n}\"}}"),
        };
        Bytes::from(format!(
            "{{\"metadata\":{{\"ownerReferences\":[{owners}]}},\"spec\":{{\"nodeName\":\"{}\"}}}}",
            ["", "n1", "n2"][usize::from(node)],
        ))
    });
    prop_oneof![
        6 => (key(), 0..4u8, json, expect()).prop_map(|(key, uid, json, expect)| Op::Put {
            key, uid: format!("uid-{uid}").into(), json, expect,
        }),
        3 => (key(), expect()).prop_map(|(key, expect)| Op::Delete { key, expect }),
        1 => (key(), expect()).prop_map(|(key, expect)| Op::Require { key, expect }),
        1 => (key(), 1..4u8).prop_map(|(key, owner)| Op::Vacant {
            key, index: Index::Owner, value: format!("owner-{owner}").into(),
        }),
    ]
}

pub(crate) fn commands() -> impl Strategy<Value = Vec<Command>> {
    let command = prop::collection::vec(op(), 1..4).prop_map(|ops| Command { term: 0, ops });
    prop::collection::vec(command, 0..30)
}

pub(crate) fn applied(commands: &[Command]) -> Store {
    let mut store = Store::new();
    for (index, command) in (1..).zip(commands) {
        store.apply(Position { index, term: 1 }, command);
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_store_does_what_a_plain_map_would(commands in commands()) {
        let mut naive = Naive::default();
        let mut store = Store::new();
        for (index, command) in (1..).zip(&commands) {
            let earlier = store.snapshot();
            let kept = format!("{:?}", earlier.iter().collect::<Vec<_>>());
            let outcome = match store.apply(Position { index, term: 1 }, command) {
                Applied::Committed(changes) => Ok(changes.iter().map(Change::revision).collect()),
                Applied::Refused { op, found, .. } => Err((op, found)),
                Applied::StaleTerm { .. } => panic!("no term was given"),
            };
            prop_assert_eq!(outcome, naive.apply(command));
            prop_assert_eq!(kept, format!("{:?}", earlier.iter().collect::<Vec<_>>()));
        }
        let state = store.snapshot();
        prop_assert_eq!(state.revision(), naive.revision);
        let held: Vec<_> = state.iter().map(|o| (o.key.clone(), (o.revision, o.uid.clone(), o.json.clone()))).collect();
        prop_assert_eq!(held, naive.objects.clone().into_iter().collect::<Vec<_>>());
        for value in ["owner-1", "owner-2", "owner-3", "n1", "n2"] {
            for index in [Index::Owner, Index::Node] {
                let found: Vec<_> = state.indexed(index, value).map(|o| o.key.clone()).collect();
                let scanned: Vec<_> = naive.objects.iter()
                    .filter(|(k, o)| index_entries(k, &o.2).contains(&(index, value.to_string())))
                    .map(|(k, _)| k.clone()).collect();
                prop_assert_eq!(found, scanned);
            }
        }
    }

    #[test]
    fn scans_see_one_resource_and_namespace_after_a_key(
        commands in commands(), namespace in prop::option::of(0..3usize), after in prop::option::of(key()),
    ) {
        let state = applied(&commands).snapshot();
        let namespace = namespace.map(|n| ["", "a", "b"][n]);
        for resource in [Resource::PODS, Resource::SECRETS] {
            let scanned: Vec<_> = state.scan(&resource, namespace, after.as_ref()).map(|o| o.key.clone()).collect();
            let expected: Vec<_> = state.iter().map(|o| o.key.clone()).filter(|k| {
                k.resource == resource && namespace.is_none_or(|n| n == &*k.namespace)
                    && after.as_ref().is_none_or(|a| k > a)
            }).collect();
            prop_assert_eq!(scanned, expected);
        }
    }

    #[test]
    fn commands_that_went_through_the_codec_give_the_same_state(commands in commands()) {
        let replayed: Vec<Command> = commands.iter().map(|c| {
            let bytes = codec::encode(c).expect("encodes");
            codec::decode(&bytes).expect("decodes")
        }).collect();
        prop_assert_eq!(applied(&replayed).snapshot(), applied(&commands).snapshot());
    }
}

fn put(name: &str, expect: Expect) -> Op {
    let key = ObjectKey::new(Resource::PODS, "default", name);
    Op::Put {
        key,
        uid: "u".into(),
        json: Bytes::from_static(b"{}"),
        expect,
    }
}

#[test]
fn a_command_of_an_earlier_leader_is_refused() {
    let mut store = Store::new();
    let command = Command {
        term: 2,
        ops: vec![put("web", Expect::Any)],
    };
    let at = Position { index: 1, term: 3 };
    assert_eq!(store.apply(at, &command), Applied::StaleTerm { current: 3 });
    assert!(store.view().is_empty());
    assert_eq!(store.view().position(), at);
    let at = Position { index: 2, term: 3 };
    let command = Command { term: 3, ..command };
    assert!(matches!(store.apply(at, &command), Applied::Committed(_)));
}

#[test]
fn preconditions_see_the_operations_before_them() {
    let mut store = Store::new();
    let ops = vec![put("web", Expect::Absent), put("web", Expect::Revision(1))];
    let at = Position { index: 1, term: 1 };
    let Applied::Committed(changes) = store.apply(at, &Command { term: 0, ops }) else {
        panic!("both hold");
    };
    assert_eq!(changes[1].previous.as_ref().map(|p| p.revision), Some(1));
    assert_eq!(changes[1].revision(), 2);
}

#[test]
fn a_removal_has_a_revision_of_its_own_and_tells_what_was_there() {
    let mut store = Store::new();
    let key = ObjectKey::new(Resource::PODS, "default", "web");
    let delete = Op::Delete {
        key: key.clone(),
        expect: Expect::Any,
    };
    let at = Position { index: 1, term: 1 };
    let ops = vec![put("web", Expect::Any), delete.clone()];
    let Applied::Committed(changes) = store.apply(at, &Command { term: 0, ops }) else {
        panic!("both hold");
    };
    assert!(changes[1].removed);
    assert_eq!((changes[1].revision(), &*changes[1].object.uid), (2, "u"));
    let again = store.apply(
        at,
        &Command {
            term: 0,
            ops: vec![delete],
        },
    );
    assert_eq!(
        again,
        Applied::Refused {
            op: 0,
            key,
            found: None
        }
    );
}
