//! Copies of what the API said, for a daemon that starts while no server answers. A file is
//! `magic | version u32 | crc32 u32 | payload`, little endian, and is replaced as a whole. One that
//! is damaged or of another version is no file.

use kabuki_model::codec::CodecError;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Magic and version of a kind of copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    pub magic: &'static [u8; 8],
    pub version: u32,
}

const HEADER: usize = 8 + 4 + 4;

/// Why a copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("what is known has no binary form: {0}")]
    Encode(#[from] CodecError),
    #[error("what is known is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("cannot write {}: {source}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The payload of a file, as `decode` understands it; `None` without one that can be read.
pub(crate) fn read<T>(
    file: &Path,
    form: Form,
    decode: impl FnOnce(&[u8]) -> Option<T>,
) -> Option<T> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "a copy cannot be read");
            return None;
        }
    };
    let decoded = payload(&bytes, form).and_then(decode);
    if decoded.is_none() {
        tracing::warn!(file = %file.display(), "a copy is damaged and not used");
    }
    decoded
}

fn payload(bytes: &[u8], form: Form) -> Option<&[u8]> {
    let (header, payload) = bytes.split_at_checked(HEADER)?;
    let (magic, numbers) = header.split_at(form.magic.len());
    let (version, checksum) = numbers.split_at(4);
    let sound = magic == form.magic
        && version == form.version.to_le_bytes()
        && checksum == crc32fast::hash(payload).to_le_bytes();
    sound.then_some(payload)
}

/// Puts the payload in place of the former one. A crash leaves either.
pub(crate) fn write(file: &Path, form: Form, payload: &[u8]) -> Result<(), CopyError> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(form.magic);
    bytes.extend_from_slice(&form.version.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    bytes.extend_from_slice(payload);
    let next = file.with_extension("next");
    let put = || {
        let mut out = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            // Manifests name what only root should know.
            .mode(0o600)
            .open(&next)?;
        out.write_all(&bytes)?;
        out.sync_data()?;
        fs::rename(&next, file)
    };
    put().map_err(|source| CopyError::Write {
        path: file.to_path_buf(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form {
        magic: b"kbk-test",
        version: 1,
    };

    fn text(bytes: &[u8]) -> Option<String> {
        String::from_utf8(bytes.to_vec()).ok()
    }

    #[test]
    fn a_copy_is_read_back_and_a_damaged_or_foreign_one_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("copy");
        assert_eq!(read(&file, FORM, text), None);
        write(&file, FORM, b"first").expect("written");
        write(&file, FORM, b"second").expect("written again");
        assert_eq!(read(&file, FORM, text).as_deref(), Some("second"));
        let newer = Form { version: 2, ..FORM };
        assert_eq!(read(&file, newer, text), None);
        let mut bytes = fs::read(&file).expect("a file");
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            fs::write(&file, &bytes).expect("damaged");
            assert_eq!(read(&file, FORM, text), None, "byte {at}");
            bytes[at] ^= 1;
        }
        fs::write(&file, &bytes[..3]).expect("cut short");
        assert_eq!(read(&file, FORM, text), None);
    }
}
