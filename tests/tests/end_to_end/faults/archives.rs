//! Archives that are not what they should be.

use super::{files_below, text};
use kabuki_runtime::image::Digest;
use kabuki_tests::harness::Daemon;
use serde_json::json;
use std::path::Path;
use tar::{EntryType, Header};

/// One member of an archive, whatever its name.
enum Member<'a> {
    File(&'a str, &'a [u8]),
    Symlink(&'a str, &'a str),
    HardLink(&'a str, &'a str),
}

/// A tar archive with names and targets just as they are given.
fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        let (name, kind, target, content): (_, _, _, &[u8]) = match member {
            Member::File(name, content) => (name, EntryType::Regular, "", content),
            Member::Symlink(name, target) => (name, EntryType::Symlink, *target, &[]),
            Member::HardLink(name, target) => (name, EntryType::Link, *target, &[]),
        };
        let raw = header.as_gnu_mut().expect("a GNU header");
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        raw.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).expect("appends");
    }
    builder.into_inner().expect("ends")
}

/// A `docker save` archive of one image with this layer.
fn saved(layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": "", "os": "linux", "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]},
    });
    let manifest =
        json!([{"Config": "config.json", "RepoTags": ["bad:1"], "Layers": ["layer.tar"]}]);
    archive(&[
        Member::File("layer.tar", layer),
        Member::File("config.json", config.to_string().as_bytes()),
        Member::File("manifest.json", manifest.to_string().as_bytes()),
    ])
}

fn refused(node: &Daemon, folder: &Path, bytes: &[u8]) -> String {
    let path = folder.join("bad.tar");
    std::fs::write(&path, bytes).expect("writes");
    node.refused(&["image", "load", text(&path)])
}

#[test]
fn archives_that_reach_outside_are_refused_by_the_entry_and_leave_nothing() {
    let node = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    let target = outside.path().join("target");
    std::fs::write(&target, "untouched").expect("writes");
    let inside = outside.path().join("made");
    let held = files_below(&node.data_dir().join("images"));

    let layers = [
        ("../escaped", archive(&[Member::File("../escaped", b"x")])),
        (
            "a/../../escaped",
            archive(&[Member::File("a/../../escaped", b"x")]),
        ),
        ("link", archive(&[Member::HardLink("link", text(&target))])),
        (
            "link",
            archive(&[Member::HardLink("link", "../../../../../../etc/passwd")]),
        ),
        (
            "out/made",
            archive(&[
                Member::Symlink("out", text(outside.path())),
                Member::File("out/made", b"x"),
            ]),
        ),
    ];
    for (entry, layer) in &layers {
        let said = refused(&node, folder.path(), &saved(layer));
        assert!(
            said.contains(&format!("entry {entry:?}")),
            "{entry}: {said}"
        );
    }
    let members = [
        Member::File("../index.json", b"{}"),
        Member::Symlink("index.json", text(&target)),
        Member::Symlink("index.json", "../../target"),
    ];
    for member in members {
        let (Member::File(name, _) | Member::Symlink(name, _) | Member::HardLink(name, _)) = member;
        let said = refused(&node, folder.path(), &archive(&[member]));
        assert!(said.contains(&format!("member {name:?}")), "{name}: {said}");
    }
    assert_eq!(
        std::fs::read_to_string(&target).expect("reads"),
        "untouched"
    );
    assert!(!inside.exists(), "a file was made outside");
    assert_eq!(
        files_below(&node.data_dir().join("images")),
        held,
        "something is left"
    );
    let listed = node.ok(&["image", "ls"]);
    assert!(!listed.contains("bad"), "{listed}");
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let node = Daemon::start();
    let folder = tempfile::tempdir().expect("a folder");
    let layer = archive(&[Member::File("x", &[1; 5000])]);
    let whole = saved(&layer);
    let wrong_layer = {
        let mut bytes = whole.clone();
        let at = bytes
            .windows(64)
            .position(|w| w == [1; 64])
            .expect("the file");
        bytes[at] = 2;
        bytes
    };
    let cases: [(&[u8], &str); 5] = [
        (b"", "index.json"),
        (&b"this is no archive at all\n".repeat(1000), "archive"),
        (
            &archive(&[Member::File("readme", b"hello")]),
            "neither an index.json",
        ),
        (&whole[..whole.len() / 3], "archive"),
        (&wrong_layer, "corrupt"),
    ];
    for (bytes, expected) in cases {
        let said = refused(&node, folder.path(), bytes);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let said = node.refused(&["image", "load", "/nowhere.tar"]);
    assert!(said.contains("/nowhere.tar"), "{said}");
}
