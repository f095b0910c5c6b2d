//! The cluster's CA and what it signs. Keys are ECDSA P-256; a key never reaches a log.
//!
//! The control plane keeps the CA in the replicated state ([`Authority::generate`],
//! [`Authority::from_pem`]); [`Authority::open`] keeps it in a folder of its own, for one node
//! alone and for tests.

mod error;
mod node;
#[cfg(test)]
mod tests;

pub use error::PkiError;
pub use node::{NODE_LIFETIME, SERVER_NAMES, request_key_sha256};

use crate::certificate;
use crate::files;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The CA lives ten years; it can be rotated long before.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// What it signs for people lives one year, as Kubernetes' administrators are used to.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// Certificates begin a little in the past, so that a peer whose clock is behind accepts them.
const CLOCK_SLACK: Duration =
    Duration::from_secs(kabuki_protocol::join::MAX_CLOCK_SKEW_S.unsigned_abs());

/// The cluster's CA.
pub struct Authority {
    certificate_pem: String,
    sha256: [u8; 32],
    issuer: Issuer<'static, KeyPair>,
    node_lifetime: Duration,
}

/// A certificate with its key, in PEM.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Authority {
    /// Makes a new CA.
    pub fn generate() -> Result<Self, PkiError> {
        let made = make_ca()?;
        Self::from_pem(&made.certificate_pem, &made.key_pem)
    }

    /// The CA of a certificate and its key.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let authority = |why: String| PkiError::Authority { why };
        let pair = KeyPair::from_pem(key_pem).map_err(|e| authority(format!("its key: {e}")))?;
        let der = certificate::only_of_pem(certificate_pem)
            .map_err(|why| authority(format!("its certificate: {why}")))?;
        let spki = certificate::key_sha256(&der)
            .map_err(|why| authority(format!("its certificate: {why}")))?;
        if spki != certificate::sha256_hex(&pair.subject_public_key_info()) {
            return Err(authority("its key belongs to another certificate".into()));
        }
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, pair)
            .map_err(|e| authority(format!("its certificate: {e}")))?;
        Ok(Self {
            certificate_pem: certificate_pem.to_string(),
            sha256: certificate::sha256(&der),
            issuer,
            node_lifetime: NODE_LIFETIME,
        })
    }

    /// Reads the CA of a data directory, or makes it.
    pub fn open(data_dir: &Path) -> Result<Self, PkiError> {
        let dir = data_dir.join("pki");
        files::private_dir(&dir)?;
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() {
            let made = make_ca()?;
            // The certificate comes second: a key without one is made again.
            files::write_private(&key, made.key_pem.as_bytes())?;
            files::write_private(&certificate, made.certificate_pem.as_bytes())?;
        }
        let certificate_pem = files::read(&certificate)?;
        let key_pem = files::read(&key)?;
        let damaged = |path: &Path, why: String| PkiError::Damaged {
            path: path.to_path_buf(),
            why,
        };
        KeyPair::from_pem(&key_pem).map_err(|e| damaged(&key, e.to_string()))?;
        Self::from_pem(&certificate_pem, &key_pem)
            .map_err(|error| damaged(&certificate, error.to_string()))
    }

    /// The same CA, which gives nodes certificates of another lifetime.
    pub fn with_node_lifetime(mut self, lifetime: Duration) -> Self {
        self.node_lifetime = lifetime;
        self
    }

    /// The CA's certificate, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The CA's private key, in PEM. A secret.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The SHA-256 of the CA's certificate (DER): what a token carries.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// A client certificate: the user is the common name, each group an organisation
    /// (Kubernetes, "X509 client certificates").
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Issued, PkiError> {
        self.client_for(user, groups, LIFETIME)
    }

    /// A client certificate that is good for so long.
    pub fn client_for(
        &self,
        user: &str,
        groups: &[&str],
        lifetime: Duration,
    ) -> Result<Issued, PkiError> {
        let mut params = params(user, groups, lifetime)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign_new(user, params)
    }

    /// A certificate for a port alone, valid under these names and addresses.
    pub fn server(&self, names: &[String], addresses: &[IpAddr]) -> Result<Issued, PkiError> {
        let subject = "kabuki-server";
        let mut params = params(subject, &[], LIFETIME)?;
        let names = names.iter().map(String::as_str);
        params.subject_alt_names = alternatives(subject, names, addresses)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign_new(subject, params)
    }

    fn sign_new(&self, subject: &str, params: CertificateParams) -> Result<Issued, PkiError> {
        let key = KeyPair::generate().map_err(cannot_sign(subject))?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(cannot_sign(subject))?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn cannot_sign(subject: &str) -> impl Fn(rcgen::Error) -> PkiError {
    let subject = subject.to_string();
    move |source| PkiError::Sign {
        subject: subject.clone(),
        source,
    }
}

/// The names and addresses under which a certificate is valid.
fn alternatives<'a>(
    subject: &str,
    names: impl Iterator<Item = &'a str>,
    addresses: &[IpAddr],
) -> Result<Vec<SanType>, PkiError> {
    let mut all = Vec::new();
    for name in names {
        let name = name.to_string().try_into().map_err(cannot_sign(subject))?;
        all.push(SanType::DnsName(name));
    }
    all.extend(addresses.iter().map(|a| SanType::IpAddress(*a)));
    Ok(all)
}

fn make_ca() -> Result<Issued, PkiError> {
    let failed = cannot_sign("kabuki-ca");
    let mut params = params("kabuki-ca", &[], CA_LIFETIME)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let key = KeyPair::generate().map_err(&failed)?;
    let certificate = params.self_signed(&key).map_err(&failed)?;
    Ok(Issued {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

fn params(
    common_name: &str,
    organisations: &[&str],
    lifetime: Duration,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    // The library keeps one value of each type: the second organisation is written by its number
    // (X.520, id-at-organizationName), which is the same on the wire.
    let types = [
        DnType::OrganizationName,
        DnType::CustomDnType(vec![2, 5, 4, 10]),
    ];
    if organisations.len() > types.len() {
        return Err(PkiError::Groups {
            subject: common_name.to_string(),
            limit: types.len(),
        });
    }
    for (kind, organisation) in types.into_iter().zip(organisations) {
        subject.push(kind, *organisation);
    }
    params.distinguished_name = subject;
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now + lifetime).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}
