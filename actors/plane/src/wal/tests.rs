use super::WalError;
mod servers;
mod spares;

use super::log::Log;
use crate::raft::Start;
use crate::raft::core::{Append, Recovered, Restart};
use kabuki_store::Position;
use raft::eraftpb::{Entry, HardState};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn open(root: &Path) -> Result<(Log, Recovered), WalError> {
    Log::open(root, 1, Start::Found)
}

fn entry(index: u64, term: u64, size: usize) -> Entry {
    // Different bytes, so that damage cannot pass for something else.
    let data: Vec<u8> = (0..size)
        .map(|n| (n as u64 * 31 + index * 7 + term) as u8 | 1)
        .collect();
    Entry {
        index,
        term,
        data: data.into(),
        ..Entry::default()
    }
}

fn append(number: u64, entries: Vec<Entry>) -> Append {
    let term = entries.last().map_or(1, |e| e.term);
    let commit = entries.first().map_or(1, |e| e.index - 1);
    let hard_state = Some(HardState {
        term,
        commit,
        ..HardState::default()
    });
    Append {
        number,
        entries,
        hard_state,
        restart: None,
        messages: Vec::new(),
    }
}

impl Log {
    /// As the writer does it.
    fn persist(&mut self, appends: &[Append]) -> Result<(), WalError> {
        self.append(appends)?;
        self.mark()
    }
}

/// A directory with entries 2 to 41, written four at a time.
fn filled(root: &Path) {
    let (mut log, recovered) = open(root).expect("opens");
    assert_eq!(
        recovered.snapshot.position(),
        Position { index: 1, term: 1 }
    );
    assert_eq!(recovered.conf_state.voters, [1]);
    for group in 0..10 {
        let entries = (0..4).map(|n| entry(2 + group * 4 + n, 1, 300)).collect();
        log.persist(&[append(group + 1, entries)]).expect("written");
    }
}

fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for directory in [root.to_owned(), root.join("log")] {
        for entry in std::fs::read_dir(directory).expect("listed") {
            let path = entry.expect("listed").path();
            // Room for the log has another name while it is being made.
            match std::fs::read(&path) {
                Ok(content) => drop(found.insert(path, content)),
                Err(_) if path.is_dir() || is_room(&path) => {}
                Err(e) => panic!("cannot read {}: {e}", path.display()),
            }
        }
    }
    found
}

fn is_room(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|e| e == "spare" || e == "unfinished")
}

fn restore(root: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in self::files(root).keys() {
        std::fs::remove_file(path).expect("removed");
    }
    for (path, content) in files {
        std::fs::write(path, content).expect("written");
    }
}

fn log_file(files: &BTreeMap<PathBuf, Vec<u8>>) -> PathBuf {
    let is_log = |p: &&PathBuf| p.extension().is_some_and(|e| e == "raftlog");
    files.keys().find(is_log).expect("a log file").clone()
}

