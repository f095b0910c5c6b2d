//! Directories of several servers: whose they are, how they begin, and what an operator does
//! with them.

use super::super::directory::Directory;
use super::super::watermark::Watermark;
use super::super::{backup, force_single_voter, last_index, restore, server_id, snapshots};
use super::*;
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::view::View as _;
use kabuki_model::{ObjectKey, Resource};
use kabuki_store::{Snapshot, Store};
use raft::eraftpb::ConfState;

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Resource::CONFIG_MAPS, "default", name)
}

fn put(name: &str) -> Command {
    let op = Op::Put {
        key: key(name),
        uid: "u".into(),
        json: b"{}".as_slice().into(),
        expect: Expect::Any,
    };
    Command {
        term: 0,
        ops: vec![op],
    }
}

fn state(name: &str, at: Position) -> Snapshot {
    let mut store = Store::new();
    store.apply(at, &put(name));
    store.snapshot()
}

fn voters(ids: &[u64]) -> ConfState {
    let mut conf_state = ConfState::default();
    conf_state.set_voters(ids.to_vec());
    conf_state
}

#[test]
fn a_directory_is_only_for_the_server_that_it_was_made_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let empty = Log::open(root, 7, Start::Reopen).err().expect("refused");
    assert!(matches!(empty, WalError::Empty { .. }), "{empty}");
    drop(Log::open(root, 7, Start::Join).expect("opens"));
    assert_eq!(server_id(root).expect("read"), Some(7));
    let other = Log::open(root, 8, Start::Join).err().expect("refused");
    let said = other.to_string();
    assert!(said.contains("server 7, this is server 8"), "{said}");
    // Founding is for empty directories only: this one still waits for a leader.
    let (_, recovered) = Log::open(root, 7, Start::Found).expect("opens");
    assert!(recovered.conf_state.voters.is_empty());
    assert_eq!(recovered.base, Position::default());
}

#[test]
fn a_directory_of_an_earlier_program_belongs_to_its_only_voter() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    std::fs::remove_file(directory.path().join("server")).expect("removed");
    let other = Log::open(directory.path(), 5, Start::Found).err();
    assert!(matches!(
        other,
        Some(WalError::OtherServer { found: 1, .. })
    ));
    drop(open(directory.path()).expect("opens"));
    assert_eq!(server_id(directory.path()).expect("read"), Some(1));
}

/// The log has entries 2 to 41 of term 1; another server's state ends at entry 40, of term 3.
#[test]
fn a_crash_at_any_point_of_a_restart_from_a_snapshot_leaves_one_state_or_the_other() {
    let at = Position { index: 40, term: 3 };
    let snapshot = state("theirs", at);
    let steps: [&dyn Fn(&Path); 3] = [
        &|_| {},
        &|root| {
            snapshots::save(root, &snapshot, &voters(&[1, 2, 3])).expect("saved");
        },
        &|root| {
            let mut watermark = Watermark::open(&root.join("synced")).expect("opens");
            watermark.set(at).expect("set");
        },
    ];
    for done in 1..=steps.len() {
        let directory = tempfile::tempdir().expect("a directory");
        filled(directory.path());
        steps[..done].iter().for_each(|step| step(directory.path()));
        for _again in 0..2 {
            let (_, recovered) = open(directory.path()).expect("opens");
            if done == 1 {
                assert_eq!(recovered.entries.len(), 40);
                continue;
            }
            assert_eq!(recovered.base, at);
            assert!(recovered.entries.is_empty());
            assert_eq!(recovered.conf_state.voters, [1, 2, 3]);
            assert!(recovered.snapshot.get(&key("theirs")).is_some());
            assert!(recovered.hard_state.term >= 3 && recovered.hard_state.commit == 40);
        }
        if done > 1 {
            let (mut log, _) = open(directory.path()).expect("opens");
            log.persist(&[append(1, vec![entry(41, 3, 10)])])
                .expect("goes on");
            drop(log);
            let (_, recovered) = open(directory.path()).expect("opens");
            assert_eq!(recovered.entries.len(), 1);
        }
    }
}

