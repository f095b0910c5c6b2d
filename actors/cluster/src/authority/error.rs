//! What can go wrong with certificates.

use std::path::PathBuf;

/// Why certificates could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("cannot access {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file holds no certificate or key.
    #[error(
        "{path} is damaged: {why}; restore it from a backup, or remove the pki folder to make a \
         new CA (every kubeconfig must then be fetched again)"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file of the node's own credentials cannot be used.
    #[error(
        "{path} is damaged: {why}; restore it from a backup, or remove this node from the \
         cluster, reset it, and let it join again"
    )]
    Credential {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A certificate that was to replace this node's does not fit.
    #[error("the new certificate cannot be used: {why}")]
    Misfit {
        /// What is wrong.
        why: String,
    },
    /// The CA cannot be used.
    #[error("the cluster's CA cannot be used: {why}")]
    Authority {
        /// What is wrong.
        why: String,
    },
    /// A certificate request cannot be granted.
    #[error("the certificate request of {node:?} cannot be granted: {why}")]
    Request {
        /// Which node.
        node: String,
        /// What is wrong.
        why: String,
    },
    /// A certificate cannot name so many groups.
    #[error("cannot make a certificate for {subject}: it would name more than {limit} groups")]
    Groups {
        /// For whom.
        subject: String,
        /// How many it may name.
        limit: usize,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate for {subject}: {source}")]
    Sign {
        /// For whom.
        subject: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}
