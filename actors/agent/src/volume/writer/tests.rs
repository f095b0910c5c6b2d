use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

fn file(path: &str, text: &str) -> VolumeFile {
    VolumeFile {
        path: path.to_string(),
        bytes: text.as_bytes().to_vec(),
        mode: 0o640,
        owner: None,
    }
}

#[test]
fn a_volume_is_replaced_as_a_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().join("volume");
    write(&at, &[file("a", "1"), file("sub/b", "2")], None).expect("written");
    let read = |name: &str| std::fs::read_to_string(at.join(name)).ok();
    assert_eq!(read("a").as_deref(), Some("1"));
    assert_eq!(read("sub/b").as_deref(), Some("2"));
    let mode = std::fs::metadata(at.join("a"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640);
    let first = at.join(std::fs::read_link(at.join(DATA)).expect("a link"));
    let old = update(&at, &[file("a", "3")], None).expect("written");
    assert_eq!(read("a").as_deref(), Some("3"));
    assert_eq!(read("sub/b"), None);
    let held = std::fs::read_to_string(first.join("a"));
    assert_eq!(held.expect("readers of the old files find them"), "1");
    assert_eq!(old, std::slice::from_ref(&first));
    remove_old(&first).expect("removed");
    let left = std::fs::read_dir(&at).expect("a directory").count();
    assert_eq!(left, 3, "the directory, ..data and a");
}

#[test]
fn only_a_difference_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().join("volume");
    let files = [file("a", "1"), file("sub/b", "2")];
    let updated = |files: &[VolumeFile]| {
        let before = std::fs::read_link(at.join(DATA)).ok();
        update(&at, files, None).expect("fine");
        before != std::fs::read_link(at.join(DATA)).ok()
    };
    assert!(!updated(&files));
    assert!(!at.exists(), "what is not there is not made");
    write(&at, &files, None).expect("written");
    assert!(!updated(&files));
    assert!(updated(&files[..1]));
    assert!(updated(&[file("a", "1"), file("sub/b", "3")]));
    assert!(updated(&[file("a", "1"), file("sub/c", "3")]));
    assert!(updated(&[]));
    assert!(!updated(&[]));
}

#[test]
fn readers_in_a_loop_see_no_mixture_and_no_missing_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().join("volume");
    let both = |text: &str| [file("a", text), file("sub/b", text)];
    write(&at, &both("0"), None).expect("written");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                std::fs::read(at.join("a")).expect("the first file");
                std::fs::read(at.join("sub/b")).expect("the second file");
                let held = at.join(std::fs::read_link(at.join(DATA)).expect("a link"));
                let read = |name| std::fs::read(held.join(name)).expect("a file");
                assert_eq!(read("a"), read("sub/b"));
                seen += 1;
            }
        });
        for n in 1..300 {
            update(&at, &both(&n.to_string()), None).expect("written");
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("no mixture");
    });
}

#[test]
fn a_path_that_leads_out_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    for path in ["../x", "/x", "a/../../x", "..data", ""] {
        assert!(
            write(dir.path(), &[file(path, "")], None).is_err(),
            "{path}"
        );
    }
}
