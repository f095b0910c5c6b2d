//! Files of the log that are written over: what they held before is never taken for the log.

use super::super::snapshots;
use super::*;
use kabuki_store::Store;
use raft::eraftpb::ConfState;
use std::os::unix::fs::MetadataExt;

const ENTRY_BYTES: usize = 256 << 10;
/// Entries until the log has written over several of its files.
const ENTRIES: u64 = 260;
/// Entries between two snapshots.
const SNAPSHOT: u64 = 40;

fn names(root: &Path, extension: &str) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(root.join("log")).expect("listed");
    let paths = listed.map(|e| e.expect("listed").path());
    paths
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect()
}

/// The files of the log, by what they are called and by what the disk calls them.
fn present(root: &Path) -> BTreeMap<PathBuf, u64> {
    numbers(names(root, "raftlog"))
}

fn numbers(paths: Vec<PathBuf>) -> BTreeMap<PathBuf, u64> {
    let number = |path: PathBuf| Some((path.clone(), std::fs::metadata(path).ok()?.ino()));
    paths.into_iter().filter_map(number).collect()
}

/// Appends entries, with a snapshot now and then up to which the log is forgotten. Returns how
/// often a file was written over that had been one of the log before, or was there at the start.
fn fill(root: &Path, log: &mut Log, entries: std::ops::Range<u64>) -> usize {
    let mut conf_state = ConfState::default();
    conf_state.set_voters(vec![1]);
    let mut reused = 0;
    let mut known = present(root);
    known.extend(numbers(names(root, "spare")));
    for index in entries {
        log.persist(&[append(index, vec![entry(index, 1, ENTRY_BYTES)])])
            .expect("written");
        for (path, number) in present(root) {
            let before = known.values().any(|n| *n == number);
            reused += usize::from(known.insert(path, number).is_none() && before);
        }
        if index % SNAPSHOT == 0 {
            let mut store = Store::new();
            store.advance(Position { index, term: 1 });
            snapshots::save(root, &store.snapshot(), &conf_state).expect("saved");
            let keep_after = snapshots::prune(root).expect("pruned");
            log.compact(keep_after).expect("compacted");
        }
    }
    reused
}

/// What a crash at this moment would leave.
fn crashed(root: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(copy.path().join("log")).expect("made");
    for (path, content) in files(root) {
        let place = path.strip_prefix(root).expect("below");
        std::fs::write(copy.path().join(place), content).expect("copied");
    }
    copy
}

fn last(recovered: &Recovered) -> u64 {
    let mut before = recovered.base.index;
    for found in &recovered.entries {
        assert_eq!(found.index, before + 1);
        assert!(*found == entry(found.index, 1, ENTRY_BYTES));
        before = found.index;
    }
    before
}

#[test]
fn a_crash_leaves_the_log_whole_although_its_files_are_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut log, _) = open(directory.path()).expect("opens");
    assert!(fill(directory.path(), &mut log, 2..ENTRIES) > 2);
    let newest = names(directory.path(), "raftlog").into_iter().max();
    let newest = newest.expect("a file");
    let name = newest.file_name().expect("a name");

    let copy = crashed(directory.path());
    let (mut opened, recovered) = open(copy.path()).expect("opens");
    assert_eq!(last(&recovered), ENTRIES - 1);
    // It goes on, and what a former process has left is written over too.
    let more = ENTRIES..ENTRIES + SNAPSHOT;
    assert!(fill(copy.path(), &mut opened, more) > 0);

    // A write that was cut off: what stood there before must not be taken for its end.
    let torn = crashed(directory.path());
    log.persist(&[append(ENTRIES, vec![entry(ENTRIES, 1, 5000)])])
        .expect("written");
    let whole = std::fs::read(&newest).expect("read");
    let before = std::fs::read(torn.path().join("log").join(name)).expect("read");
    let changed = |n: &usize| whole[*n] != before[*n];
    let end = (0..before.len()).rfind(changed).expect("it was written to");
    for cut in [1, 8, 40, 3000, 5000] {
        let copy = crashed(torn.path());
        let mut content = before.clone();
        content[..=end - cut].copy_from_slice(&whole[..=end - cut]);
        std::fs::write(copy.path().join("log").join(name), content).expect("written");
        let (_, recovered) = open(copy.path()).expect("opens");
        assert_eq!(
            last(&recovered),
            ENTRIES - 1,
            "cut {cut} bytes before the end"
        );
    }

    // And what was reported as written is missed.
    let synced = std::fs::read(directory.path().join("synced")).expect("read");
    std::fs::write(torn.path().join("synced"), synced).expect("written");
    let refused = open(torn.path()).err().expect("refused").to_string();
    assert!(refused.contains(&*name.to_string_lossy()), "{refused}");
}

#[test]
fn room_is_made_ahead_by_another_thread() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let (mut log, _) = open(root).expect("opens");
    let files = || present(root).len();
    let mut index = 2;
    let mut grow = |to: usize| {
        while files() < to {
            log.persist(&[append(index, vec![entry(index, 1, ENTRY_BYTES)])])
                .expect("written");
            index += 1;
        }
    };
    assert!(names(root, "spare").is_empty(), "a small log needs none");
    grow(2);
    let ready = |root: &Path| names(root, "spare").first().cloned();
    let made = loop {
        match ready(root) {
            Some(path) => break path,
            None => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    let made = std::fs::metadata(made).expect("it is there");
    assert!(made.len() > 8 << 20, "it has room for a whole file");
    assert!(made.blocks() * 512 >= made.len(), "blocks, not a hole");
    grow(3);
    assert!(present(root).values().any(|n| *n == made.ino()));
    let crash = crashed(root);
    let (_, recovered) = open(crash.path()).expect("opens");
    assert_eq!(last(&recovered), index - 1);
}
