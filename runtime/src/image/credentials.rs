//! Registry credentials from pull secrets.
//!
//! Pure: text in, a keyring out, and from the keyring the credentials for an image, most
//! specific first, by the rules of Kubernetes' kubelet ("Interpretation of config.json"):
//! hosts match label by label with wildcards, ports must be equal, a path is a prefix.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{
    error::{ImageError, Result},
    reference::{DEFAULT_REGISTRY, DEFAULT_REGISTRY_LEGACY, Reference},
};

/// What to show a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Basic {
        username: String,
        password: String,
    },
    /// A token that the registry's token service exchanges for an access token.
    Identity {
        username: String,
        token: String,
    },
    /// A token that the registry itself accepts.
    Bearer(String),
}

/// Credentials of several registries, in the order in which they are tried.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    pattern: Pattern,
    credential: Credential,
}

/// The host (with wildcards), port and path that a key of a credentials file names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    host: String,
    port: Option<String>,
    path: String,
}

#[derive(Deserialize)]
struct DockerConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
}

#[derive(Deserialize)]
struct AuthEntry {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
    #[serde(alias = "identityToken")]
    identitytoken: Option<String>,
    #[serde(alias = "registryToken")]
    registrytoken: Option<String>,
}

impl Keyring {
    /// Adds a `.dockerconfigjson` document (secret type `kubernetes.io/dockerconfigjson`).
    pub fn add_docker_config_json(&mut self, json: &[u8]) -> Result<()> {
        let config: DockerConfigJson = serde_json::from_slice(json).map_err(bad_json)?;
        self.add_entries(config.auths)
    }

    /// Adds a `.dockercfg` document (secret type `kubernetes.io/dockercfg`).
    pub fn add_docker_cfg(&mut self, json: &[u8]) -> Result<()> {
        let auths: BTreeMap<String, AuthEntry> = serde_json::from_slice(json).map_err(bad_json)?;
        self.add_entries(auths)
    }

    /// Adds one credential for everything under `key`, for example a host.
    pub fn add(&mut self, key: &str, credential: Credential) {
        let pattern = Pattern::from_key(key);
        self.entries.push(Entry {
            pattern,
            credential,
        });
        // Longer paths and concrete hosts sort behind their prefixes and wildcards, so the
        // reverse order tries the most specific first. The sort keeps equals as added.
        self.entries.sort_by(|a, b| b.pattern.cmp(&a.pattern));
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The credentials to try for `reference`, in this order. Empty means anonymous.
    pub fn matching(&self, reference: &Reference) -> Vec<Credential> {
        let mut found: Vec<Credential> = Vec::new();
        for entry in &self.entries {
            if entry.pattern.matches(reference) && !found.contains(&entry.credential) {
                found.push(entry.credential.clone());
            }
        }
        found
    }

    fn add_entries(&mut self, auths: BTreeMap<String, AuthEntry>) -> Result<()> {
        for (key, entry) in auths {
            if let Some(credential) = entry.credential(&key)? {
                self.add(&key, credential);
            }
        }
        Ok(())
    }
}

impl AuthEntry {
    /// None for an entry without content, as `docker logout` and credential helpers leave it.
    fn credential(self, key: &str) -> Result<Option<Credential>> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Credential::Bearer(token)));
        }
        let (mut username, mut password) = (filled(self.username), filled(self.password));
        if let Some(auth) = filled(self.auth) {
            let (user, pass) = decode_auth(&auth).ok_or_else(|| ImageError::BadCredentials {
                reason: format!("\"auth\" of \"{key}\" is not base64 of user:password"),
            })?;
            username = Some(user);
            password = Some(pass).filter(|pass| !pass.is_empty()).or(password);
        }
        if let Some(token) = filled(self.identitytoken) {
            let username = username.unwrap_or_else(|| "<token>".into());
            return Ok(Some(Credential::Identity { username, token }));
        }
        Ok(username.map(|username| Credential::Basic {
            username,
            password: password.unwrap_or_default(),
        }))
    }
}

fn decode_auth(auth: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Some tools pad the password with NUL bytes.
    Some((user.to_owned(), password.trim_matches('\0').to_owned()))
}

fn bad_json(error: serde_json::Error) -> ImageError {
    // Only the position: the message of a JSON error may quote a secret.
    ImageError::BadCredentials {
        reason: format!(
            "invalid JSON at line {} column {}",
            error.line(),
            error.column()
        ),
    }
}

