//! This node's credentials: its key, its certificate, and the CAs that the cluster trusts.
//!
//! ```text
//! <data-dir>/pki/node.key    the private key, made once and kept
//!                node.crt    the certificate, renewed while the node runs
//!                ca.crt      every CA that the cluster trusts
//!                seal.key    the key under which the node seals its messages to members
//! ```
//!
//! Every configuration made here looks at the newest certificate and the newest CAs in each
//! handshake, so it can be kept: [`Credentials::install`] reaches the next connection of all of
//! them. Connections that live go on.
//!
//! Invariants: the certificate is always one for this node's key and name; TLS is 1.3; no session
//! is resumed, because a resumed one would not ask for the certificate again.

mod disk;
mod key;
#[cfg(test)]
mod tests;

mod tls;

pub use key::NodeKey;
pub use tls::Audience;
pub(crate) use tls::{provider, signed_by, verify_at};

use crate::authority::PkiError;
use crate::certificate;
use arc_swap::ArcSwap;
use disk::Files;
use jiff::Timestamp;
use kabuki_model::identity::Identity;
use kabuki_protocol::join::Role;
use rustls_pki_types::CertificateDer;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tls::Trust;

/// This node's credentials. Clones share them.
#[derive(Clone)]
pub struct Credentials {
    shared: Arc<Shared>,
}

struct Shared {
    files: Files,
    name: String,
    key: NodeKey,
    seal_key: Vec<u8>,
    current: ArcSwap<Current>,
    /// Held while the certificate is replaced.
    installing: Mutex<()>,
}

/// What is replaced when the certificate is renewed or the CAs change.
pub(crate) struct Current {
    identity: Identity,
    certificate_pem: String,
    bundle: Vec<CertificateDer<'static>>,
    bundle_pem: String,
    begins: Timestamp,
    ends: Timestamp,
    trust: Trust,
}

impl Credentials {
    /// Whether a data directory holds credentials.
    pub fn exist(data_dir: &Path) -> bool {
        Files::of(data_dir).certificate.exists()
    }

    /// Reads the credentials of a data directory.
    pub fn load(data_dir: &Path) -> Result<Self, PkiError> {
        let files = Files::of(data_dir);
        let (key, seal_key) = (files.read_key()?, files.read_seal_key()?);
        let certificate_pem = crate::files::read(&files.certificate)?;
        let bundle_pem = crate::files::read(&files.bundle)?;
        let damaged = |path: &Path, why: String| PkiError::Credential {
            path: path.to_path_buf(),
            why,
        };
        certificate::all_of_pem(&bundle_pem).map_err(|why| damaged(&files.bundle, why))?;
        let current = Current::build(&key, &certificate_pem, &bundle_pem)
            .map_err(|why| damaged(&files.certificate, why))?;
        Ok(Self::assemble(files, key, seal_key, current))
    }

    /// Writes the credentials of a node that has just founded a cluster or joined one. The key is
    /// the one of [`NodeKey::of`] the same data directory.
    pub fn create(
        data_dir: &Path,
        key: NodeKey,
        certificate_pem: &str,
        bundle_pem: &str,
        seal_key: &[u8],
    ) -> Result<Self, PkiError> {
        let files = Files::of(data_dir);
        let current = Current::build(&key, certificate_pem, bundle_pem)
            .map_err(|why| PkiError::Misfit { why })?;
        files.write_key(&key)?;
        files.write_seal_key(seal_key)?;
        files.write_bundle(bundle_pem)?;
        // Last: without it, there are no credentials.
        files.write_certificate(certificate_pem)?;
        Ok(Self::assemble(files, key, seal_key.to_vec(), current))
    }

    fn assemble(files: Files, key: NodeKey, seal_key: Vec<u8>, current: Current) -> Self {
        let name = current.identity.node_name().unwrap_or_default().to_string();
        Self {
            shared: Arc::new(Shared {
                files,
                name,
                key,
                seal_key,
                current: ArcSwap::from_pointee(current),
                installing: Mutex::new(()),
            }),
        }
    }

