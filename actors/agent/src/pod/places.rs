//! What every container has something mounted on, as layers below those of its image.
//!
//! Overlayfs makes a directory or file in a container's writable layer with a dozen operations on
//! the disk, and images often lack what the node mounts on. Here all containers share it. Of what
//! an image does have, nothing shows through.

use crate::config::Layout;
use kabuki_runtime::Mount;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const USUAL: &str = "usual";
const ACCOUNT: &str = "account";
const DIRECTORIES: [&str; 4] = ["proc", "dev", "sys", "etc"];
const FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// Where programs look for their token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Makes the layers. What is there is kept: containers use it.
pub(crate) fn make(layout: &Layout) -> io::Result<()> {
    let usual = layout.places().join(USUAL);
    for name in DIRECTORIES {
        directory(&usual.join(name))?;
    }
    for name in FILES {
        let file = usual.join(name);
        if !file.exists() {
            fs::write(&file, "")?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        }
    }
    directory(&below(&layout.places().join(ACCOUNT), TOKEN))
}

/// The layers for a container with these mounts, the upper one first.
pub(super) fn of<'a>(
    layout: &Layout,
    mut mounts: impl Iterator<Item = &'a Mount>,
) -> impl Iterator<Item = PathBuf> {
    let account = mounts.any(|mount| mount.destination == TOKEN);
    let places = layout.places();
    let account = account.then(|| places.join(ACCOUNT));
    account.into_iter().chain([places.join(USUAL)])
}

fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
