//! Trust by the token alone: a server's certificate, signed by the CA whose hash the token has.
//!
//! When a certificate is good is left to the caller: a machine whose clock is wrong should hear of
//! its clock, not of certificates.

use crate::certificate::{identity_of, sha256};
use crate::credentials::{provider, signed_by, verify_at};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Mutex;
use std::sync::PoisonError;
use tokio_rustls::rustls;

/// Why a certificate was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is of another cluster, or of none.
    OtherCluster,
    /// It is a member's, but not a server's.
    NotAServer,
}

/// Takes exactly the servers of one cluster.
#[derive(Debug)]
pub(super) struct TokenVerifier {
    ca_sha256: [u8; 32],
    verdict: Mutex<Option<Verdict>>,
}

impl TokenVerifier {
    pub(super) fn new(ca_sha256: [u8; 32]) -> Self {
        Self {
            ca_sha256,
            verdict: Mutex::new(None),
        }
    }

    /// Why the certificate was not taken, if one was shown and was not.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn judge(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Option<Verdict> {
        let ca = others.iter().find(|c| sha256(c) == self.ca_sha256);
        let signed = ca.and_then(|ca| signed_by(leaf, ca).ok());
        if signed != Some(true) {
            return Some(Verdict::OtherCluster);
        }
        match identity_of(leaf).is_some_and(|who| who.is_server()) {
            true => None,
            false => Some(Verdict::NotAServer),
        }
    }
}

/// Whether a chain that was taken is good at `second` (since the epoch), or why not.
pub(super) fn good_at(
    chain: &[CertificateDer<'_>],
    ca_sha256: [u8; 32],
    second: i64,
) -> Result<(), String> {
    let (leaf, others) = chain.split_first().ok_or("it was not shown")?;
    let ca = others.iter().find(|c| sha256(c) == ca_sha256);
    let ca = ca.ok_or("it was shown without its CA")?;
    verify_at(leaf, ca, second)?.map_err(|error| error.to_string())
}

impl ServerCertVerifier for TokenVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.judge(end_entity, intermediates);
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
        match verdict {
            None => Ok(ServerCertVerified::assertion()),
            Some(_) => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // The configuration speaks TLS 1.3 alone.
        Err(Error::General("TLS 1.2 is not spoken".to_string()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
