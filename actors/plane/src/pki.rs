//! The cluster's certificates: one CA, made at first start, and what it signs. Keys are ECDSA
//! P-256, files are 0600 in a 0700 folder, and nothing of a key ever reaches a log.
//!
//! ```text
//! <data-dir>/pki/ca.crt ca.key          the cluster's CA, ten years
//!                server.crt server.key  the client port, renewed at start
//! <data-dir>/admin.kubeconfig           an administrator's client certificate
//! ```

mod authority;
mod files;
mod kubeconfig;
mod tls;

pub use authority::{Authority, Issued, PkiError};
pub use kubeconfig::write_admin_kubeconfig;
pub use tls::{identity_of, server_config};
