//! Where a registry answers, and the HTTP clients for it.

use std::{path::PathBuf, time::Duration};

use reqwest::{Certificate, Client, redirect};
use tokio::sync::OnceCell;

use crate::image::{
    error::{ImageError, Result},
    reference::{DEFAULT_REGISTRY, DEFAULT_REGISTRY_API, Reference},
};

/// A registry that does not answer at all is given up after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REDIRECTS: usize = 10;

/// What is configured for one registry.
#[derive(Debug, Clone, Default)]
pub struct RegistryConfig {
    /// Host with port as in image names, or `*` for all that have no entry of their own.
    pub host: String,
    /// Hosts (`mirror.example.com:5000`) or URLs (`http://10.0.0.1:5000`) that are asked
    /// first, in this order.
    pub mirrors: Vec<String>,
    /// Speak HTTP without TLS; unset means only with loopback addresses.
    pub plain_http: Option<bool>,
    /// Accept any certificate.
    pub skip_verify: bool,
}

/// One place to ask for an image.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    host: String,
    plain: bool,
    skip_verify: bool,
    /// The registry that a mirror stands for.
    mirror_of: Option<String>,
}

/// The HTTP clients by how much they trust. Made on first use: reading the machine's
/// certificates takes milliseconds that a node without pulls need not spend.
#[derive(Default)]
pub(crate) struct Clients {
    ca_file: Option<PathBuf>,
    verifying: OnceCell<Client>,
    trusting: OnceCell<Client>,
    local: OnceCell<Client>,
}

impl Endpoint {
    /// The places to ask for `reference`: mirrors first, then the registry itself.
    pub fn all(reference: &Reference, configs: &[RegistryConfig]) -> Vec<Self> {
        let registry = reference.registry();
        let by_host = |host: &str| configs.iter().find(|config| config.host == host);
        let config = by_host(registry).or_else(|| by_host("*"));
        let mut endpoints = Vec::new();
        for mirror in config.map_or(&[][..], |config| &config.mirrors) {
            let (host, scheme) = match mirror.split_once("://") {
                Some((scheme, rest)) => (rest.trim_end_matches('/'), Some(scheme)),
                None => (mirror.as_str(), None),
            };
            let own = by_host(host);
            endpoints.push(Self {
                plain: match scheme {
                    Some(scheme) => scheme == "http",
                    None => is_plain(host, own),
                },
                skip_verify: own.is_some_and(|own| own.skip_verify),
                host: host.to_owned(),
                mirror_of: Some(registry.to_owned()),
            });
        }
        let host = match registry {
            DEFAULT_REGISTRY => DEFAULT_REGISTRY_API,
            other => other,
        };
        endpoints.push(Self {
            plain: is_plain(host, config),
            skip_verify: config.is_some_and(|config| config.skip_verify),
            host: host.to_owned(),
            mirror_of: None,
        });
        endpoints
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// The reference under which credentials for this endpoint are looked up.
    pub fn credential_reference(&self, reference: &Reference) -> Result<Reference> {
        match &self.mirror_of {
            None => Ok(reference.clone()),
            Some(_) => Reference::parse(&format!("{}/{}", self.host, reference.repository())),
        }
    }

    pub fn url(&self, reference: &Reference, kind: &str, name: &str) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        let repository = reference.repository();
        let mut url = format!("{scheme}://{}/v2/{repository}/{kind}/{name}", self.host);
        if let Some(registry) = &self.mirror_of {
            // Mirrors of several registries tell them apart by this.
            url.push_str(&format!("?ns={registry}"));
        }
        url
    }
}

impl Clients {
    pub fn new(ca_file: Option<PathBuf>) -> Self {
        Self {
            ca_file,
            ..Self::default()
        }
    }

