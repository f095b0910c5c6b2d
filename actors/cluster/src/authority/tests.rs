//! What the CA signs, read back.

use super::*;
use crate::certificate::{identity_of, key_sha256, only_of_pem, validity};
use crate::credentials::{NodeKey, signed_by};
use kabuki_protocol::join::Role;

fn node(authority: &Authority, name: &str, role: Role) -> Result<String, PkiError> {
    let key = NodeKey::generate()?;
    let csr = key.csr_pem("what-it-says-is-ignored")?;
    authority.node_certificate(&csr, name, role, &[IpAddr::from([192, 0, 2, 7])])
}

fn names(pem: &str) -> Vec<String> {
    let der = only_of_pem(pem).expect("a certificate");
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).expect("parses");
    let extension = parsed.subject_alternative_name().expect("readable");
    let extension = extension.expect("names");
    let names = extension.value.general_names.iter();
    names.map(|name| name.to_string()).collect()
}

#[test]
fn a_node_certificate_names_the_node_its_role_and_its_own_key() {
    let authority = Authority::generate().expect("a CA");
    let key = NodeKey::generate().expect("a key");
    let csr = key.csr_pem("another").expect("a request");
    let pem = authority.node_certificate(&csr, "web-1", Role::Server, &[]);
    let der = only_of_pem(&pem.expect("a certificate")).expect("parses");
    let who = identity_of(&der).expect("somebody");
    assert_eq!(who.node_name(), Some("web-1"));
    assert!(who.is_server());
    assert_eq!(key_sha256(&der).as_deref(), Ok(key.sha256()));
    assert_eq!(request_key_sha256(&csr).as_deref(), Ok(key.sha256()));
    let (begins, ends) = validity(&der).expect("times");
    assert_eq!(ends.as_second() - begins.as_second(), 86_400 + 300);
}

#[test]
fn only_servers_answer_for_the_api() {
    let authority = Authority::generate().expect("a CA");
    let server = node(&authority, "a", Role::Server).expect("a certificate");
    let worker = node(&authority, "b", Role::Worker).expect("a certificate");
    let server = names(&server);
    assert!(server.iter().any(|n| n.contains("kubernetes.default.svc")));
    assert_eq!(server.len(), 1 + SERVER_NAMES.len() + 1, "{server:?}");
    let worker = names(&worker);
    assert_eq!(worker.len(), 1, "{worker:?}");
    assert!(worker[0].contains('b'));
}

#[test]
fn a_request_that_cannot_be_granted_is_refused_with_its_node() {
    let authority = Authority::generate().expect("a CA");
    let good = NodeKey::generate()
        .expect("a key")
        .csr_pem("a")
        .expect("a request");
    let middle = good.len() / 2;
    let changed = format!("{}AAAA{}", &good[..middle], &good[middle + 4..]);
    for (csr, name) in [
        ("", "a"),
        (changed.as_str(), "a"),
        (&good, "no name"),
        (&good, ""),
    ] {
        let error = authority.node_certificate(csr, name, Role::Worker, &[]);
        let error = error.expect_err("it cannot be granted").to_string();
        assert!(error.contains(&format!("{name:?}")), "{error}");
    }
}

#[test]
fn a_ca_survives_its_texts_and_a_strangers_key_is_noticed() {
    let authority = Authority::generate().expect("a CA");
    let again = Authority::from_pem(authority.certificate_pem(), &authority.key_pem());
    let again = again.expect("the same CA");
    assert_eq!(again.sha256(), authority.sha256());
    let pem = node(&again, "a", Role::Worker).expect("a certificate");
    let leaf = only_of_pem(&pem).expect("parses");
    let ca = only_of_pem(authority.certificate_pem()).expect("parses");
    assert_eq!(signed_by(&leaf, &ca), Ok(true));

    let other = Authority::generate().expect("a CA");
    let other_ca = only_of_pem(other.certificate_pem()).expect("parses");
    assert_eq!(signed_by(&leaf, &other_ca), Ok(false));
    assert!(Authority::from_pem(authority.certificate_pem(), &other.key_pem()).is_err());
}

#[test]
fn a_data_directory_keeps_its_ca() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Authority::open(dir.path()).expect("a CA");
    let second = Authority::open(dir.path()).expect("the same CA");
    assert_eq!(first.sha256(), second.sha256());
    std::fs::write(dir.path().join("pki/ca.key"), "damaged").expect("writes");
    let error = Authority::open(dir.path())
        .err()
        .expect("damaged")
        .to_string();
    assert!(error.contains("ca.key is damaged"), "{error}");
}

#[test]
fn a_client_certificate_names_its_groups_or_is_refused() {
    let authority = Authority::generate().expect("a CA");
    let issued = authority
        .client("alice", &["dev", "ops"])
        .expect("two groups");
    let der = only_of_pem(&issued.certificate_pem).expect("parses");
    let who = identity_of(&der).expect("somebody");
    assert_eq!(
        (who.user.as_str(), who.groups),
        ("alice", vec!["dev".into(), "ops".into()])
    );
    assert!(authority.client("alice", &["a", "b", "c"]).is_err());
}
