//! Kubeconfig files (Kubernetes, "Organizing Cluster Access Using kubeconfig Files"): which
//! server, as whom, in which namespace. They are kept as the values that they are, so that an
//! edit leaves alone what is not understood here.

use super::failure::{Failure, Outcome, fail};
use anyhow::Context;
use base64::Engine;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where a node keeps everything, unless told otherwise.
const DEFAULT_DATA_DIR: &str = "/var/lib/kabuki";

/// Every kubeconfig file that is in force, the first of which wins.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// The files, and what is in those that exist.
    pub files: Vec<(PathBuf, Option<Value>)>,
}

/// What a connection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `https://HOST:PORT`
    pub server: String,
    /// The certificate authority, as PEM.
    pub authority: Vec<u8>,
    /// The client's certificate chain, as PEM.
    pub certificate: Vec<u8>,
    /// The client's key, as PEM.
    pub key: Vec<u8>,
    /// The name that the server's certificate must have, when it is not the host of `server`.
    pub server_name: Option<String>,
}

/// The data directory: of `$KABUKI_DATA_DIR`, else the usual one.
pub fn data_dir() -> PathBuf {
    match std::env::var_os("KABUKI_DATA_DIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => DEFAULT_DATA_DIR.into(),
    }
}

impl Kubeconfig {
    /// Reads the file that was given, else those of `$KUBECONFIG`, else the data directory's.
    pub fn find(given: Option<&Path>) -> Outcome<Self> {
        if let Some(path) = given {
            if !path.exists() {
                fail!("the kubeconfig {} does not exist", path.display());
            }
            return Self::read(vec![path.to_path_buf()]);
        }
        let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
        let listed: Vec<PathBuf> = std::env::split_paths(&listed)
            .filter(|p| !p.as_os_str().is_empty())
            .collect();
        match listed.is_empty() {
            true => Self::read(vec![data_dir().join("admin.kubeconfig")]),
            false => Self::read(listed),
        }
    }

    fn read(paths: Vec<PathBuf>) -> Outcome<Self> {
        let mut files = Vec::new();
        for path in paths {
            let value = match std::fs::read_to_string(&path) {
                Ok(text) => Some(parse(&text).with_context(|| {
                    format!("the kubeconfig {} cannot be read", path.display())
                })?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => fail!(
                    "the kubeconfig {} may not be read by you: use sudo, or copy it and give \
                     --kubeconfig",
                    path.display()
                ),
                Err(error) => fail!("the kubeconfig {} cannot be read: {error}", path.display()),
            };
            files.push((path, value));
        }
        Ok(Self { files })
    }

    /// The files that exist, merged into one value; the first that says something wins.
    pub fn merged(&self) -> Value {
        let mut merged = json!({
            "apiVersion": "v1", "kind": "Config", "preferences": {},
            "clusters": [], "contexts": [], "users": [], "current-context": "",
        });
        for value in self.files.iter().filter_map(|(_, value)| value.as_ref()) {
            for list in ["clusters", "contexts", "users"] {
                for entry in value[list].as_array().into_iter().flatten() {
                    if named(&merged[list], entry["name"].as_str().unwrap_or_default()).is_none()
                        && let Some(entries) = merged[list].as_array_mut()
                    {
                        entries.push(entry.clone());
                    }
                }
            }
            if merged["current-context"] == ""
                && let Some(current) = value["current-context"].as_str()
            {
                merged["current-context"] = current.into();
            }
        }
        merged
    }

    /// Whether any of the files exists.
    pub fn exists(&self) -> bool {
        self.files.iter().any(|(_, value)| value.is_some())
    }

    /// The name of the context that is in force.
    pub fn context_name(&self, given: Option<&str>) -> String {
        match given {
            Some(name) => name.to_string(),
            None => self.merged()["current-context"]
                .as_str()
                .unwrap_or_default()
                .to_string(),
        }
    }

    /// The namespace of the context, when it has one.
    pub fn namespace(&self, context: Option<&str>) -> Option<String> {
        let merged = self.merged();
        let entry = named(&merged["contexts"], &self.context_name(context))?;
        entry["context"]["namespace"]
            .as_str()
            .filter(|n| !n.is_empty())
            .map(str::to_string)
    }

    /// What a connection in `context` needs.
    pub fn target(&self, context: Option<&str>) -> Outcome<Target> {
        if !self.exists() {
            return Err(self.missing());
        }
        let merged = self.merged();
        let name = self.context_name(context);
        if name.is_empty() {
            fail!(
                "no context is current: choose one with `kabuki config use-context NAME` \
                 (`kabuki config get-contexts` lists them)"
            );
        }
        let Some(entry) = named(&merged["contexts"], &name) else {
            fail!("context {name:?} does not exist (`kabuki config get-contexts` lists them)");
        };
        let part = |list: &str, field: &str| -> Outcome<(String, Value)> {
            let wanted = entry["context"][field]
                .as_str()
                .unwrap_or_default()
                .to_string();
            match named(&merged[list], &wanted) {
                Some(found) => Ok((wanted, found[field].clone())),
                None => Err(Failure::new(format!(
                    "context {name:?} names the {field} {wanted:?}, which the kubeconfig does \
                     not have"
                ))),
            }
        };
        let (cluster_name, cluster) = part("clusters", "cluster")?;
        let (user_name, user) = part("users", "user")?;
        if cluster["insecure-skip-tls-verify"] == true {
            fail!(
                "cluster {cluster_name:?} has insecure-skip-tls-verify, which is not supported: \
                 give certificate-authority-data instead"
            );
        }
        let credential = |field: &str| {
            self.material(&user, field)
                .with_context(|| format!("user {user_name:?}"))
        };
        Ok(Target {
            server: cluster["server"].as_str().unwrap_or_default().to_string(),
            authority: self
                .material(&cluster, "certificate-authority")
                .with_context(|| format!("cluster {cluster_name:?}"))?,
            certificate: credential("client-certificate")?,
            key: credential("client-key")?,
            server_name: cluster["tls-server-name"].as_str().map(str::to_string),
        })
    }

    /// A certificate or key: from `FIELD-data`, else from the file that `FIELD` names.
    fn material(&self, entry: &Value, field: &str) -> anyhow::Result<Vec<u8>> {
        if let Some(data) = entry[format!("{field}-data")]
            .as_str()
            .filter(|d| !d.is_empty())
        {
            let joined: String = data.split_whitespace().collect();
            return base64::engine::general_purpose::STANDARD
                .decode(joined)
                .with_context(|| format!("{field}-data is no base64"));
        }
        let Some(path) = entry[field].as_str().filter(|p| !p.is_empty()) else {
            anyhow::bail!("has neither {field} nor {field}-data: this client needs it");
        };
        let folder = self.files.iter().find(|(_, value)| value.is_some());
        let folder = folder
            .and_then(|(path, _)| path.parent())
            .unwrap_or(Path::new("."));
        let path = folder.join(path);
        std::fs::read(&path).with_context(|| format!("cannot read {field} {}", path.display()))
    }

    fn missing(&self) -> Failure {
        let paths: Vec<String> = self
            .files
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        Failure::new(format!(
            "there is no kubeconfig at {}: start a node with `kabuki node`, or give --kubeconfig \
             or $KUBECONFIG",
            paths.join(" or ")
        ))
    }
}

/// The entry of a list of named things.
pub fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry["name"] == name)
}