#[test]
fn a_received_file_becomes_the_state_and_a_missing_one_is_written_again() {
    for kept in [true, false] {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let at = Position { index: 90, term: 4 };
        let snapshot = state("theirs", at);
        let elsewhere = tempfile::tempdir().expect("a directory");
        snapshots::save(elsewhere.path(), &snapshot, &voters(&[1, 2])).expect("saved");
        let file = root.join("snapshot-incoming-0.new");
        let (mut log, _) = Log::open(root, 1, Start::Join).expect("opens");
        if kept {
            std::fs::rename(snapshots::path(elsewhere.path(), 90), &file).expect("moved");
        }
        let restart = Restart {
            snapshot,
            conf_state: voters(&[1, 2]),
            file: Some(file),
        };
        let installed = Append {
            number: 1,
            restart: Some(Box::new(restart)),
            ..Append::default()
        };
        log.persist(&[installed]).expect("installed");
        drop(log);
        let (_, recovered) = Log::open(root, 1, Start::Reopen).expect("opens");
        assert_eq!((recovered.base, recovered.entries.len()), (at, 0));
        assert_eq!(recovered.conf_state.voters, [1, 2]);
    }
}

#[test]
fn a_backup_becomes_a_new_cluster_and_replaces_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("backup");
    let at = Position { index: 90, term: 4 };
    backup(&file, &state("web", at)).expect("written");
    let root = directory.path().join("state");
    restore(&root, &file, 77).expect("restored");
    let (_, recovered) = Log::open(&root, 77, Start::Reopen).expect("opens");
    assert_eq!(recovered.conf_state.voters, [77]);
    assert!(recovered.snapshot.get(&key("web")).is_some());
    assert_eq!(recovered.base, at);
    drop(recovered);
    let again = restore(&root, &file, 77).expect_err("refused");
    assert!(again.to_string().contains("in use") || matches!(again, WalError::NotEmpty { .. }));
    let mut content = std::fs::read(&file).expect("read");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&file, content).expect("written");
    let damaged = restore(&directory.path().join("other"), &file, 77).expect_err("refused");
    assert!(matches!(damaged, WalError::Damaged { .. }), "{damaged}");
    assert!(!directory.path().join("other").exists());
}

#[test]
fn the_only_server_left_keeps_its_whole_log_and_votes_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let (mut log, _) = open(root).expect("opens");
    let encoded = kabuki_model::codec::encode(&put("web")).expect("encodes");
    let mut content = vec![2];
    content.extend((encoded.len() as u32).to_le_bytes());
    content.extend(encoded);
    let written = Entry {
        data: content.into(),
        ..entry(2, 6, 0)
    };
    // It was never told that this is committed.
    let mut never = append(1, vec![written]);
    never.hard_state.as_mut().expect("one").commit = 1;
    log.persist(&[never]).expect("written");
    drop(log);
    let last = Position { index: 2, term: 6 };
    assert_eq!(last_index(root).expect("read"), last);
    force_single_voter(root, 99).expect("forced");
    // Doing it twice does no harm.
    force_single_voter(root, 99).expect("forced");
    let old = Log::open(root, 1, Start::Reopen).err().expect("refused");
    assert!(matches!(old, WalError::OtherServer { found: 99, .. }));
    let (_, recovered) = Log::open(root, 99, Start::Reopen).expect("opens");
    assert_eq!(recovered.conf_state.voters, [99]);
    assert!(recovered.snapshot.get(&key("web")).is_some());
    assert!(recovered.entries.is_empty() && recovered.hard_state.term > 6);
    let made = Directory::open(&root.join("none")).expect("opens");
    drop(made);
    let nothing = force_single_voter(&root.join("none"), 5).expect_err("refused");
    assert!(matches!(nothing, WalError::Empty { .. }), "{nothing}");
}
