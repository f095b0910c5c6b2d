//! A container's root file system: an image's layers under a writable one.
//!
//! Only paths and mount options are made here; whoever runs the container mounts them inside
//! its own mount namespace. Options of a mount must fit into one page, so layers are named
//! relative to a directory of short links.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use super::{
    error::{ImageError, Result},
    store::Image,
};

/// The kernel copies one page of options, with a NUL at the end.
const MAX_OPTIONS_BYTES: usize = 4095;

/// The directories of one overlay mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// Read-only layers, the top one first; never empty.
    pub lower: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// Overlayfs' own, on the same file system.
    pub work: PathBuf,
    /// Where to mount.
    pub target: PathBuf,
}

/// The arguments of an overlay mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayOptions {
    /// The directory to be in while mounting: layers are named relative to it.
    pub working_dir: PathBuf,
    pub options: OsString,
}

/// What a tree takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    pub bytes: u64,
    pub inodes: u64,
}

impl Rootfs {
    /// Makes the directories for a container of `image` in `directory`: `upper`, `work` and
    /// `rootfs`. What is there already is kept. Blocking.
    pub fn create(image: &Image, directory: &Path) -> Result<Self> {
        let make = |name: &str| {
            let path = directory.join(name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&path)
                .map_err(|error| ImageError::io("create directory", &path, error))?;
            Ok(path)
        };
        let mut lower = image.layers.clone();
        if lower.is_empty() {
            lower.push(make("empty")?);
        }
        let upper = make("upper")?;
        // The mounted root looks like the upper directory, which must look like the image's.
        if let Some(top) = image.layers.first() {
            copy_looks(top, &upper)?;
        }
        Ok(Self {
            lower,
            upper,
            work: make("work")?,
            target: make("rootfs")?,
        })
    }

    /// The options for mounting with all layers.
    ///
    /// # Errors
    /// [`ImageError::BadManifest`] if there are too many layers for one mount.
    pub fn overlay_options(&self) -> Result<OverlayOptions> {
        let working_dir = match self.lower.first().and_then(|top| top.parent()) {
            Some(parent) => parent.to_owned(),
            None => PathBuf::from("/"),
        };
        let mut options = OsString::from("lowerdir=").into_vec();
        for (position, layer) in self.lower.iter().enumerate() {
            if position > 0 {
                options.push(b':');
            }
            let name = layer.strip_prefix(&working_dir).unwrap_or(layer);
            escape(name, &mut options);
        }
        options.extend_from_slice(b",upperdir=");
        escape(&self.upper, &mut options);
        options.extend_from_slice(b",workdir=");
        escape(&self.work, &mut options);
        if options.len() > MAX_OPTIONS_BYTES {
            return Err(ImageError::BadManifest {
                what: "image".into(),
                reason: format!("its {} layers are too many for one mount", self.lower.len()),
            });
        }
        Ok(OverlayOptions {
            working_dir,
            options: OsString::from_vec(options),
        })
    }
}

/// Overlayfs takes `:` as the end of a layer and `,` as the end of an option.
fn escape(path: &Path, options: &mut Vec<u8>) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            options.push(b'\\');
        }
        options.push(byte);
    }
}

fn copy_looks(from: &Path, to: &Path) -> Result<()> {
    let failed = |error| ImageError::io("set owner and mode of", to, error);
    let found = fs::metadata(from).map_err(|error| ImageError::io("read", from, error))?;
    std::os::unix::fs::chown(to, Some(found.uid()), Some(found.gid())).map_err(failed)?;
    fs::set_permissions(to, found.permissions()).map_err(failed)
}

/// What `directory` and all below it take on disk, without following links or crossing into
/// other file systems; hard links count once. What vanishes meanwhile does not count.
/// Blocking.
pub fn disk_usage(directory: &Path) -> Result<DiskUsage> {
    let failed = |path: &Path, error| ImageError::io("measure", path, error);
    let top = fs::symlink_metadata(directory).map_err(|error| failed(directory, error))?;
    let mut usage = DiskUsage::default();
    let mut linked = HashSet::new();
    let mut pending = vec![(directory.to_owned(), top.clone())];
    while let Some((path, found)) = pending.pop() {
        if found.dev() != top.dev() {
            continue;
        }
        if found.nlink() > 1 && !found.is_dir() && !linked.insert(found.ino()) {
            continue;
        }
        usage.inodes += 1;
        // Unit of `st_blocks` is 512 whatever the file system's block size.
        usage.bytes += found.blocks() * 512;
        if !found.is_dir() {
            continue;
        }
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(&path, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed(&path, error))?;
            match entry.metadata() {
                Ok(metadata) => pending.push((entry.path(), metadata)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&entry.path(), error)),
            }
        }
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs(layers: usize, base: &str) -> Rootfs {
        let layer = |n| PathBuf::from(format!("{base}/l/{n:012x}"));
        Rootfs {
            lower: (0..layers).map(layer).collect(),
            upper: format!("{base}/c/upper").into(),
            work: format!("{base}/c/work").into(),
            target: format!("{base}/c/rootfs").into(),
        }
    }

    #[test]
    fn as_many_layers_as_an_image_may_have_fit_into_one_mount() {
        let options = rootfs(127, "/var/lib/kabuki/images")
            .overlay_options()
            .unwrap();
        assert_eq!(options.working_dir, Path::new("/var/lib/kabuki/images/l"));
        let text = options.options.into_string().unwrap();
        assert!(
            text.starts_with("lowerdir=000000000000:000000000001:"),
            "{text}"
        );
        assert!(
            text.ends_with(",workdir=/var/lib/kabuki/images/c/work"),
            "{text}"
        );
        assert!(rootfs(400, "/x").overlay_options().is_err());
    }

    #[test]
    fn separators_in_paths_are_escaped() {
        let options = rootfs(1, "/a:b,c").overlay_options().unwrap();
        let text = options.options.into_string().unwrap();
        assert!(text.contains(r"upperdir=/a\:b\,c/c/upper"), "{text}");
    }

    #[test]
    fn disk_usage_counts_hard_links_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a");
        fs::write(&file, vec![1; 100_000]).unwrap();
        let alone = disk_usage(directory.path()).unwrap();
        assert!(alone.bytes >= 100_000 && alone.inodes == 2, "{alone:?}");
        fs::hard_link(&file, directory.path().join("b")).unwrap();
        std::os::unix::fs::symlink("/usr", directory.path().join("c")).unwrap();
        let linked = disk_usage(directory.path()).unwrap();
        assert_eq!(linked.inodes, 3);
        assert!(linked.bytes < alone.bytes + 50_000);
    }
}
