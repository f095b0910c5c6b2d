//! The client port's TLS and the administrator's kubeconfig. The CA itself, and every node's
//! credentials, are `kabuki_cluster`'s.
//!
//! ```text
//! <data-dir>/pki/ca.crt ca.key          the cluster's CA, ten years
//!                server.crt server.key  the client port, renewed at start
//! <data-dir>/admin.kubeconfig           an administrator's client certificate
//! ```

mod kubeconfig;
mod tls;

pub use kabuki_cluster::authority::{Authority, Issued, PkiError};
pub use kabuki_cluster::certificate::identity_of;
pub use kubeconfig::write_admin_kubeconfig;
pub use tls::server_config;
