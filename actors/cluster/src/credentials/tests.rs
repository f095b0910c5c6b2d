//! Credentials on disk, and what may replace them.

use super::*;
use crate::authority::Authority;
use std::os::unix::fs::PermissionsExt;

const SEAL: [u8; 32] = [7; 32];

fn create(dir: &Path, authority: &Authority, name: &str) -> Credentials {
    let key = NodeKey::of(dir).expect("a key");
    let csr = key.csr_pem(name).expect("a request");
    let certificate = authority.node_certificate(&csr, name, Role::Server, &[]);
    let certificate = certificate.expect("a certificate");
    Credentials::create(dir, key, &certificate, authority.certificate_pem(), &SEAL)
        .expect("credentials")
}

#[test]
fn credentials_survive_the_disk_and_only_their_owner_reads_them() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(!Credentials::exist(dir.path()));
    let authority = Authority::generate().expect("a CA");
    let made = create(dir.path(), &authority, "a");
    assert!(Credentials::exist(dir.path()));
    let read = Credentials::load(dir.path()).expect("credentials");
    assert_eq!(read.name(), "a");
    assert_eq!(read.role(), Role::Server);
    assert_eq!(read.key_sha256(), made.key_sha256());
    assert_eq!(read.seal_key(), SEAL);
    assert_eq!(read.certificate_ends(), made.certificate_ends());
    assert_eq!(read.bundle_sha256(), [authority.sha256()]);
    for file in ["node.key", "node.crt", "ca.crt", "seal.key"] {
        let metadata = std::fs::metadata(dir.path().join("pki").join(file)).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn damage_is_named_with_the_file() {
    let authority = Authority::generate().expect("a CA");
    for file in ["node.key", "node.crt", "ca.crt", "seal.key"] {
        let dir = tempfile::tempdir().expect("a directory");
        create(dir.path(), &authority, "a");
        let path = dir.path().join("pki").join(file);
        let whole = std::fs::read(&path).expect("a file");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("writes");
        let error = Credentials::load(dir.path())
            .expect_err("damaged")
            .to_string();
        assert!(error.contains(&format!("{file} is damaged")), "{error}");
        std::fs::remove_file(&path).expect("removes");
        let error = Credentials::load(dir.path())
            .expect_err("missing")
            .to_string();
        assert!(error.contains(file), "{error}");
    }
}

#[test]
fn a_renewed_certificate_replaces_the_old_one_in_memory_and_on_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Authority::generate().expect("a CA");
    let second = Authority::generate().expect("a CA");
    let credentials = create(dir.path(), &first, "a");
    let csr = credentials.csr_pem().expect("a request");
    let renewed = second.node_certificate(&csr, "a", Role::Server, &[]);
    let renewed = renewed.expect("a certificate");
    let both = format!("{}{}", first.certificate_pem(), second.certificate_pem());
    credentials.install(&renewed, &both).expect("fits");
    for credentials in [credentials, Credentials::load(dir.path()).expect("reads")] {
        assert_eq!(credentials.certificate_pem(), renewed);
        assert_eq!(
            credentials.bundle_sha256(),
            [first.sha256(), second.sha256()]
        );
    }
}

#[test]
fn a_certificate_that_does_not_fit_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::generate().expect("a CA");
    let credentials = create(dir.path(), &authority, "a");
    let before = credentials.certificate_pem();
    let ca = authority.certificate_pem();
    let csr = credentials.csr_pem().expect("a request");
    let other_name = authority.node_certificate(&csr, "b", Role::Server, &[]);
    let other_name = other_name.expect("a certificate");
    let other_key = NodeKey::generate()
        .expect("a key")
        .csr_pem("a")
        .expect("a request");
    let other_key = authority.node_certificate(&other_key, "a", Role::Server, &[]);
    let other_key = other_key.expect("a certificate");
    let cases = [
        (other_name.as_str(), ca, "system:node:b"),
        (other_key.as_str(), ca, "another key"),
        ("", ca, "no certificate"),
        (before.as_str(), "", "CA certificates are damaged"),
    ];
    for (certificate, bundle, expected) in cases {
        let error = credentials
            .install(certificate, bundle)
            .expect_err("no fit")
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(credentials.certificate_pem(), before);
        assert_eq!(
            Credentials::load(dir.path())
                .expect("reads")
                .certificate_pem(),
            before
        );
    }
}

#[test]
fn a_key_is_made_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = NodeKey::of(dir.path()).expect("a key");
    let second = NodeKey::of(dir.path()).expect("a key");
    assert_eq!(first.sha256(), second.sha256());
}
