//! Certificates of nodes: for the key of a request, and for nothing else that it says.

use super::{Authority, PkiError, alternatives, cannot_sign, params};
use crate::certificate;
use kabuki_model::identity::{GROUP_NODES, GROUP_SERVERS, Identity};
use kabuki_protocol::join::Role;
use rcgen::{CertificateSigningRequestParams, ExtendedKeyUsagePurpose, PublicKeyData};
use rustls_pki_types::DnsName;
use std::net::IpAddr;
use std::time::Duration;

/// A node's certificate lives one day: it is renewed while the node runs, and a stolen one is
/// worth little.
pub const NODE_LIFETIME: Duration = Duration::from_secs(86_400);
/// The names under which clients reach the API on any server (Kubernetes' own, for clients in
/// pods), and on the same machine.
pub const SERVER_NAMES: [&str; 5] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
];

impl Authority {
    /// A node's certificate, in PEM, for the key of `csr_pem`: valid under the node's name; a
    /// server's also under [`SERVER_NAMES`] and `addresses`.
    pub fn node_certificate(
        &self,
        csr_pem: &str,
        name: &str,
        role: Role,
        addresses: &[IpAddr],
    ) -> Result<String, PkiError> {
        let refused = |why: String| PkiError::Request {
            node: name.to_string(),
            why,
        };
        if DnsName::try_from(name).is_err() {
            return Err(refused("its name is no DNS name".to_string()));
        }
        let request = CertificateSigningRequestParams::from_pem(csr_pem)
            .map_err(|e| refused(e.to_string()))?;
        let user = Identity::node(name).user;
        let groups: &[&str] = match role {
            Role::Server => &[GROUP_NODES, GROUP_SERVERS],
            Role::Worker => &[GROUP_NODES],
        };
        let mut params = params(&user, groups, self.node_lifetime)?;
        let own = std::iter::once(name);
        params.subject_alt_names = match role {
            Role::Server => alternatives(&user, own.chain(SERVER_NAMES), addresses)?,
            Role::Worker => alternatives(&user, own, &[])?,
        };
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let certificate = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(cannot_sign(&user))?;
        Ok(certificate.pem())
    }
}

/// The hash of a certificate request's key, as [`crate::Directory::is_member`] knows it; an error
/// says what is wrong with the request.
pub fn request_key_sha256(csr_pem: &str) -> Result<String, String> {
    let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(|e| e.to_string())?;
    Ok(certificate::sha256_hex(
        &request.public_key.subject_public_key_info(),
    ))
}
