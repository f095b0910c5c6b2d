//! `create configmap|secret`: from literals, files and environment files.

use super::simple::create;
use crate::cli::failure::{Failure, Outcome, fail};
use crate::cli::session::Session;
use crate::cli::write::WriteArgs;
use anyhow::Context;
use base64::Engine;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the entries come from.
#[derive(Debug, clap::Args)]
struct SourceArgs {
    /// An entry: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// A file as an entry under its name or KEY; of a folder, every file
    #[arg(long, value_name = "[KEY=]PATH")]
    from_file: Vec<String>,
    /// A file of KEY=VALUE lines, each an entry
    #[arg(long, value_name = "PATH")]
    from_env_file: Vec<PathBuf>,
}

type Entries = BTreeMap<String, Vec<u8>>;

/// Arguments of `create configmap`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    kabuki create configmap settings --from-literal=color=red --from-file=app.conf")]
pub struct ConfigMapArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    write: WriteArgs,
}

/// Arguments of `create secret`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    kabuki create secret generic login --from-literal=password=s3cret")]
pub struct SecretArgs {
    #[command(subcommand)]
    kind: SecretKind,
}

#[derive(Debug, clap::Subcommand)]
enum SecretKind {
    /// Any entries
    #[command(after_help = "Example:\n  \
        kabuki create secret generic login --from-literal=password=s3cret")]
    Generic {
        /// Its name
        name: String,
        /// Its type
        #[arg(long = "type", value_name = "TYPE")]
        secret_type: Option<String>,
        #[command(flatten)]
        source: SourceArgs,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// A login at a registry, for imagePullSecrets
    #[command(after_help = "Example:\n  \
        kabuki create secret docker-registry pull --docker-server=registry.example:5000 \
        --docker-username=me --docker-password=s3cret")]
    DockerRegistry {
        /// Its name
        name: String,
        /// The registry
        #[arg(long, required_unless_present = "from_file")]
        docker_server: Option<String>,
        /// The user
        #[arg(long, required_unless_present = "from_file")]
        docker_username: Option<String>,
        /// The password
        #[arg(long, required_unless_present = "from_file")]
        docker_password: Option<String>,
        /// The mail address
        #[arg(long)]
        docker_email: Option<String>,
        /// A docker configuration file instead
        #[arg(long, value_name = "[.dockerconfigjson=]PATH")]
        from_file: Option<String>,
        #[command(flatten)]
        write: WriteArgs,
    },
    /// A certificate and its key
    #[command(after_help = "Example:\n  \
        kabuki create secret tls web --cert=tls.crt --key=tls.key")]
    Tls {
        /// Its name
        name: String,
        /// The certificate, as PEM
        #[arg(long)]
        cert: PathBuf,
        /// The key, as PEM
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        write: WriteArgs,
    },
}

impl ConfigMapArgs {
    /// Runs it.
    pub async fn run(self, session: &Session) -> Outcome {
        let mut value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.name},
        });
        let (mut data, mut binary) = (Map::new(), Map::new());
        for (key, bytes) in self.source.entries()? {
            match String::from_utf8(bytes) {
                Ok(text) => data.insert(key, text.into()),
                Err(error) => binary.insert(key, encoded(error.as_bytes())),
            };
        }
        for (field, entries) in [("data", data), ("binaryData", binary)] {
            if !entries.is_empty() {
                value[field] = Value::Object(entries);
            }
        }
        create(session, "configmaps", value, &self.write).await
    }
}

impl SecretArgs {
    /// Runs it.
    pub async fn run(self, session: &Session) -> Outcome {
        let (name, kind, entries, write) = match self.kind {
            SecretKind::Generic {
                name,
                secret_type,
                source,
                write,
            } => (
                name,
                secret_type.unwrap_or_default(),
                source.entries()?,
                write,
            ),
            SecretKind::Tls {
                name,
                cert,
                key,
                write,
            } => {
                let entries = Entries::from([
                    ("tls.crt".to_string(), read(&cert)?),
                    ("tls.key".to_string(), read(&key)?),
                ]);
                (name, "kubernetes.io/tls".to_string(), entries, write)
            }
            SecretKind::DockerRegistry {
                name,
                docker_server,
                docker_username,
                docker_password,
                docker_email,
                from_file,
                write,
            } => {
                let config = match from_file {
                    Some(path) => {
                        let path = path.strip_prefix(".dockerconfigjson=").unwrap_or(&path);
                        read(Path::new(path))?
                    }
                    None => {
                        let server = docker_server.unwrap_or_default();
                        let user = docker_username.unwrap_or_default();
                        let password = docker_password.unwrap_or_default();
                        login(&server, &user, &password, docker_email).into_bytes()
                    }
                };
                let entries = Entries::from([(".dockerconfigjson".to_string(), config)]);
                (
                    name,
                    "kubernetes.io/dockerconfigjson".to_string(),
                    entries,
                    write,
                )
            }
        };
        let data: Map<String, Value> = entries
            .into_iter()
            .map(|(key, bytes)| (key, encoded(&bytes)))
            .collect();
        let mut value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
        if !kind.is_empty() {
            value["type"] = kind.into();
        }
        if !data.is_empty() {
            value["data"] = Value::Object(data);
        }
        create(session, "secrets", value, &write).await
    }
}

