//! What a certificate says: whom it names, which key it is for, how long it is good.

use jiff::Timestamp;
use kabuki_model::identity::Identity;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The SHA-256 of some bytes, in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Who a verified certificate names: common name and organisations. `None` when it names nobody.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let parsed = parse(certificate).ok()?;
    let subject = parsed.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?;
    let groups = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok().map(str::to_string));
    let groups: Vec<String> = groups.collect();
    (!user.is_empty()).then(|| Identity::new(user, groups))
}

/// The hash of a certificate's key: the SHA-256 of its SPKI, in hex.
pub fn key_sha256(certificate: &CertificateDer<'_>) -> Result<String, String> {
    Ok(sha256_hex(parse(certificate)?.public_key().raw))
}

/// From when until when a certificate is good.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(Timestamp, Timestamp), String> {
    let parsed = parse(certificate)?;
    let at = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).map_err(|e| e.to_string())
    };
    let validity = parsed.validity();
    Ok((at(validity.not_before)?, at(validity.not_after)?))
}

/// Every certificate of a PEM text; at least one.
pub fn all_of_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|e| e.to_string())?;
    for certificate in &all {
        parse(certificate)?;
    }
    match all.is_empty() {
        true => Err("it holds no certificate".to_string()),
        false => Ok(all),
    }
}

/// The certificate of a PEM text that holds one.
pub fn only_of_pem(pem: &str) -> Result<CertificateDer<'static>, String> {
    let mut all = all_of_pem(pem)?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        _ => Err("it holds more than one certificate".to_string()),
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err("bytes are left after the certificate".to_string()),
        Err(error) => Err(format!("it is no certificate: {error}")),
    }
}
