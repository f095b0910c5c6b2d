//! A directory to unpack into, and its neighbours.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// `root` is for the layer; `secret` and `outside` must stay as they are.
pub struct Sandbox {
    top: TempDir,
}

/// What a file looks like, and what is in it. The time of its last change says of everything
/// else, such as attributes, that it was not touched.
type Looks = (u32, u64, u32, u32, (i64, i64), Vec<u8>);

impl Sandbox {
    /// A new one, in memory where the machine has such a place.
    #[allow(clippy::new_without_default)] // it makes directories
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let place = match memory.is_dir() {
            true => memory.to_owned(),
            false => std::env::temp_dir(),
        };
        let top = tempfile::Builder::new()
            .prefix("kabuki-fuzz-")
            .tempdir_in(place)
            .expect("a directory can be made");
        for name in ["root", "outside", "outside/a"] {
            fs::create_dir(top.path().join(name)).expect("a directory can be made");
        }
        for name in ["secret", "outside/file"] {
            fs::write(top.path().join(name), name).expect("a file can be written");
        }
        Self { top }
    }

    /// What holds everything.
    pub fn top(&self) -> &Path {
        self.top.path()
    }

    /// Where the layer belongs.
    pub fn root(&self) -> PathBuf {
        self.top.path().join("root")
    }

    /// All that is not in the root.
    pub fn outside(&self) -> BTreeMap<PathBuf, Looks> {
        let mut seen = BTreeMap::new();
        let mut pending = vec![self.top.path().to_owned()];
        while let Some(path) = pending.pop() {
            if path == self.root() {
                continue;
            }
            let found = fs::symlink_metadata(&path).expect("it is there");
            let content = match found.is_file() {
                true => fs::read(&path).expect("it can be read"),
                false => Vec::new(),
            };
            if found.is_dir() {
                let entries = fs::read_dir(&path).expect("it can be listed");
                pending.extend(entries.map(|e| e.expect("an entry").path()));
            }
            let looks = (
                found.mode(),
                found.nlink(),
                found.uid(),
                found.gid(),
                (found.ctime(), found.ctime_nsec()),
                content,
            );
            seen.insert(path, looks);
        }
        seen
    }
}
