//! Images for tests, from what Debian's packages put on this machine.

use kabuki_runtime::image::ImageConfig;
use kabuki_runtime::image::pack::{Entry, ImageBuilder};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of [`busybox_archive`]'s image.
const BUSYBOX: &str = "docker.io/library/busybox:latest";

/// An archive of `busybox:latest`, made from the static busybox, in `dir`.
pub fn busybox_archive(dir: &Path) -> PathBuf {
    let config = ImageConfig {
        cmd: vec!["sh".to_string()],
        env: vec!["PATH=/bin:/sbin:/usr/bin:/usr/sbin".to_string()],
        ..ImageConfig::default()
    };
    image_archive(dir, BUSYBOX, busybox(), config)
}

/// An archive of one image with one layer, in `dir`.
pub fn image_archive(dir: &Path, name: &str, entries: Vec<Entry>, config: ImageConfig) -> PathBuf {
    let file_name = name.replace(['/', ':'], "_") + ".tar";
    let path = dir.join(file_name);
    let mut file = std::fs::File::create(&path).expect("the archive is made");
    let image = ImageBuilder::new(config).layer(entries);
    image
        .write(&[name], &mut file)
        .expect("the archive is written");
    path
}

/// The files of the busybox image.
pub fn busybox() -> Vec<Entry> {
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut entries = vec![
        Entry::directory("bin", 0o755),
        Entry::directory("etc", 0o755),
        Entry::directory("root", 0o700),
        Entry::directory("tmp", 0o1777),
        Entry::directory("var", 0o755),
        Entry::file("bin/busybox", 0o755, program),
        Entry::file(
            "etc/passwd",
            0o644,
            "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var:/bin/sh\n",
        ),
        Entry::file("etc/group", 0o644, "root:x:0:\nwww:x:33:\nlogs:x:44:www\n"),
    ];
    let applets = Command::new("/bin/busybox")
        .arg("--list")
        .output()
        .expect("busybox runs");
    for applet in String::from_utf8_lossy(&applets.stdout)
        .lines()
        .filter(|a| *a != "busybox")
    {
        entries.push(Entry::symlink(&format!("bin/{applet}"), "busybox"));
    }
    entries
}

/// A program of this machine with the libraries that it loads, on top of busybox.
pub fn program(path: &str) -> Vec<Entry> {
    let mut entries = busybox();
    let mut directories = BTreeSet::from(["bin".to_string(), "etc".to_string(), "var".to_string()]);
    let libraries = Command::new("ldd").arg(path).output().expect("ldd runs");
    let libraries = String::from_utf8_lossy(&libraries.stdout).into_owned();
    let libraries = libraries.split_whitespace().filter(|w| w.starts_with('/'));
    for file in libraries.chain([path]) {
        let inside = file.trim_start_matches('/');
        let mut parents: Vec<&Path> = Path::new(inside).ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents
            .iter()
            .filter_map(|p| p.to_str())
            .filter(|p| !p.is_empty())
        {
            if directories.insert(parent.to_string()) {
                entries.push(Entry::directory(parent, 0o755));
            }
        }
        let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{file}: {e}"));
        entries.push(Entry::file(inside, 0o755, bytes));
    }
    entries
}
