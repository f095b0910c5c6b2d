//! Files of the log that are written over: what they held before is never taken for the log.

use super::super::snapshots;
use super::*;
use kabuki_store::Store;
use raft::eraftpb::ConfState;

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

/// Appends entries, with a snapshot now and then up to which the log is forgotten. Returns how
/// often a spare file was written over.
fn fill(root: &Path, log: &mut Log, entries: std::ops::Range<u64>) -> usize {
    let mut conf_state = ConfState::default();
    conf_state.set_voters(vec![1]);
    let mut reused = 0;
    for index in entries {
        let spares = names(root, "spare").len();
        log.append(&[append(index, vec![entry(index, 1, ENTRY_BYTES)])])
            .expect("written");
        reused += usize::from(names(root, "spare").len() < spares);
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
    log.append(&[append(ENTRIES, vec![entry(ENTRIES, 1, 5000)])])
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
