//! The copy of the directory on disk.

use crate::copy::{self, CopyError, Form};
use kabuki_model::codec;
use kabuki_model::service::{Directory, ServiceRecord, SliceRecord};
use std::path::Path;
use std::sync::Arc;

const FORM: Form = Form {
    magic: b"kbk-svcs",
    version: 1,
};

/// What the file holds; `None` without one that can be read.
pub(super) fn read(file: &Path) -> Option<Directory> {
    copy::read(file, FORM, |payload| {
        let (services, slices) =
            codec::decode::<(Vec<ServiceRecord>, Vec<SliceRecord>)>(payload).ok()?;
        Some(Directory::from_saved(services, slices))
    })
}

/// The file's content.
pub(super) fn encode(directory: &Directory) -> Result<Vec<u8>, CopyError> {
    let entries = || directory.iter().map(|(_, entry)| entry);
    let services: Vec<&ServiceRecord> = entries().filter_map(|e| e.service.as_deref()).collect();
    let slices: Vec<&SliceRecord> = entries()
        .flat_map(|e| e.slices.iter().map(Arc::as_ref))
        .collect();
    Ok(codec::encode(&(services, slices))?)
}

/// Puts the content in place of the former one.
pub(super) fn write(file: &Path, payload: &[u8]) -> Result<(), CopyError> {
    copy::write(file, FORM, payload)
}
