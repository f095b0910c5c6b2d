use super::*;
use crate::apply::tests::{applied, commands};
use crate::{Position, Snapshot, Store};
use kabuki_model::Resource;
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::view::View;
use proptest::prelude::*;

fn encoded(snapshot: &Snapshot) -> Vec<u8> {
    let pieces = snapshot.encode(b"voters");
    pieces.flat_map(|piece| piece.expect("encodes")).collect()
}

/// `count` objects of about `size` bytes, each with an owner.
fn filled(count: u32, size: usize) -> Store {
    let mut store = Store::new();
    for n in 0..count {
        let json = format!(
            "{{\"metadata\":{{\"ownerReferences\":[{{\"uid\":\"o{n}\"}}],\"pad\":\"{}\"}}}}",
            "x".repeat(size),
        );
        let op = Op::Put {
            key: ObjectKey::new(Resource::CONFIG_MAPS, "default", &format!("c{n}")),
            uid: format!("u{n}").into(),
            json: json.into(),
            expect: Expect::Absent,
        };
        let at = Position {
            index: u64::from(n) + 1,
            term: 7,
        };
        store.apply(
            at,
            &Command {
                term: 0,
                ops: vec![op],
            },
        );
    }
    store
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_snapshot_survives_the_round_trip(commands in commands()) {
        let snapshot = applied(&commands).snapshot();
        let restored = read_snapshot(&encoded(&snapshot)[..]).expect("undamaged");
        prop_assert_eq!(restored.snapshot, snapshot);
        prop_assert_eq!(restored.extra, b"voters");
    }
}

#[test]
fn every_damaged_byte_is_found() {
    let whole = encoded(&filled(3, 10).snapshot());
    for at in 0..whole.len() {
        for flip in [1u8, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            let error = read_snapshot(&damaged[..]).expect_err("damaged");
            assert!(
                error.offset <= at as u64,
                "byte {at}: said to be at {}",
                error.offset
            );
        }
    }
}

#[test]
fn every_truncation_is_found() {
    let whole = encoded(&filled(3, 10).snapshot());
    for length in 0..whole.len() {
        let error = read_snapshot(&whole[..length]).expect_err("truncated");
        assert!(
            matches!(error.problem, Problem::Truncated(_)),
            "at {length}: {error}"
        );
    }
    let mut longer = whole.clone();
    longer.push(0);
    let error = read_snapshot(&longer[..]).expect_err("too long");
    assert!(matches!(error.problem, Problem::Trailing));
    assert_eq!(error.offset, whole.len() as u64);
}

#[test]
fn missing_repeated_and_exchanged_chunks_are_found() {
    let snapshot = filled(8, 100 << 10).snapshot();
    let pieces: Vec<Vec<u8>> = snapshot.encode(b"").map(|p| p.expect("encodes")).collect();
    assert!(pieces.len() > 6, "several chunks of objects");
    let mut without = pieces.clone();
    without.remove(2);
    let mut twice = pieces.clone();
    twice.insert(2, pieces[2].clone());
    let mut exchanged = pieces.clone();
    exchanged.swap(2, 3);
    for wrong in [without, twice, exchanged] {
        assert!(read_snapshot(&wrong.concat()[..]).is_err());
    }
}

#[test]
fn chunks_are_bounded_and_a_large_object_is_alone_in_its_own() {
    let snapshot = filled(40, 20 << 10).snapshot();
    for piece in snapshot.encode(b"") {
        assert!(piece.expect("encodes").len() <= CHUNK_BYTES + 1024);
    }
    let snapshot = filled(3, 1 << 20).snapshot();
    assert_eq!(snapshot.encode(b"").count(), 1 + 3 + 1);
    let restored = read_snapshot(&encoded(&snapshot)[..]).expect("undamaged");
    assert_eq!(restored.snapshot.revision(), 3);
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut other = encoded(&Snapshot::empty());
    other[MAGIC.len()] = 9;
    let error = read_snapshot(&other[..]).expect_err("another version");
    assert_eq!(
        error.to_string(),
        "at byte 8: format version 9 is not supported, only 1"
    );
}

#[test]
fn a_snapshot_is_written_as_it_was_when_it_was_taken() {
    let mut store = filled(10, 50 << 10);
    let before = store.snapshot();
    let mut pieces = before.encode(b"");
    let mut bytes = pieces.next().expect("a header").expect("encodes");
    let key = ObjectKey::new(Resource::CONFIG_MAPS, "default", "c5");
    let ops = vec![Op::Delete {
        key,
        expect: Expect::Present,
    }];
    store.apply(Position { index: 11, term: 7 }, &Command { term: 0, ops });
    for piece in pieces {
        bytes.extend(piece.expect("encodes"));
    }
    let restored = read_snapshot(&bytes[..]).expect("undamaged").snapshot;
    assert_eq!(restored, before);
    assert_eq!(store.view().len(), 9);
}
