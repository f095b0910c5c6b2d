//! A node's key pair.

use super::disk::Files;
use crate::authority::PkiError;
use crate::certificate;
use kabuki_model::identity::Identity;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use std::path::Path;

/// A node's key pair: ECDSA P-256, made once and kept for the node's whole life in its cluster.
pub struct NodeKey {
    pair: KeyPair,
    sha256: String,
}

impl NodeKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, PkiError> {
        let pair = KeyPair::generate().map_err(|source| PkiError::Sign {
            subject: "the node's key".to_string(),
            source,
        })?;
        Ok(Self::new(pair))
    }

    /// The key of a data directory, made now if there is none: whoever asks again to join comes
    /// with the same key, and is known by it.
    pub fn of(data_dir: &Path) -> Result<Self, PkiError> {
        let files = Files::of(data_dir);
        if files.has_key() {
            return files.read_key();
        }
        let key = Self::generate()?;
        files.write_key(&key)?;
        Ok(key)
    }

    pub(super) fn from_pem(pem: &str) -> Result<Self, rcgen::Error> {
        KeyPair::from_pem(pem).map(Self::new)
    }

    fn new(pair: KeyPair) -> Self {
        let sha256 = certificate::sha256_hex(&pair.subject_public_key_info());
        Self { pair, sha256 }
    }

    /// The hash of the key: the SHA-256 of its SPKI, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// A certificate request for this key, in PEM.
    pub fn csr_pem(&self, name: &str) -> Result<String, PkiError> {
        let user = Identity::node(name).user;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, &user);
        let request = params.serialize_request(&self.pair);
        let pem = request.and_then(|request| request.pem());
        pem.map_err(|source| PkiError::Sign {
            subject: user,
            source,
        })
    }

    pub(super) fn pem(&self) -> String {
        self.pair.serialize_pem()
    }
}
