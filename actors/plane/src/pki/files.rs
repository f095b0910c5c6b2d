//! Files that only their owner may read, replaced whole or not at all.

use super::PkiError;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> PkiError {
    let path = path.to_path_buf();
    move |source| PkiError::File { path, source }
}

pub(super) fn private_dir(path: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed(path))
}

pub(super) fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(failed(path))
}

/// Writes a file with mode 0600: complete after a crash, or as it was.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    let partial = path.with_extension("partial");
    let _ = fs::remove_file(&partial);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .map_err(failed(&partial))?;
    file.write_all(bytes).map_err(failed(&partial))?;
    file.sync_all().map_err(failed(&partial))?;
    fs::rename(&partial, path).map_err(failed(path))?;
    if let Some(dir) = path.parent() {
        let dir_file = fs::File::open(dir).map_err(failed(dir))?;
        dir_file.sync_all().map_err(failed(dir))?;
    }
    Ok(())
}
