//! Writes the files of a volume so that readers see all of the old or all of the new: the files
//! are in a directory with a time in its name, `..data` leads to it, and each file's name leads
//! through `..data`.

use super::VolumeError;
use super::content::VolumeFile;
use jiff::Timestamp;
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
    try_write(dir, files, group).map_err(|source| VolumeError::Io {
        action: "write volume",
        path: dir.to_path_buf(),
        source,
    })
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
    let old = std::fs::read_link(dir.join(DATA)).ok();
    let (data, data_new) = (dir.join(DATA), dir.join(DATA_NEW));
    match std::fs::remove_file(&data_new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(&stamp, &data_new)?;
    std::fs::rename(&data_new, &data)?;
    link_names(dir, files)?;
    if let Some(old) = old {
        let old = dir.join(old);
        if old.parent() == Some(dir) && old != new {
            std::fs::remove_dir_all(old)?;
        }
    }
    Ok(())
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
    if let Some(group) = group {
        chown(&path, None, Some(group))?;
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
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> VolumeFile {
        VolumeFile {
            path: path.to_string(),
            bytes: text.as_bytes().to_vec(),
            mode: 0o640,
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
        write(&at, &[file("a", "3")], None).expect("written");
        assert_eq!(read("a").as_deref(), Some("3"));
        assert_eq!(read("sub/b"), None);
        let left = std::fs::read_dir(&at).expect("a directory").count();
        assert_eq!(left, 3, "the directory, ..data and a");
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
}
