//! A disk that is full.

use super::{LIMIT, files_below, load_busybox, text};
use kabuki_runtime::image::{ImageConfig, pack::Entry};
use kabuki_tests::harness::{Daemon, Host, busybox, image_archive, until};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A small file system of its own; unmounted when dropped.
struct SmallDisk {
    at: TempDir,
}

impl SmallDisk {
    fn mount(mib: u32) -> Self {
        let at = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={mib}m,mode=0755"),
                "kabuki-test",
            ])
            .arg(at.path())
            .status();
        assert!(mounted.is_ok_and(|s| s.success()), "cannot mount a tmpfs");
        Self { at }
    }

    fn path(&self) -> &Path {
        self.at.path()
    }

    fn filler(&self) -> std::path::PathBuf {
        self.path().join("filler")
    }

    /// Takes every byte that is left, but `spare`.
    fn fill(&self, spare_kib: u64) {
        let mut file = std::fs::File::create(self.filler()).expect("the filler is made");
        let block = [7; 64 << 10];
        while file.write_all(&block).is_ok() {}
        let length = file.metadata().expect("a length").len();
        file.set_len(length.saturating_sub(spare_kib << 10))
            .expect("shortens");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("the filler goes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

const STEADY: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: steady}\nspec:\n  \
    terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: busybox\n    \
    imagePullPolicy: IfNotPresent\n    command: [sleep, '1000']\n";

#[test]
fn a_full_disk_refuses_writes_and_images_but_serves_on() {
    let disk = SmallDisk::mount(192);
    let mut node = Daemon::start_in(Host::new(), disk.path());
    load_busybox(&node);
    node.apply(STEADY);
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/steady",
        "--timeout=30s",
    ]);
    node.ok(&["create", "configmap", "before"]);
    let pid = node.pid();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let archive = another_image(elsewhere.path());
    let images = node.data_dir().join("images");
    let held = files_below(&images);

    disk.fill(256);
    let refused = node.refused(&["create", "configmap", "while-full"]);
    assert!(
        refused.contains("the disk is full") && refused.contains("make room"),
        "{refused}"
    );
    let refused = node.refused(&["image", "load", text(&archive)]);
    assert!(refused.contains("no space left"), "{refused}");
    assert_eq!(files_below(&images), held, "a refused image leaves nothing");
    assert_eq!(
        node.ok(&["get", "configmap", "before", "-o", "name"]),
        "configmap/before\n"
    );
    assert_eq!(
        node.ok(&["exec", "steady", "--", "echo", "alive"]),
        "alive\n"
    );

    // It also starts on a full disk: reads are served, and containers adopted.
    assert_eq!(node.pid(), pid);
    node.restart();
    assert_eq!(
        node.ok(&["get", "configmap", "before", "-o", "name"]),
        "configmap/before\n"
    );
    assert_eq!(
        node.ok(&["exec", "steady", "--", "echo", "alive"]),
        "alive\n"
    );

    disk.make_room();
    until("writes go on when there is room", LIMIT, || {
        (node.cli(&["create", "configmap", "after"]).code == 0).then_some(())
    });
    node.ok(&["image", "load", text(&archive)]);
    assert!(node.ok(&["image", "ls"]).contains("example.com/other"));
    let left = node.cli(&["get", "configmap", "while-full"]);
    assert!(
        left.err.contains("not found"),
        "a refused write must not happen later: {left:?}"
    );
    node.wait_value(
        "pod/steady",
        "{.status.containerStatuses[0].restartCount}",
        "0",
    );
}

/// An image that is not busybox, with more in it than there is room for.
fn another_image(dir: &Path) -> std::path::PathBuf {
    let mut entries = busybox();
    entries.push(Entry::file("etc/other", 0o644, vec![1; 4 << 20]));
    image_archive(dir, "example.com/other:1", entries, ImageConfig::default())
}