fn parse(text: &str) -> anyhow::Result<Value> {
    let value: Value = serde_yaml_ng::from_str(text)?;
    match value {
        Value::Null => Ok(json!({})),
        value if value.is_object() => Ok(value),
        _ => anyhow::bail!("it is no object with fields"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Kubeconfig {
        let value = parse(text).expect("parses");
        Kubeconfig {
            files: vec![("/nowhere/config".into(), Some(value))],
        }
    }

    const FULL: &str = "
apiVersion: v1
kind: Config
current-context: main
clusters:
- name: home
  cluster: {server: 'https://10.0.0.1:6443', certificate-authority-data: QUJD}
users:
- name: me
  user: {client-certificate-data: REVG, client-key-data: R0hJ}
contexts:
- name: main
  context: {cluster: home, user: me, namespace: web}
- name: broken
  context: {cluster: gone, user: me}
";

    #[test]
    fn a_context_names_server_credentials_and_namespace() {
        let config = config(FULL);
        let target = config.target(None).expect("a target");
        assert_eq!(target.server, "https://10.0.0.1:6443");
        assert_eq!(target.authority, b"ABC");
        assert_eq!(
            (&*target.certificate, &*target.key),
            (&b"DEF"[..], &b"GHI"[..])
        );
        assert_eq!(config.namespace(None).as_deref(), Some("web"));
        assert_eq!(config.namespace(Some("broken")), None);
    }

    #[test]
    fn json_is_read_as_well() {
        let value = parse(FULL).expect("parses");
        let json = config(&value.to_string());
        assert_eq!(
            json.target(None).expect("a target").server,
            "https://10.0.0.1:6443"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = |failure: Failure| failure.text();
        let config = config(FULL);
        let broken = text(config.target(Some("broken")).expect_err("refused"));
        assert!(broken.contains("\"gone\""), "{broken}");
        let absent = text(config.target(Some("x")).expect_err("refused"));
        assert!(absent.contains("context \"x\" does not exist"), "{absent}");
        let none = Kubeconfig {
            files: vec![("/nowhere/config".into(), None)],
        };
        let none = text(none.target(None).expect_err("refused"));
        assert!(
            none.contains("kabuki node") && none.contains("/nowhere/config"),
            "{none}"
        );
    }

    #[test]
    fn files_are_found_beside_the_kubeconfig() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("ca.pem"), "PEM").expect("writes");
        let path = dir.path().join("config");
        let text = FULL.replace(
            "certificate-authority-data: QUJD",
            "certificate-authority: ca.pem",
        );
        std::fs::write(&path, text).expect("writes");
        let config = Kubeconfig::find(Some(&path)).expect("reads");
        assert_eq!(config.target(None).expect("a target").authority, b"PEM");
    }

    #[test]
    fn the_first_file_wins() {
        let second = FULL
            .replace("10.0.0.1", "10.0.0.2")
            .replace("current-context: main", "");
        let config = Kubeconfig {
            files: vec![
                ("/a".into(), None),
                ("/b".into(), Some(parse(FULL).expect("parses"))),
                ("/c".into(), Some(parse(&second).expect("parses"))),
            ],
        };
        assert_eq!(
            config.target(None).expect("a target").server,
            "https://10.0.0.1:6443"
        );
    }
}
