//! `hostPath`: what must be there, or is made (Kubernetes, "hostPath volume types").

use super::VolumeError;
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::fs::{DirBuilder, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Checks the path, and makes it where its type says so.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<(), VolumeError> {
    let path = Path::new(&source.path);
    let wanted = source.type_.as_deref().unwrap_or_default();
    let failed = |action, source| VolumeError::Io {
        action,
        path: path.to_path_buf(),
        source,
    };
    let found = match std::fs::metadata(path) {
        Ok(found) => Some(found.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("look at", error)),
    };
    match (wanted, found) {
        ("", _) => Ok(()),
        ("DirectoryOrCreate", None) => DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .map_err(|e| failed("make", e)),
        ("FileOrCreate", None) => OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o644)
            .open(path)
            .map(drop)
            .map_err(|e| failed("make", e)),
        (wanted, found) => match matches(wanted, found) {
            Some(true) => Ok(()),
            Some(false) => Err(refused(&source.path, wanted)),
            None => Err(VolumeError::Refused(format!(
                "hostPath type {wanted:?} is not known"
            ))),
        },
    }
}

/// Whether what was found is what is wanted; `None` for a type that there is not.
fn matches(wanted: &str, found: Option<FileType>) -> Option<bool> {
    let is = |test: fn(&FileType) -> bool| found.as_ref().is_some_and(test);
    Some(match wanted {
        "Directory" | "DirectoryOrCreate" => is(FileType::is_dir),
        "File" | "FileOrCreate" => is(FileType::is_file),
        "Socket" => is(FileTypeExt::is_socket),
        "CharDevice" => is(FileTypeExt::is_char_device),
        "BlockDevice" => is(FileTypeExt::is_block_device),
        _ => return None,
    })
}

fn refused(path: &str, wanted: &str) -> VolumeError {
    let what = match wanted {
        "Directory" | "DirectoryOrCreate" => "a directory",
        "File" | "FileOrCreate" => "a file",
        "Socket" => "a socket file",
        "CharDevice" => "a character device",
        _ => "a block device",
    };
    VolumeError::Refused(format!("hostPath type check failed: {path} is not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(path: &Path, type_: &str) -> Result<(), String> {
        let source = HostPathVolumeSource {
            path: path.to_string_lossy().into_owned(),
            type_: Some(type_.to_string()),
        };
        check(&source).map_err(|e| e.to_string())
    }

    #[test]
    fn every_type_is_checked_and_some_are_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        assert!(check_of(&file, "File").is_err());
        check_of(&file, "FileOrCreate").expect("it is made");
        check_of(&file, "File").expect("it is there");
        let made = dir.path().join("a/b");
        check_of(&made, "DirectoryOrCreate").expect("it is made");
        check_of(&made, "Directory").expect("it is there");
        let refused = check_of(&file, "Directory").expect_err("a file");
        assert_eq!(
            refused,
            format!(
                "hostPath type check failed: {} is not a directory",
                file.display()
            )
        );
        check_of(Path::new("/dev/null"), "CharDevice").expect("it is one");
        assert!(check_of(Path::new("/dev/null"), "BlockDevice").is_err());
        assert!(check_of(&file, "Socket").is_err());
        assert!(check_of(&file, "Thing").is_err());
        check_of(&dir.path().join("none"), "").expect("unchecked");
    }
}
