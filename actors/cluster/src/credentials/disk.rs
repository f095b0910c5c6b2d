//! Where a node's credentials lie.

use super::NodeKey;
use crate::authority::PkiError;
use crate::files;
use std::path::{Path, PathBuf};

pub(super) struct Files {
    dir: PathBuf,
    key: PathBuf,
    seal_key: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) bundle: PathBuf,
}

impl Files {
    pub(super) fn of(data_dir: &Path) -> Self {
        let dir = data_dir.join("pki");
        Self {
            key: dir.join("node.key"),
            seal_key: dir.join("seal.key"),
            certificate: dir.join("node.crt"),
            bundle: dir.join("ca.crt"),
            dir,
        }
    }

    pub(super) fn has_key(&self) -> bool {
        self.key.exists()
    }

    pub(super) fn read_key(&self) -> Result<NodeKey, PkiError> {
        NodeKey::from_pem(&files::read(&self.key)?).map_err(|error| PkiError::Credential {
            path: self.key.clone(),
            why: error.to_string(),
        })
    }

    pub(super) fn read_seal_key(&self) -> Result<Vec<u8>, PkiError> {
        let damaged = |why: String| PkiError::Credential {
            path: self.seal_key.clone(),
            why,
        };
        let key = files::read_bytes(&self.seal_key)?;
        let key = key.ok_or_else(|| damaged("it is missing".to_string()))?;
        match key.len() {
            crate::seal::KEY_BYTES => Ok(key),
            other => Err(damaged(format!(
                "it has {other} bytes, not {}",
                crate::seal::KEY_BYTES
            ))),
        }
    }

    pub(super) fn write_key(&self, key: &NodeKey) -> Result<(), PkiError> {
        files::private_dir(&self.dir)?;
        files::write_private(&self.key, key.pem().as_bytes())
    }

    pub(super) fn write_seal_key(&self, key: &[u8]) -> Result<(), PkiError> {
        files::write_private(&self.seal_key, key)
    }

    pub(super) fn write_bundle(&self, pem: &str) -> Result<(), PkiError> {
        files::write_private(&self.bundle, pem.as_bytes())
    }

    pub(super) fn write_certificate(&self, pem: &str) -> Result<(), PkiError> {
        files::write_private(&self.certificate, pem.as_bytes())
    }
}
