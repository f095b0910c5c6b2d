use std::{
    collections::BTreeMap,
    fs,
    io::Cursor,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::PathBuf,
};

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

/// A tar archive whose names nothing has checked.
#[derive(Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn add(self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1000);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        self.push(header, content)
    }

    fn push(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        let padding = content.len().next_multiple_of(512) - content.len();
        self.0.extend(std::iter::repeat_n(0, padding));
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.add(EntryType::Regular, name, "", content)
    }

    fn directory(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Symlink, name, target, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.add(EntryType::Link, name, target, b"")
    }
}

/// A directory to unpack into, and things beside it that must stay as they are.
struct Sandbox {
    top: TempDir,
    limits: UnpackLimits,
}

impl Sandbox {
    fn new() -> Self {
        let top = tempfile::tempdir().unwrap();
        for name in ["root", "outside", "outside/deep"] {
            fs::create_dir(top.path().join(name)).unwrap();
        }
        fs::write(top.path().join("secret"), "secret").unwrap();
        fs::write(top.path().join("outside/file"), "outside").unwrap();
        let limits = UnpackLimits {
            max_bytes: 1 << 20,
            max_entries: 1000,
        };
        Self { top, limits }
    }

    fn root(&self) -> PathBuf {
        self.top.path().join("root")
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked> {
        let going_on = AtomicBool::new(false);
        unpack(
            Cursor::new(archive),
            &self.root(),
            "sha256:test",
            self.limits,
            &going_on,
        )
    }

    fn refusal(&self, archive: Raw) -> String {
        match self.unpack(&archive.0) {
            Err(error @ ImageError::BadLayer { .. }) => error.to_string(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// All that is outside of the root: path to looks and content.
    fn outside(&self) -> BTreeMap<PathBuf, (u32, u64, Vec<u8>)> {
        let mut seen = BTreeMap::new();
        let mut pending = vec![self.top.path().to_owned()];
        while let Some(path) = pending.pop() {
            let found = fs::symlink_metadata(&path).unwrap();
            let content = match found.is_file() {
                true => fs::read(&path).unwrap(),
                false => Vec::new(),
            };
            seen.insert(path.clone(), (found.mode(), found.nlink(), content));
            if found.is_dir() && path != self.root() {
                pending.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            }
        }
        // The number of directories in it changes the root's own link count.
        seen.remove(&self.root());
        seen
    }
}

#[test]
fn files_keep_owner_mode_time_and_links() {
    let sandbox = Sandbox::new();
    let mut archive = Builder::new(Vec::new());
    let pax = [
        ("SCHILY.xattr.user.color", b"blue".as_slice()),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("mtime", b"1234567890.5"),
    ];
    archive.append_pax_extensions(pax).unwrap();
    let mut header = Header::new_gnu();
    header.set_mode(0o4755);
    header.set_uid(1000);
    header.set_gid(2000);
    header.set_size(3);
    archive
        .append_data(&mut header, "bin/tool", b"abc".as_slice())
        .unwrap();
    let tail = Raw::default()
        .hard_link("bin/same", "/bin/tool")
        .symlink("abs", "/bin/tool");
    let mut bytes = archive.get_ref().clone();
    bytes.extend(tail.0);
    let report = sandbox.unpack(&bytes).unwrap();

    let tool = fs::metadata(sandbox.root().join("bin/tool")).unwrap();
    assert_eq!(
        (tool.mode() & 0o7777, tool.uid(), tool.gid()),
        (0o4755, 1000, 2000)
    );
    assert_eq!(
        (tool.mtime(), tool.mtime_nsec()),
        (1_234_567_890, 500_000_000)
    );
    assert_eq!(tool.nlink(), 2);
    let color = xattr::get(sandbox.root().join("bin/tool"), "user.color").unwrap();
    let redirect = xattr::get(sandbox.root().join("bin/tool"), "trusted.overlay.redirect");
    assert_eq!(
        (color.as_deref(), redirect.unwrap()),
        (Some(b"blue".as_slice()), None)
    );
    assert_eq!(report.skipped_xattrs, 1);
    assert_eq!(
        report.implicit.iter().collect::<Vec<_>>(),
        [&PathBuf::from("bin")]
    );
    assert_eq!(
        fs::read_link(sandbox.root().join("abs")).unwrap(),
        PathBuf::from("/bin/tool")
    );
}

#[test]
fn devices_and_fifos_are_made() {
    let sandbox = Sandbox::new();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Char);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    header.set_mode(0o666);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(0);
    header.as_old_mut().name[..4].copy_from_slice(b"null");
    let archive = Raw::default()
        .push(header, b"")
        .add(EntryType::Fifo, "pipe", "", b"");
    sandbox.unpack(&archive.0).unwrap();
    let null = fs::metadata(sandbox.root().join("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(
        (null.rdev(), null.mode() & 0o777),
        (rustix::fs::makedev(1, 3), 0o666)
    );
    assert!(
        fs::metadata(sandbox.root().join("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn deletions_become_overlayfs_marks() {
    let sandbox = Sandbox::new();
    let archive = Raw::default()
        .file("etc/.wh.gone", b"")
        .directory("var/cache")
        .file("var/cache/.wh..wh..opq", b"")
        .file("var/cache/new", b"x")
        .file(".wh..wh.plnk", b"")
        .file("kept", b"x")
        .file(".wh.kept", b"")
        .file(".wh.back", b"")
        .directory("back")
        .file(".wh.child/", b"")
        .file("child/inside", b"x");
    sandbox.unpack(&archive.0).unwrap();
    let root = sandbox.root();
    let gone = fs::symlink_metadata(root.join("etc/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |path: &str| xattr::get(root.join(path), OPAQUE_XATTR).unwrap();
    assert_eq!(opaque("var/cache").as_deref(), Some(b"y".as_slice()));
    assert_eq!(fs::read(root.join("var/cache/new")).unwrap(), b"x");
    assert!(!root.join(".wh..wh.plnk").exists());
    // What the layer itself has is not deleted by it.
    assert_eq!(fs::read(root.join("kept")).unwrap(), b"x");
    // Deleted below and made anew: nothing from below may shine through.
    assert_eq!(opaque("back").as_deref(), Some(b"y".as_slice()));
    assert_eq!(opaque("child").as_deref(), Some(b"y".as_slice()));
    assert_eq!(opaque("etc"), None);
}

#[test]
fn nothing_leaves_the_root() {
    let sandbox = Sandbox::new();
    let before = sandbox.outside();
    let outside = sandbox.top.path().join("outside");
    let outside = outside.to_str().unwrap();
    let refused = [
        Raw::default().file("../secret", b"x"),
        Raw::default().file("a/../../secret", b"x"),
        Raw::default().directory(".."),
        Raw::default().hard_link("link", "../secret"),
        Raw::default()
            .symlink("up", "..")
            .hard_link("link", "up/secret"),
        Raw::default()
            .symlink("out", outside)
            .hard_link("link", "out/file"),
        Raw::default().hard_link("link", "missing"),
        Raw::default().file("x", b"").hard_link("x", "x"),
        Raw::default().file("../.wh.secret", b""),
        Raw::default().file(".wh...", b""),
        Raw::default().symlink("loop", "loop").file("loop/x", b""),
        Raw::default()
            .symlink("dangling", "nowhere")
            .file("dangling/x", b""),
        Raw::default().file("file", b"").file("file/x", b""),
        Raw::default().symlink(".", "/etc"),
        Raw::default().add(EntryType::new(b'S'), "sparse", "", b""),
        Raw::default().add(EntryType::new(b'Q'), "odd", "", b""),
    ];
    for archive in refused {
        sandbox.refusal(archive);
        assert_eq!(sandbox.outside(), before);
    }
    let contained = Raw::default()
        .file("/absolute", b"in")
        .symlink("out", outside)
        .directory(&outside[1..])
        .file("out/file", b"in")
        .symlink("up", "../../../..")
        .file("up/top", b"in")
        .symlink("over", &format!("{outside}/file"))
        .file("over", b"in")
        .file("out/.wh.deep", b"");
    sandbox.unpack(&contained.0).unwrap();
    assert_eq!(sandbox.outside(), before);
    for path in [
        "absolute",
        "top",
        "over",
        &format!("{}/file", &outside[1..]),
    ] {
        assert_eq!(
            fs::read(sandbox.root().join(path)).unwrap(),
            b"in",
            "{path}"
        );
    }
}

#[test]
fn later_entries_replace_earlier_ones_of_any_kind() {
    let sandbox = Sandbox::new();
    let archive = Raw::default()
        .directory("a")
        .file("a/b", b"1")
        .file("a", b"2")
        .symlink("c", "a")
        .directory("c")
        .file("c/d", b"3")
        .file("c/d", b"4");
    sandbox.unpack(&archive.0).unwrap();
    assert_eq!(fs::read(sandbox.root().join("a")).unwrap(), b"2");
    assert_eq!(fs::read(sandbox.root().join("c/d")).unwrap(), b"4");
    assert!(
        fs::symlink_metadata(sandbox.root().join("c"))
            .unwrap()
            .is_dir()
    );
}

#[test]
fn bombs_are_stopped_at_the_limits() {
    let mut sandbox = Sandbox::new();
    let text = sandbox.refusal(Raw::default().file("big", &vec![0; 2 << 20]));
    assert!(
        text.contains("larger than allowed") && text.contains("1048576"),
        "{text}"
    );
    let padded = Raw(vec![0; 2 << 20]);
    assert!(sandbox.refusal(padded).contains("larger than allowed"));
    sandbox.limits.max_entries = 10;
    let many = (0..20).fold(Raw::default(), |raw, n| raw.file(&format!("f{n}"), b""));
    assert!(sandbox.refusal(many).contains("more than 10 entries"));
    let deep = Raw::default()
        .file("a/b/c/d/e/f/g/h/i/j/k", b"")
        .file("x", b"");
    assert!(sandbox.refusal(deep).contains("more than 10 entries"));
    sandbox.limits.max_bytes = 1 << 40;
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_size(1 << 39);
        let text = sandbox.refusal(Raw::default().push(header, b""));
        assert!(text.contains("extension record"), "{text}");
    }
}

#[test]
fn a_cut_archive_is_refused_and_a_cancelled_one_stops() {
    let sandbox = Sandbox::new();
    let archive = Raw::default().file("a", &[7; 2000]).0;
    for length in [100, 700, 2000] {
        let text = sandbox.refusal(Raw(archive[..length].to_vec()));
        assert!(
            text.contains("truncated") || text.contains("ends in the middle"),
            "{text}"
        );
    }
    let result = unpack(
        Cursor::new(&archive),
        &sandbox.root(),
        "sha256:test",
        sandbox.limits,
        &AtomicBool::new(true),
    );
    assert!(matches!(result, Err(ImageError::Cancelled { .. })));
}

/// Names that try to get out, and names that collide with each other.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b",
        "..",
        ".",
        "",
        "up",
        "out",
        ".wh.a",
        ".wh..wh..opq",
        ".wh.up",
        "secret",
        "outside",
        "file",
        "deep",
    ]);
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

/// Kind, name, link target and size of an entry.
type Planned = (EntryType, String, String, usize);

/// Any entry, or a trap: a link to something outside and an entry that would go through it.
fn planned() -> impl Strategy<Value = Vec<Planned>> {
    let any = (kind(), name(), name(), 0usize..700).prop_map(|entry| vec![entry]);
    let target = prop::sample::select(vec!["outside", "", "..", "../outside", "secret"]);
    let inside = prop::sample::select(vec!["", "/file", "/secret", "/new", "/deep/x", "/.wh.file"]);
    let trap = (kind(), target, inside, name()).prop_map(|(kind, target, inside, link)| {
        let trap = (EntryType::Symlink, "trap".to_owned(), target.to_owned(), 0);
        vec![trap, (kind, format!("trap{inside}"), link, 10)]
    });
    prop_oneof![3 => any, 1 => trap]
}

fn kind() -> impl Strategy<Value = EntryType> {
    let kinds = b"0512126347gxLKSV".map(EntryType::new).to_vec();
    prop::sample::select(kinds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hostile_and_mutated_archives_touch_nothing_outside(
        entries in prop::collection::vec(planned(), 1..10),
        absolute in any::<bool>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        repair in any::<bool>(),
    ) {
        let sandbox = Sandbox::new();
        let before = sandbox.outside();
        let mut raw = Raw::default();
        for (kind, name, link, size) in entries.iter().flatten() {
            let link = match absolute {
                true => format!("{}/{link}", sandbox.top.path().display()),
                false => link.clone(),
            };
            let link: String = link.chars().take(99).collect();
            // A device node other than the deletion mark is nothing to try on a build machine.
            let size = if matches!(kind, EntryType::Regular) { *size } else { 0 };
            raw = raw.add(*kind, name, &link, &vec![b'x'; size]);
        }
        let mut bytes = raw.0;
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
            if repair {
                let block = at / 512 * 512;
                if let Some(block) = bytes.get_mut(block..block + 512) {
                    let mut header = Header::new_old();
                    header.as_mut_bytes().copy_from_slice(block);
                    header.set_cksum();
                    block.copy_from_slice(header.as_bytes());
                }
            }
        }
        let result = sandbox.unpack(&bytes);
        prop_assert_eq!(sandbox.outside(), before);
        if let Err(error) = result {
            prop_assert!(matches!(error, ImageError::BadLayer { .. }), "{}", error);
        }
    }
}
