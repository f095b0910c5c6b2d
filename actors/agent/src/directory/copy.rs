//! The copy of the directory on disk: `magic | version u32 | crc32 u32 | payload`, little endian,
//! replaced as a whole. A file that is damaged or of another version is no file.

use kabuki_model::codec::{self, CodecError};
use kabuki_model::service::{Directory, ServiceRecord, SliceRecord};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"kbk-svcs";
const VERSION: u32 = 1;
const HEADER: usize = MAGIC.len() + 4 + 4;

/// Why the copy could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error("the services have no binary form: {0}")]
    Encode(#[from] CodecError),
    #[error("cannot write {}: {source}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What the file holds; `None` without one that can be read.
pub(super) fn read(file: &Path) -> Option<Directory> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the copy of services cannot be read");
            return None;
        }
    };
    let directory = decode(&bytes);
    if directory.is_none() {
        tracing::warn!(file = %file.display(), "the copy of services is damaged and not used");
    }
    directory
}

fn decode(bytes: &[u8]) -> Option<Directory> {
    let (header, payload) = bytes.split_at_checked(HEADER)?;
    let (magic, numbers) = header.split_at(MAGIC.len());
    let (version, checksum) = numbers.split_at(4);
    let sound = magic == MAGIC
        && version == VERSION.to_le_bytes()
        && checksum == crc32fast::hash(payload).to_le_bytes();
    if !sound {
        return None;
    }
    let (services, slices) =
        codec::decode::<(Vec<ServiceRecord>, Vec<SliceRecord>)>(payload).ok()?;
    Some(Directory::from_saved(services, slices))
}

/// The file's content.
pub(super) fn encode(directory: &Directory) -> Result<Vec<u8>, CopyError> {
    let entries = || directory.iter().map(|(_, entry)| entry);
    let services: Vec<&ServiceRecord> = entries().filter_map(|e| e.service.as_deref()).collect();
    let slices: Vec<&SliceRecord> = entries()
        .flat_map(|e| e.slices.iter().map(Arc::as_ref))
        .collect();
    let payload = codec::encode(&(services, slices))?;
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok(bytes)
}

/// Puts the content in place of the former one. A crash leaves either.
pub(super) fn write(file: &Path, bytes: &[u8]) -> Result<(), CopyError> {
    let next = file.with_extension("next");
    let put = || {
        let mut out = fs::File::create(&next)?;
        out.write_all(bytes)?;
        out.sync_data()?;
        fs::rename(&next, file)
    };
    put().map_err(|source| CopyError::Write {
        path: file.to_path_buf(),
        source,
    })
}
