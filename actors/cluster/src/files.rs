//! Files that only their owner may read, replaced whole or not at all.

use crate::authority::PkiError;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> PkiError {
    let path = path.to_path_buf();
    move |source| PkiError::File { path, source }
}

/// Makes a folder that only its owner may enter, with those above it.
pub fn private_dir(path: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(failed(path))
}

/// Reads a text.
pub fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(failed(path))
}

/// Reads bytes; `None` when there is no such file.
pub fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, PkiError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes a file with mode 0600: complete after a crash, or as it was.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), PkiError> {
    // The whole name stays in it, so that `node.key` and `node.crt` do not share one.
    let mut partial = path.as_os_str().to_os_string();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let _ = fs::remove_file(partial);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(partial)
        .map_err(failed(partial))?;
    file.write_all(bytes).map_err(failed(partial))?;
    file.sync_all().map_err(failed(partial))?;
    fs::rename(partial, path).map_err(failed(path))?;
    if let Some(dir) = path.parent() {
        let dir_file = fs::File::open(dir).map_err(failed(dir))?;
        dir_file.sync_all().map_err(failed(dir))?;
    }
    Ok(())
}