    /// Takes over another certificate for the same key, and the CAs that the cluster trusts now.
    /// What does not fit is refused, and nothing changes.
    pub fn install(&self, certificate_pem: &str, bundle_pem: &str) -> Result<(), PkiError> {
        let shared = &self.shared;
        let installing = shared.installing.lock();
        let _installing = installing.unwrap_or_else(PoisonError::into_inner);
        let misfit = |why| PkiError::Misfit { why };
        let next = Current::build(&shared.key, certificate_pem, bundle_pem).map_err(misfit)?;
        if next.identity.node_name() != Some(&shared.name) {
            return Err(misfit(format!("it is for {:?}", next.identity.user)));
        }
        let before = shared.current.load();
        if before.bundle_pem != bundle_pem {
            shared.files.write_bundle(bundle_pem)?;
        }
        if before.certificate_pem != certificate_pem {
            shared.files.write_certificate(certificate_pem)?;
        }
        shared.current.store(Arc::new(next));
        Ok(())
    }

    /// Takes over the CAs that the cluster trusts now, and keeps the certificate.
    pub fn install_bundle(&self, bundle_pem: &str) -> Result<(), PkiError> {
        let certificate_pem = self.current().certificate_pem.clone();
        self.install(&certificate_pem, bundle_pem)
    }

    /// This node's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Who this node is to others.
    pub fn identity(&self) -> Identity {
        self.current().identity.clone()
    }

    /// What this node is for.
    pub fn role(&self) -> Role {
        match self.current().identity.is_server() {
            true => Role::Server,
            false => Role::Worker,
        }
    }

    /// The hash of this node's key: the SHA-256 of its SPKI, in hex.
    pub fn key_sha256(&self) -> &str {
        self.shared.key.sha256()
    }

    /// The key under which this node seals its messages to members.
    pub fn seal_key(&self) -> &[u8] {
        &self.shared.seal_key
    }

    /// The certificate, in PEM.
    pub fn certificate_pem(&self) -> String {
        self.current().certificate_pem.clone()
    }

    /// Every CA that the cluster trusts, in PEM.
    pub fn bundle_pem(&self) -> String {
        self.current().bundle_pem.clone()
    }

    /// The SHA-256 of every CA that the cluster trusts.
    pub fn bundle_sha256(&self) -> Vec<[u8; 32]> {
        let current = self.current();
        current
            .bundle
            .iter()
            .map(|c| certificate::sha256(c))
            .collect()
    }

    /// From when the certificate is good.
    pub fn certificate_begins(&self) -> Timestamp {
        self.current().begins
    }

    /// Until when the certificate is good.
    pub fn certificate_ends(&self) -> Timestamp {
        self.current().ends
    }

    /// A certificate request for this node's key, in PEM.
    pub fn csr_pem(&self) -> Result<String, PkiError> {
        self.shared.key.csr_pem(&self.shared.name)
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.shared.current.load_full()
    }
}

impl std::fmt::Debug for Credentials {
    /// Without a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let current = self.current();
        f.debug_struct("Credentials")
            .field("identity", &current.identity)
            .field("ends", &current.ends)
            .finish_non_exhaustive()
    }
}

impl Current {
    fn build(key: &NodeKey, certificate_pem: &str, bundle_pem: &str) -> Result<Self, String> {
        let certificate = certificate::only_of_pem(certificate_pem)?;
        let bundle = certificate::all_of_pem(bundle_pem)
            .map_err(|why| format!("the cluster's CA certificates are damaged: {why}"))?;
        if certificate::key_sha256(&certificate)? != key.sha256() {
            return Err("it is for another key".to_string());
        }
        let identity = certificate::identity_of(&certificate);
        let identity = identity.filter(|who| who.node_name().is_some());
        let identity = identity.ok_or("it names no node")?;
        let (begins, ends) = certificate::validity(&certificate)?;
        let trust = Trust::build(key, &certificate, &bundle).map_err(|e| e.to_string())?;
        Ok(Self {
            identity,
            certificate_pem: certificate_pem.to_string(),
            bundle,
            bundle_pem: bundle_pem.to_string(),
            begins,
            ends,
            trust,
        })
    }
}
