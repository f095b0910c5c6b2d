//! What three etcd members and their clients show each other: an authority of its own and one
//! certificate, good for every member and for clients.

use kabuki_tests::harness::address;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::PrivateKeyDer;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Files for members, and the client's side.
pub struct Credentials {
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    connector: TlsConnector,
}

impl Credentials {
    /// Makes them, as files in `directory`.
    pub fn make(directory: &Path, members: usize) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let generate = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        let authority = CertifiedIssuer::self_signed(params, generate()?)?;

        let mut names: Vec<String> = (1..=members).map(address).collect();
        names.push("127.0.0.1".to_string());
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let pair = generate()?;
        let certificate = params.signed_by(&pair, &authority)?;

        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let key = PrivateKeyDer::Pkcs8(pair.serialize_der().into());
        let mut client = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.der().clone()], key)?;
        client.alpn_protocols = vec![b"h2".to_vec()];

        let made = Self {
            authority: directory.join("authority.pem"),
            certificate: directory.join("certificate.pem"),
            key: directory.join("key.pem"),
            connector: TlsConnector::from(Arc::new(client)),
        };
        std::fs::write(&made.authority, authority.pem())?;
        std::fs::write(&made.certificate, certificate.pem())?;
        std::fs::write(&made.key, pair.serialize_pem())?;
        Ok(made)
    }

    /// Has a member show its certificate to clients and other members, and ask for theirs.
    pub fn demand(&self, command: &mut Command) {
        for prefix in ["--", "--peer-"] {
            let flag = |name: &str| format!("{prefix}{name}");
            command.arg(flag("trusted-ca-file")).arg(&self.authority);
            command.arg(flag("cert-file")).arg(&self.certificate);
            command.arg(flag("key-file")).arg(&self.key);
            command.arg(flag("client-cert-auth"));
        }
    }

    /// What a client connects with.
    pub fn connector(&self) -> TlsConnector {
        self.connector.clone()
    }
}
