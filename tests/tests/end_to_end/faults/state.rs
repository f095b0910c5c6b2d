//! Damaged and truncated files of the state and of the certificates.

use super::{LIMIT, files_below};
use kabuki_tests::harness::{Daemon, until};
use std::path::{Path, PathBuf};

/// What happens to a file.
enum Damage {
    /// Everything after this part of what is written (in percent) goes.
    Truncated(usize),
    /// One bit flips, at this part of what is written (in percent).
    Flipped(usize),
    Removed,
}

/// Damages a file, and gives back what it was.
fn damage(path: &Path, how: &Damage) -> Vec<u8> {
    let good = std::fs::read(path).expect("reads");
    // Log files are made longer than what is in them.
    let written = good.iter().rposition(|b| *b != 0).expect("content") + 1;
    let mut bad = good.clone();
    match how {
        Damage::Truncated(percent) => bad.truncate(written * percent / 100),
        Damage::Flipped(percent) => bad[written * percent / 100] ^= 0x10,
        Damage::Removed => return std::fs::remove_file(path).map(|()| good).expect("removes"),
    }
    std::fs::write(path, bad).expect("writes");
    good
}

/// Starts the node, which must end by itself; gives its exit code and what it said.
fn refused_start(node: &mut Daemon) -> (i32, String) {
    let before = node.log().len();
    node.launch();
    let status = until("the daemon refuses to start", LIMIT, || node.ended());
    (
        status.code().unwrap_or(-1),
        node.log()[before..].to_string(),
    )
}

fn find(node: &Daemon, folder: &str, part: &str) -> PathBuf {
    let folder = node.data_dir().join(folder);
    let found = files_below(&folder).into_iter().rev();
    let found = found.filter(|p| {
        p.file_name()
            .is_some_and(|n| n.to_string_lossy().contains(part))
    });
    let filled = |p: &PathBuf| std::fs::read(p).is_ok_and(|b| b.iter().any(|b| *b != 0));
    found
        .clone()
        .find(filled)
        .unwrap_or_else(|| panic!("no {part} below {}", folder.display()))
}

#[test]
fn damaged_files_are_refused_by_name_and_whole_ones_taken_again() {
    let mut node = Daemon::start();
    for number in 0..20 {
        node.ok(&[
            "create",
            "configmap",
            &format!("note-{number}"),
            "--from-literal=a=b",
        ]);
    }
    assert!(node.terminate().success());
    let log = find(&node, "state/log", ".raftlog");
    let cases = [
        (log.clone(), Damage::Truncated(50)),
        (log.clone(), Damage::Truncated(95)),
        (log.clone(), Damage::Flipped(40)),
        (log, Damage::Flipped(97)),
        (find(&node, "state", "snapshot-"), Damage::Truncated(60)),
        (find(&node, "state", "snapshot-"), Damage::Flipped(50)),
        (find(&node, "state", "synced"), Damage::Removed),
        (find(&node, "pki", "ca.crt"), Damage::Truncated(50)),
        (find(&node, "pki", "node.crt"), Damage::Truncated(50)),
        (find(&node, "pki", "node.key"), Damage::Truncated(50)),
        (node.data_dir().join("member.json"), Damage::Truncated(50)),
    ];
    for (path, how) in &cases {
        let good = damage(path, how);
        let bad = std::fs::read(path).ok();
        let (code, said) = refused_start(&mut node);
        let place = path.display().to_string();
        assert!(code != 0, "{place}: {said}");
        assert!(said.contains(&place), "{place}: {said}");
        assert!(!said.contains("panicked"), "{place}: {said}");
        assert!(said.contains("restore"), "what to do about {place}: {said}");
        assert_eq!(std::fs::read(path).ok(), bad, "{place} was changed");
        std::fs::write(path, good).expect("writes");
    }
    node.launch();
    node.wait_answering();
    let names = node.ok(&["get", "configmaps", "-o", "name"]);
    assert_eq!(names.matches("configmap/note-").count(), 20, "{names}");
    node.ok(&["create", "configmap", "later"]);
}
