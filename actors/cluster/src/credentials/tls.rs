//! TLS by the credentials of the moment: configurations that ask for certificate and CAs anew in
//! each handshake.

use super::{Credentials, NodeKey};
use crate::authority::PkiError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt;
use std::sync::{Arc, LazyLock};
use tokio_rustls::rustls;

/// Who may come through a server's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Those with a certificate of the cluster.
    Certified,
    /// Anyone: nothing is asked of them.
    Anyone,
    /// Anyone, and who has a certificate may show it: whether it is good is not judged in the
    /// handshake, but by [`Credentials::accepts_client`], so that a bad one gets an answer.
    Asked,
}

/// What handshakes need of one generation of the credentials.
pub(super) struct Trust {
    certified: Arc<CertifiedKey>,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

fn tls(error: impl fmt::Display) -> PkiError {
    PkiError::Tls(error.to_string())
}

impl Trust {
    pub(super) fn build(
        key: &NodeKey,
        certificate: &CertificateDer<'static>,
        bundle: &[CertificateDer<'static>],
    ) -> Result<Self, PkiError> {
        let mut roots = RootCertStore::empty();
        for ca in bundle {
            roots.add(ca.clone()).map_err(tls)?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider());
        let mut chain = vec![certificate.clone()];
        // Joiners know the CA by its hash alone: they must be shown it.
        match issuer_of(certificate, bundle) {
            Some(ca) => chain.push(ca.clone()),
            None => tracing::warn!("this node's certificate was signed by no CA of the cluster"),
        }
        let key = PrivateKeyDer::from_pem_slice(key.pem().as_bytes()).map_err(tls)?;
        let key = provider().key_provider.load_private_key(key).map_err(tls)?;
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            clients: clients.build().map_err(tls)?,
            servers: servers.build().map_err(tls)?,
        })
    }
}

/// The CA that signed a certificate.
fn issuer_of<'a>(
    certificate: &CertificateDer<'_>,
    bundle: &'a [CertificateDer<'static>],
) -> Option<&'a CertificateDer<'static>> {
    bundle.iter().find(|ca| {
        let signed = signed_by(certificate, ca);
        signed.unwrap_or(false)
    })
}

/// Whether `ca` signed `certificate`, whatever the time is.
pub(crate) fn signed_by(
    certificate: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
) -> Result<bool, String> {
    let (begins, ends) = crate::certificate::validity(certificate)?;
    // A moment at which the certificate was good.
    let middle = begins.as_second() + (ends.as_second() - begins.as_second()) / 2;
    verify_at(certificate, ca, middle).map(|verdict| verdict.is_ok())
}

/// Whether `certificate`, as a server's, was signed by `ca` and was good at `second` (since the
/// epoch). The outer error means that they are no certificates.
pub(crate) fn verify_at(
    certificate: &CertificateDer<'_>,
    ca: &CertificateDer<'_>,
    second: i64,
) -> Result<Result<(), Error>, String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|e| e.to_string())?;
    let mut roots = RootCertStore::empty();
    roots
        .add(ca.clone().into_owned())
        .map_err(|e| e.to_string())?;
    let at = std::time::Duration::from_secs(u64::try_from(second).unwrap_or(0));
    Ok(rustls::client::verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &roots,
        &[],
        UnixTime::since_unix_epoch(at),
        provider().signature_verification_algorithms.all,
    ))
}

impl Credentials {
    /// The server's side of TLS.
    pub fn server_config(
        &self,
        audience: Audience,
        alpns: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, PkiError> {
        let live = Arc::new(Live(self.clone()));
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?;
        let builder = match audience {
            Audience::Certified => builder.with_client_cert_verifier(live.clone()),
            Audience::Anyone => builder.with_no_client_auth(),
            Audience::Asked => builder.with_client_cert_verifier(Arc::new(Asked(live.clone()))),
        };
        let mut config = builder.with_cert_resolver(live);
        config.alpn_protocols = alpns.iter().map(|p| p.to_vec()).collect();
        // A resumed session would not be asked for its certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// Whether a client's certificate (the first of the chain) was signed by a CA of the cluster
    /// and is good now.
    pub fn accepts_client(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((end_entity, intermediates)) = chain.split_first() else {
            return false;
        };
        let current = self.current();
        let clients = &current.trust.clients;
        let verdict = clients.verify_client_cert(end_entity, intermediates, UnixTime::now());
        verdict.is_ok()
    }

    /// The client's side of TLS: the peer must have a certificate of the cluster that is good for
    /// the name that is dialled.
    pub fn client_config(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, PkiError> {
        let live = Arc::new(Live(self.clone()));
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(tls)?
            .dangerous()
            .with_custom_certificate_verifier(live.clone())
            .with_client_cert_resolver(live);
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// The credentials of the moment, as rustls asks for them.
#[derive(Debug)]
struct Live(Credentials);

impl rustls::server::ResolvesServerCert for Live {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().trust.certified.clone())
    }
}

impl rustls::client::ResolvesClientCert for Live {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().trust.certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Live {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints would be those of one moment; clients have one certificate anyway.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.0.current();
        let verifier = &current.trust.clients;
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.0.current();
        let verifier = &current.trust.clients;
        verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.0.current();
        let verifier = &current.trust.clients;
        verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.current().trust.clients.supported_verify_schemes()
    }
}

/// Asks for a certificate and takes any, or none. That the client holds the certificate's key is
/// proved all the same.
#[derive(Debug)]
struct Asked(Arc<Live>);

impl ClientCertVerifier for Asked {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls12_signature(&*self.0, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls13_signature(&*self.0, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(&*self.0)
    }
}

impl ServerCertVerifier for Live {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let current = self.0.current();
        let verifier = &current.trust.servers;
        verifier.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.0.current();
        let verifier = &current.trust.servers;
        verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let current = self.0.current();
        let verifier = &current.trust.servers;
        verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.current().trust.servers.supported_verify_schemes()
    }
}
