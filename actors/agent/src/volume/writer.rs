//! Writes the files of a volume so that readers see all of the old or all of the new: the files
//! are in a directory with a time in its name, `..data` leads to it, and each file's name leads
//! through `..data`.

use super::VolumeError;
use jiff::Timestamp;
use kabuki_lifecycle::volume::VolumeFile;
use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";
const DIR_MODE: u32 = 0o755;
/// The group may read what the owner may read.
const GROUP_READ: u32 = 0o440;

/// Makes the volume at `dir` hold exactly `files`.
pub(super) fn write(
    dir: &Path,
    files: &[VolumeFile],
    group: Option<u32>,
) -> Result<(), VolumeError> {
    for file in files {
        check(&file.path)?;
    }
    let written = try_write(dir, files, group);
    written.map_err(|source| VolumeError::Io {
        action: "write volume",
        path: dir.to_path_buf(),
        source,
    })
}

/// Makes a volume that is there hold exactly `files`, unless it does. Gives the directories of
/// files that were replaced: a reader may have been led to them a moment ago.
pub(super) fn update(
    dir: &Path,
    files: &[VolumeFile],
    group: Option<u32>,
) -> Result<Vec<PathBuf>, VolumeError> {
    if holds(&dir.join(DATA), files) == Some(false) {
        write(dir, files, group)?;
    }
    Ok(replaced(dir))
}

/// Removes files that were replaced.
pub(super) fn remove_old(old: &Path) -> Result<(), VolumeError> {
    match std::fs::remove_dir_all(old) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(VolumeError::Io {
            action: "remove",
            path: old.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Whether the files below `data` are exactly `files`; `None` when there is no such directory.
fn holds(data: &Path, files: &[VolumeFile]) -> Option<bool> {
    let mut found = BTreeSet::new();
    let mut dirs = vec![(data.to_path_buf(), PathBuf::new())];
    while let Some((dir, below)) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else {
            return (!below.as_os_str().is_empty()).then_some(false);
        };
        for entry in entries.flatten() {
            let below = below.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push((entry.path(), below)),
                _ => drop(found.insert(below)),
            }
        }
    }
    let same = |f: &VolumeFile| {
        found.contains(Path::new(&f.path))
            && std::fs::read(data.join(&f.path)).is_ok_and(|held| held == f.bytes)
    };
    Some(found.len() == files.len() && files.iter().all(same))
}

/// A path in a volume is plain, and never one of the writer's own names.
fn check(path: &str) -> Result<(), VolumeError> {
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    let plain = parts.iter().all(|c| match c {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b".."),
        _ => false,
    });
    match plain && !parts.is_empty() {
        true => Ok(()),
        false => Err(VolumeError::Refused(format!(
            "invalid path {path:?} in a volume"
        ))),
    }
}

fn try_write(dir: &Path, files: &[VolumeFile], group: Option<u32>) -> io::Result<()> {
    make_dir(dir, group)?;
    let stamp = Timestamp::now()
        .strftime("..%Y_%m_%d_%H_%M_%S.%f")
        .to_string();
    let new = dir.join(&stamp);
    make_dir(&new, group)?;
    for file in files {
        write_file(&new, file, group)?;
    }
    let (data, data_new) = (dir.join(DATA), dir.join(DATA_NEW));
    match std::fs::remove_file(&data_new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&stamp, &data_new)?;
    std::fs::rename(&data_new, &data)?;
    link_names(dir, files)
}

/// The directories of all writes but the last.
fn replaced(dir: &Path) -> Vec<PathBuf> {
    let Ok(last) = std::fs::read_link(dir.join(DATA)) else {
        return Vec::new();
    };
    let found = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let replaced = found.filter(|e| {
        let name = e.file_name();
        let own = name.as_encoded_bytes().starts_with(b"..") && *name != *last;
        own && e.file_type().is_ok_and(|kind| kind.is_dir())
    });
    replaced.map(|e| e.path()).collect()
}

fn make_dir(dir: &Path, group: Option<u32>) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(dir)?;
    match group {
        Some(group) => {
            chown(dir, None, Some(group))?;
            std::fs::set_permissions(dir, Permissions::from_mode(DIR_MODE | 0o2000))
        }
        None => Ok(()),
    }
}

fn write_file(new: &Path, file: &VolumeFile, group: Option<u32>) -> io::Result<()> {
    let path = new.join(&file.path);
    let mut parent = new.to_path_buf();
    for part in Path::new(&file.path)
        .parent()
        .into_iter()
        .flat_map(Path::components)
    {
        parent.push(part);
        make_dir(&parent, group)?;
    }
    let mut out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    out.write_all(&file.bytes)?;
    let mut mode = file.mode;
    if group.is_some() || file.owner.is_some() {
        chown(&path, file.owner, group)?;
    }
    if group.is_some() {
        mode |= GROUP_READ;
    }
    std::fs::set_permissions(&path, Permissions::from_mode(mode))
}

/// One link for each name at the top, through `..data`; those of names that are gone go too.
fn link_names(dir: &Path, files: &[VolumeFile]) -> io::Result<()> {
    let top = |f: &VolumeFile| Path::new(&f.path).iter().next().map(PathBuf::from);
    let wanted: BTreeSet<PathBuf> = files.iter().filter_map(top).collect();
    for found in std::fs::read_dir(dir)? {
        let name = PathBuf::from(found?.file_name());
        let own = name.as_os_str().as_encoded_bytes().starts_with(b"..");
        if !own && !wanted.contains(&name) {
            std::fs::remove_file(dir.join(&name))?;
        }
    }
    for name in wanted {
        match symlink(Path::new(DATA).join(&name), dir.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
