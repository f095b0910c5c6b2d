//! The CA and what it signs.

use super::files;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The CA lives ten years; it can be rotated long before.
const CA_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);
/// What it signs lives one year, as Kubernetes' administrators are used to.
const LIFETIME: Duration = Duration::from_secs(365 * 86_400);
/// Certificates begin a little in the past, so that a client whose clock is behind accepts them.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

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

/// The cluster's CA.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Authority {
    /// Reads the CA of a data directory, or makes it.
    pub fn open(data_dir: &Path) -> Result<Self, PkiError> {
        let dir = data_dir.join("pki");
        files::private_dir(&dir)?;
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !key.exists() && !certificate.exists() {
            let made = make_ca()?;
            // The certificate comes second: a key without one is made again.
            files::write_private(&key, made.key_pem.as_bytes())?;
            files::write_private(&certificate, made.certificate_pem.as_bytes())?;
        } else if !certificate.exists() {
            let made = make_ca()?;
            files::write_private(&key, made.key_pem.as_bytes())?;
            files::write_private(&certificate, made.certificate_pem.as_bytes())?;
        }
        let certificate_pem = files::read(&certificate)?;
        let key_pem = files::read(&key)?;
        let damaged = |path: &Path| {
            let path = path.to_path_buf();
            move |e: rcgen::Error| PkiError::Damaged {
                path,
                why: e.to_string(),
            }
        };
        let pair = KeyPair::from_pem(&key_pem).map_err(damaged(&key))?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate_pem, pair).map_err(damaged(&certificate))?;
        Ok(Self {
            certificate_pem,
            issuer,
        })
    }

    /// The CA's certificate, in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A client certificate: the user is the common name, each group an organisation
    /// (Kubernetes, "X509 client certificates").
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Issued, PkiError> {
        let mut params = params(user, groups, LIFETIME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(user, params)
    }

    /// A certificate for the client port, valid under these names and addresses.
    pub fn server(&self, names: &[String], addresses: &[IpAddr]) -> Result<Issued, PkiError> {
        let mut params = params("kabuki-server", &[], LIFETIME);
        for name in names {
            let name = name.clone().try_into().map_err(|source| PkiError::Sign {
                subject: name.clone(),
                source,
            })?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let addresses = addresses.iter().map(|a| SanType::IpAddress(*a));
        params.subject_alt_names.extend(addresses);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign("kabuki-server", params)
    }

    fn sign(&self, subject: &str, params: CertificateParams) -> Result<Issued, PkiError> {
        let failed = |source| PkiError::Sign {
            subject: subject.to_string(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Issued {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn make_ca() -> Result<Issued, PkiError> {
    let failed = |source| PkiError::Sign {
        subject: "kabuki-ca".to_string(),
        source,
    };
    let mut params = params("kabuki-ca", &[], CA_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Issued {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

fn params(common_name: &str, organisations: &[&str], lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, common_name);
    for organisation in organisations {
        subject.push(DnType::OrganizationName, *organisation);
    }
    params.distinguished_name = subject;
    let now = SystemTime::now();
    params.not_before = (now - CLOCK_SLACK).into();
    params.not_after = (now + lifetime).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}