/// Opens a damaged directory: either nothing is missing, or it is refused by the name of
/// `damaged` and left as it was.
fn whole_or_refused(root: &Path, damaged: &Path, what: &str) -> bool {
    let before = files(root);
    match open(root) {
        Ok((_, recovered)) => {
            let indexes: Vec<u64> = recovered.entries.iter().map(|e| e.index).collect();
            assert_eq!(indexes, (2..=41).collect::<Vec<_>>(), "{what}: shortened");
            assert!(
                recovered
                    .entries
                    .iter()
                    .all(|e| *e == entry(e.index, 1, 300)),
                "{what}"
            );
            true
        }
        Err(error @ WalError::Damaged { .. }) => {
            let said = error.to_string();
            assert!(
                said.contains(&damaged.display().to_string()),
                "{what}: {said}"
            );
            assert!(said.contains("restore"), "{what}: {said}");
            let mut after = files(root);
            after.retain(|path, _| before.contains_key(path));
            assert!(after == before, "{what}: files were changed: {said}");
            false
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn a_damaged_log_is_refused_by_file_and_never_shortened() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let good = files(directory.path());
    let path = log_file(&good);
    let end = good[&path].iter().rposition(|b| *b != 0).expect("content") + 1;
    let mut refused = 0;
    let places: Vec<usize> = (0..end).step_by(97).chain([0, 8, end - 1]).collect();
    for at in &places {
        restore(directory.path(), &good);
        let mut content = good[&path].clone();
        content[*at] ^= 0x55;
        std::fs::write(&path, content).expect("written");
        let whole = whole_or_refused(directory.path(), &path, &format!("byte {at}"));
        refused += usize::from(!whole);
    }
    // A few bytes of the format mean nothing.
    assert!(
        refused * 10 > places.len() * 9,
        "{refused} of {} refused",
        places.len()
    );
}

#[test]
fn a_truncated_log_is_refused_by_file_and_place() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let good = files(directory.path());
    let path = log_file(&good);
    let end = good[&path].iter().rposition(|b| *b != 0).expect("content") + 1;
    for length in (0..end).step_by(211).chain([end - 1]) {
        restore(directory.path(), &good);
        std::fs::write(&path, &good[&path][..length]).expect("written");
        let what = format!("cut at {length}");
        assert!(!whole_or_refused(directory.path(), &path, &what), "{what}");
    }
    restore(directory.path(), &good);
    assert!(whole_or_refused(directory.path(), &path, "undamaged"));
}

#[test]
fn a_write_that_a_crash_cut_off_is_no_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let good = files(directory.path());
    let path = log_file(&good);
    let synced = good[&directory.path().join("synced")].clone();
    {
        let (mut log, _) = open(directory.path()).expect("opens");
        log.persist(&[append(1, vec![entry(42, 1, 5000)])])
            .expect("written");
    }
    // As if the crash had come before the sync: the watermark is the old one.
    std::fs::write(directory.path().join("synced"), synced).expect("written");
    let mut content = std::fs::read(&path).expect("read");
    let end = content.iter().rposition(|b| *b != 0).expect("content") + 1;
    content[end - 3000..].fill(0);
    std::fs::write(&path, content).expect("written");
    assert!(whole_or_refused(directory.path(), &path, "a torn write"));
}

#[test]
fn missing_and_damaged_small_files_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let good = files(directory.path());
    for name in ["FORMAT", "synced"] {
        restore(directory.path(), &good);
        let path = directory.path().join(name);
        std::fs::remove_file(&path).expect("removed");
        assert!(!whole_or_refused(directory.path(), &path, name));
    }
    restore(directory.path(), &good);
    let path = directory.path().join("synced");
    std::fs::write(&path, vec![0xee; 600]).expect("written");
    assert!(!whole_or_refused(
        directory.path(),
        &path,
        "a damaged watermark"
    ));
    restore(directory.path(), &good);
    std::fs::write(directory.path().join("FORMAT"), "kabuki state 7\n").expect("written");
    let error = open(directory.path()).err().expect("refused").to_string();
    assert!(
        error.contains("kabuki state 7") && error.contains("FORMAT"),
        "{error}"
    );
}

#[test]
fn a_damaged_snapshot_is_refused_by_name_and_place() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let good = files(directory.path());
    let path = super::snapshots::path(directory.path(), 1);
    let mut content = good[&path].clone();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&path, content).expect("written");
    assert!(!whole_or_refused(
        directory.path(),
        &path,
        "a damaged snapshot"
    ));
    let error = open(directory.path()).err().expect("refused").to_string();
    assert!(error.contains("at byte 12: chunk 0 is damaged"), "{error}");
    std::fs::remove_file(&path).expect("removed");
    assert!(!whole_or_refused(
        directory.path(),
        directory.path(),
        "no snapshot"
    ));
}

#[test]
fn a_gap_is_refused_and_a_new_leader_may_replace_entries() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let (mut log, _) = open(directory.path()).expect("opens");
    let gap = log.persist(&[append(1, vec![entry(43, 1, 10)])]);
    assert!(matches!(
        gap,
        Err(WalError::Gap {
            index: 43,
            last: 41
        })
    ));
    log.persist(&[append(1, vec![entry(30, 2, 10), entry(31, 2, 10)])])
        .expect("replaced");
    drop(log);
    let (_, recovered) = open(directory.path()).expect("opens");
    let last: Vec<_> = recovered
        .entries
        .iter()
        .map(|e| (e.index, e.term))
        .skip(27)
        .collect();
    assert_eq!(last, [(29, 1), (30, 2), (31, 2)]);
}

#[test]
fn a_directory_has_one_user() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = open(directory.path()).expect("opens");
    let second = open(directory.path()).err().expect("refused");
    assert!(matches!(second, WalError::InUse { .. }), "{second}");
    drop(first);
    open(directory.path()).expect("opens");
}
