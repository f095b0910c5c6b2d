//! The administrator's kubeconfig: the standard file, with a client certificate inside.

use super::{Authority, PkiError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kabuki_cluster::files;
use serde_json::json;
use std::path::{Path, PathBuf};
use x509_parser::prelude::FromDer;

/// A kubeconfig with less time left is written anew.
const RENEW_BEFORE_S: i64 = 60 * 86_400;

/// Writes `<data-dir>/admin.kubeconfig` for `server` (`https://host:port`), unless a good one is
/// there: one of these CAs and this server with enough time left. `authority` signs, all of
/// `bundle_pem` is trusted. Gives its path.
pub fn write_admin_kubeconfig(
    data_dir: &Path,
    authority: &Authority,
    bundle_pem: &str,
    server: &str,
) -> Result<PathBuf, PkiError> {
    let path = data_dir.join("admin.kubeconfig");
    // The one that signs comes first, so that a file of another signer is told apart.
    let signer = authority.certificate_pem();
    let ca = STANDARD.encode(format!("{signer}{}", bundle_pem.replace(signer, "")));
    if is_good(&path, server, &ca) {
        return Ok(path);
    }
    let admin = authority.client("kabuki-admin", &["system:masters"])?;
    // JSON is YAML, and every client reads it; keys stay in the order that people expect.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kabuki",
        "clusters": [{"name": "kabuki", "cluster": {
            "server": server, "certificate-authority-data": ca,
        }}],
        "users": [{"name": "kabuki-admin", "user": {
            "client-certificate-data": STANDARD.encode(&admin.certificate_pem),
            "client-key-data": STANDARD.encode(&admin.key_pem),
        }}],
        "contexts": [{"name": "kabuki", "context": {"cluster": "kabuki", "user": "kabuki-admin"}}],
    });
    let text = serde_json::to_string_pretty(&config).unwrap_or_default() + "\n";
    files::write_private(&path, text.as_bytes())?;
    Ok(path)
}

fn is_good(path: &Path, server: &str, ca: &str) -> bool {
    let Ok(text) = files::read(path) else {
        return false;
    };
    let Ok(config) = serde_json::from_str::<serde_json::Value>(&text) else {
        return false;
    };
    let cluster = &config["clusters"][0]["cluster"];
    let same = cluster["server"] == server && cluster["certificate-authority-data"] == ca;
    let left = || {
        let encoded = config["users"][0]["user"]["client-certificate-data"].as_str()?;
        let pem = STANDARD.decode(encoded).ok()?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
        let (_, certificate) =
            x509_parser::certificate::X509Certificate::from_der(&pem.contents).ok()?;
        Some(certificate.validity().time_to_expiration()?.whole_seconds())
    };
    same && left().is_some_and(|s| s > RENEW_BEFORE_S)
}