    pub async fn get(&self, endpoint: &Endpoint) -> Result<Client> {
        let client = if endpoint.skip_verify || endpoint.plain && !is_loopback(&endpoint.host) {
            self.trusting
                .get_or_try_init(|| async { build(trusting()) })
                .await
        } else if endpoint.plain {
            // A proxy cannot reach this machine's loopback.
            self.local
                .get_or_try_init(|| async { build(trusting().no_proxy()) })
                .await
        } else {
            self.verifying
                .get_or_try_init(|| self.build_verifying())
                .await
        };
        client.cloned()
    }

    async fn build_verifying(&self) -> Result<Client> {
        let mut builder = Client::builder();
        if let Some(path) = &self.ca_file {
            let pem = tokio::fs::read(path).await;
            let pem = pem.map_err(|error| ImageError::io("read certificates of", path, error))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| ImageError::ClientSetup {
                    reason: format!("{}: {error}", path.display()),
                })?;
            builder = builder.tls_certs_merge(certificates);
        }
        build(builder)
    }
}

/// For plain HTTP (where there is nothing to verify) and where it is asked for.
fn trusting() -> reqwest::ClientBuilder {
    Client::builder().tls_danger_accept_invalid_certs(true)
}

fn build(builder: reqwest::ClientBuilder) -> Result<Client> {
    builder
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(redirect::Policy::custom(follow))
        .user_agent(concat!("kabuki/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ImageError::ClientSetup {
            reason: std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string),
        })
}

/// Registries redirect to blob stores; never from encrypted to plain.
fn follow(attempt: redirect::Attempt) -> redirect::Action {
    let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if was_secure && attempt.url().scheme() != "https" {
        return attempt.error("the registry redirects to an address that is not encrypted");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("the registry redirects too often");
    }
    attempt.follow()
}

fn is_plain(host: &str, config: Option<&RegistryConfig>) -> bool {
    // The entry for all registries says nothing about the transport of this one.
    let own = config.filter(|config| config.host == host);
    own.and_then(|config| config.plain_http)
        .unwrap_or_else(|| is_loopback(host))
}

/// True for loopback addresses and the name of them.
fn is_loopback(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split(']').next().unwrap_or_default();
        return address
            .parse::<std::net::Ipv6Addr>()
            .is_ok_and(|a| a.is_loopback());
    }
    let name = host.split(':').next().unwrap_or_default();
    name == "localhost"
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(image: &str, configs: &[RegistryConfig]) -> Vec<String> {
        let reference = Reference::parse(image).unwrap();
        let endpoints = Endpoint::all(&reference, configs);
        endpoints
            .iter()
            .map(|e| e.url(&reference, "manifests", "v1"))
            .collect()
    }

    #[test]
    fn only_loopback_is_spoken_to_without_encryption_unless_configured() {
        assert_eq!(
            urls("example.com/a:v1", &[]),
            ["https://example.com/v2/a/manifests/v1"]
        );
        for host in [
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
            "localhost",
        ] {
            let expected = format!("http://{host}/v2/a/manifests/v1");
            assert_eq!(urls(&format!("{host}/a:v1"), &[]), [expected]);
        }
        let config = RegistryConfig {
            host: "example.com:5000".into(),
            plain_http: Some(true),
            ..RegistryConfig::default()
        };
        let configs = [config];
        let expected = ["http://example.com:5000/v2/a/manifests/v1"];
        assert_eq!(urls("example.com:5000/a:v1", &configs), expected);
        assert_eq!(
            urls("example.com/a:v1", &configs),
            ["https://example.com/v2/a/manifests/v1"]
        );
    }

    #[test]
    fn mirrors_are_asked_first_and_told_for_whom() {
        let configs = [RegistryConfig {
            host: "example.com".into(),
            mirrors: vec!["http://10.0.0.1:5000/".into(), "mirror.org".into()],
            ..RegistryConfig::default()
        }];
        assert_eq!(
            urls("example.com/a/b:v1", &configs),
            [
                "http://10.0.0.1:5000/v2/a/b/manifests/v1?ns=example.com",
                "https://mirror.org/v2/a/b/manifests/v1?ns=example.com",
                "https://example.com/v2/a/b/manifests/v1",
            ]
        );
    }
}