impl Pattern {
    fn from_key(key: &str) -> Self {
        let bare = key.split_once("://").map_or(key, |(_, rest)| rest);
        let (authority, path) = match bare.find('/') {
            None => (bare, ""),
            Some(slash) => bare.split_at(slash),
        };
        // `/v1/` and `/v2/` are API versions, not repositories.
        let path = path
            .strip_prefix("/v1")
            .or_else(|| path.strip_prefix("/v2"))
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .unwrap_or(path);
        let (host, port) = split_port(authority);
        let host = match host {
            DEFAULT_REGISTRY_LEGACY => DEFAULT_REGISTRY,
            host => host,
        };
        Self {
            host: host.to_owned(),
            port: port.map(str::to_owned),
            path: path.trim_end_matches('/').to_owned(),
        }
    }

    fn matches(&self, reference: &Reference) -> bool {
        let (host, port) = split_port(reference.registry());
        if self.port.as_deref() != port {
            return false;
        }
        let labels = self.host.split('.').count() == host.split('.').count()
            && self
                .host
                .split('.')
                .zip(host.split('.'))
                .all(|(glob, label)| glob_matches(glob.as_bytes(), label.as_bytes()));
        labels && format!("/{}", reference.repository()).starts_with(&self.path)
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// `*` is any run of characters and `?` any one. Linear: it backs up only to the last star.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match star {
                None => return false,
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (g, t) = (at + 1, from + 1);
                }
            },
        }
    }
    glob[g..].iter().all(|&c| c == b'*')
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => write!(f, "Basic({username}, …)"),
            Self::Identity { username, .. } => write!(f, "Identity({username}, …)"),
            Self::Bearer(_) => write!(f, "Bearer(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(json: &str) -> Keyring {
        let mut keyring = Keyring::default();
        keyring.add_docker_config_json(json.as_bytes()).unwrap();
        keyring
    }

    fn users(keyring: &Keyring, image: &str) -> Vec<String> {
        let reference = Reference::parse(image).unwrap();
        let name = |credential| match credential {
            Credential::Basic { username, password } => format!("{username}:{password}"),
            other => format!("{other:?}"),
        };
        keyring.matching(&reference).into_iter().map(name).collect()
    }

    #[test]
    fn hosts_ports_and_paths_choose_the_credentials() {
        let ring = keyring(
            r#"{"auths": {
                "https://example.com": {"username": "host", "password": "1"},
                "example.com/team": {"username": "team", "password": "2"},
                "example.com:5000": {"username": "port", "password": "3"},
                "*.example.com": {"username": "wild", "password": "4"}
            }}"#,
        );
        assert_eq!(users(&ring, "example.com/team/app"), ["team:2", "host:1"]);
        assert_eq!(users(&ring, "example.com/app"), ["host:1"]);
        assert_eq!(users(&ring, "example.com:5000/app"), ["port:3"]);
        assert_eq!(users(&ring, "eu.example.com/app"), ["wild:4"]);
        assert!(users(&ring, "a.eu.example.com/app").is_empty());
        assert!(users(&ring, "other.com/app").is_empty());
    }

    #[test]
    fn the_default_registry_is_known_by_its_old_names() {
        let auth = STANDARD.encode("me:secret:with:colons");
        for key in [
            "https://index.docker.io/v1/",
            "docker.io",
            "index.docker.io",
        ] {
            let ring = keyring(&format!(
                r#"{{"auths": {{"{key}": {{"auth": "{auth}"}}}}}}"#
            ));
            assert_eq!(users(&ring, "nginx"), ["me:secret:with:colons"], "{key}");
        }
    }

    #[test]
    fn the_old_secret_format_is_read_too() {
        let mut ring = Keyring::default();
        let json = br#"{"example.com": {"username": "a", "password": "b", "email": "c"}}"#;
        ring.add_docker_cfg(json).unwrap();
        assert_eq!(users(&ring, "example.com/x"), ["a:b"]);
    }

    #[test]
    fn a_broken_secret_is_refused_without_quoting_it() {
        let mut ring = Keyring::default();
        let broken = br#"{"auths": {"example.com": {"password": hunter2}}}"#;
        let text = ring.add_docker_config_json(broken).unwrap_err().to_string();
        assert!(!text.contains("hunter2"), "{text}");
        let auth = br#"{"auths": {"example.com": {"auth": "aHVudGVyMg=="}}}"#;
        let text = ring.add_docker_config_json(auth).unwrap_err().to_string();
        assert!(
            text.contains("example.com") && !text.contains("hunter2"),
            "{text}"
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let ring = keyring(r#"{"auths": {"h.com": {"username": "u", "password": "hunter2"}}}"#);
        assert!(!format!("{ring:?}").contains("hunter2"));
    }

    #[test]
    fn wildcards_stay_inside_one_label() {
        assert!(glob_matches(b"*", b"anything"));
        assert!(glob_matches(b"a*c?", b"abbcd"));
        assert!(!glob_matches(b"a*c", b"abcd"));
        assert!(!glob_matches(b"", b"a"));
    }
}