/// A docker configuration with one login.
fn login(server: &str, user: &str, password: &str, email: Option<String>) -> String {
    let mut entry = json!({
        "username": user, "password": password,
        "auth": encoded(format!("{user}:{password}").as_bytes()),
    });
    if let Some(email) = email {
        entry["email"] = email.into();
    }
    json!({"auths": {server: entry}}).to_string()
}

fn encoded(bytes: &[u8]) -> Value {
    base64::engine::general_purpose::STANDARD
        .encode(bytes)
        .into()
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    Ok(std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?)
}

impl SourceArgs {
    fn entries(&self) -> Outcome<Entries> {
        let mut entries = Entries::new();
        for literal in &self.from_literal {
            let Some((key, value)) = literal.split_once('=').filter(|(k, _)| !k.is_empty()) else {
                fail!("invalid literal source {literal}, expected key=value");
            };
            add(&mut entries, key, value.as_bytes().to_vec())?;
        }
        for file in &self.from_file {
            let (key, path) = match file.split_once('=') {
                Some((key, path)) => (Some(key), Path::new(path)),
                None => (None, Path::new(file)),
            };
            add_file(&mut entries, key, path)?;
        }
        for path in &self.from_env_file {
            let text = String::from_utf8(read(path)?);
            let text = text.with_context(|| format!("{} is no text", path.display()))?;
            for line in text.trim_start_matches('\u{feff}').lines() {
                let line = line.trim_start();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let (key, value) = match line.split_once('=') {
                    Some((key, value)) => (key.trim_end(), value.to_string()),
                    // A name alone takes the value of this program's environment.
                    None => (
                        line.trim_end(),
                        std::env::var(line.trim_end()).unwrap_or_default(),
                    ),
                };
                add(&mut entries, key, value.into_bytes())?;
            }
        }
        Ok(entries)
    }
}

fn add_file(entries: &mut Entries, key: Option<&str>, path: &Path) -> Outcome {
    let shown = path.display();
    if path.is_dir() {
        if key.is_some() {
            fail!("cannot give a key name for a directory path: {shown}");
        }
        let files = std::fs::read_dir(path).with_context(|| format!("cannot read {shown}"))?;
        for file in files.flatten().map(|f| f.path()).filter(|p| p.is_file()) {
            add_file(entries, None, &file)?;
        }
        return Ok(());
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let Some(key) = key.map(str::to_string).or(name) else {
        fail!("{shown} has no file name to be a key");
    };
    add(entries, &key, read(path)?)
}

fn add(entries: &mut Entries, key: &str, value: Vec<u8>) -> Outcome {
    if let Some(why) = kabuki_model::syntax::config_key(key) {
        fail!("{key:?} is not a valid key name: {why}");
    }
    match entries.insert(key.to_string(), value) {
        None => Ok(()),
        Some(_) => Err(Failure::new(format!(
            "cannot add key {key}, another key by that name already exists"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(literals: &[&str]) -> SourceArgs {
        SourceArgs {
            from_literal: literals.iter().map(|l| (*l).to_string()).collect(),
            from_file: Vec::new(),
            from_env_file: Vec::new(),
        }
    }

    #[test]
    fn entries_come_from_all_sources() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a.conf"), "x").expect("writes");
        std::fs::write(dir.path().join("env"), "# note\nB=2=3\n\n C=4\n").expect("writes");
        let mut args = source(&["color=red=blue"]);
        args.from_file = vec![format!("key={}", dir.path().join("a.conf").display())];
        args.from_env_file = vec![dir.path().join("env")];
        let entries = args.entries().expect("reads");
        let shown: Vec<(String, String)> = entries
            .into_iter()
            .map(|(k, v)| (k, String::from_utf8(v).expect("text")))
            .collect();
        let expected = [
            ("B", "2=3"),
            ("C", "4"),
            ("color", "red=blue"),
            ("key", "x"),
        ];
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(k, v)| ((*k).to_string(), (*v).to_string()))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_key_may_be_there_once() {
        assert!(source(&["a=1", "a=2"]).entries().is_err());
        assert!(source(&["=1"]).entries().is_err());
        assert!(source(&["a b=1"]).entries().is_err());
    }

    #[test]
    fn a_login_is_a_docker_configuration() {
        let config: Value = serde_json::from_str(&login("r:1", "me", "pw", None)).expect("JSON");
        assert_eq!(config["auths"]["r:1"]["auth"], "bWU6cHc=");
    }
}
