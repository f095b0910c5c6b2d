//! A container's environment, in all its sources (Kubernetes, "Define Environment Variables").
//! Later sources win: the image, then services, then `envFrom` in order, then `env` in order.

use super::command::ImageDefaults;
use super::expand::expand;
use super::fields::{PodFacts, field, resource};
use super::{ConfigError, fields};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVar, EnvVarSource, Pod, Secret,
};
use std::collections::BTreeMap;

/// The objects that the environment refers to, as far as they exist, by name.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Config maps of the pod's namespace.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets of the pod's namespace.
    pub secrets: BTreeMap<String, Secret>,
    /// The variables that name services, see [`links`](super::links).
    pub services: Vec<(String, String)>,
}

/// A finished environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    declared: BTreeMap<String, String>,
    all: Vec<(String, String)>,
    /// For each object of `envFrom`: the keys that cannot name a variable.
    pub skipped: Vec<String>,
}

impl Environment {
    /// The value of a variable that the manifest declares (the image's do not count in `$(..)`).
    pub fn declared(&self, name: &str) -> Option<&str> {
        self.declared.get(name).map(String::as_str)
    }

    /// Whether there is such a variable at all.
    pub fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(held, _)| held == name)
    }

    /// `NAME=value`, in order.
    pub fn lines(&self) -> Vec<String> {
        self.all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    fn set(&mut self, name: &str, value: String) {
        match self.all.iter_mut().find(|(held, _)| held == name) {
            Some((_, held)) => *held = value,
            None => self.all.push((name.to_string(), value)),
        }
    }

    fn declare(&mut self, name: &str, value: String) {
        self.declared.insert(name.to_string(), value.clone());
        self.set(name, value);
    }
}

/// Where commands are looked for when the image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds the environment of a container.
///
/// # Errors
/// When an object or key that is not optional is missing, in kubelet's words.
pub fn environment(
    pod: &Pod,
    container: &Container,
    facts: &PodFacts,
    sources: &Sources,
    image: &ImageDefaults,
) -> Result<Environment, ConfigError> {
    let mut env = Environment::default();
    env.set("PATH", DEFAULT_PATH.to_string());
    env.set("HOSTNAME", facts.hostname.clone());
    if container.tty == Some(true) {
        env.set("TERM", "xterm".to_string());
    }
    for line in &image.env {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        env.set(name, value.to_string());
    }
    for (name, value) in &sources.services {
        env.declare(name, value.clone());
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    for source in container.env_from.iter().flatten() {
        add_all(&mut env, namespace, source, sources)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(&env, pod, container, facts, sources, variable)? {
            env.declare(&variable.name, value);
        }
    }
    Ok(env)
}

fn add_all(
    env: &mut Environment,
    namespace: &str,
    source: &EnvFromSource,
    sources: &Sources,
) -> Result<(), ConfigError> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let mut skipped = Vec::new();
    let mut take = |env: &mut Environment, key: &str, value: String| {
        let name = format!("{prefix}{key}");
        match is_variable_name(&name) {
            true => env.declare(&name, value),
            false => skipped.push(key.to_string()),
        }
    };
    let from = if let Some(wanted) = &source.config_map_ref {
        match sources.config_maps.get(&wanted.name) {
            Some(held) => {
                for (key, value) in held.data.iter().flatten() {
                    take(env, key, value.clone());
                }
            }
            None if wanted.optional == Some(true) => {}
            None => return Err(missing("configmap", &wanted.name)),
        }
        format!("configMap {namespace}/{}", wanted.name)
    } else if let Some(wanted) = &source.secret_ref {
        match sources.secrets.get(&wanted.name) {
            Some(held) => {
                for (key, value) in held.data.iter().flatten() {
                    take(env, key, String::from_utf8_lossy(&value.0).into_owned());
                }
            }
            None if wanted.optional == Some(true) => {}
            None => return Err(missing("secret", &wanted.name)),
        }
        format!("secret {namespace}/{}", wanted.name)
    } else {
        return Ok(());
    };
    if !skipped.is_empty() {
        env.skipped.push(format!(
            "Keys [{}] from the EnvFrom {from} were skipped since they are considered invalid \
             environment variable names.",
            skipped.join(", ")
        ));
    }
    Ok(())
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'=')
}

fn missing(kind: &str, name: &str) -> ConfigError {
    ConfigError::new(format!("{kind} {name:?} not found"))
}

/// The value of one variable; `None` when its source is optional and missing.
fn value_of(
    env: &Environment,
    pod: &Pod,
    container: &Container,
    facts: &PodFacts,
    sources: &Sources,
    variable: &EnvVar,
) -> Result<Option<String>, ConfigError> {
    let Some(source) = &variable.value_from else {
        let value = variable.value.as_deref().unwrap_or_default();
        return Ok(Some(expand(value, |name| env.declared(name))));
    };
    if let Some(wanted) = &source.field_ref {
        return field(pod, facts, &wanted.field_path).map(Some);
    }
    if let Some(wanted) = &source.resource_field_ref {
        return resource(pod, container, &facts.node, wanted).map(Some);
    }
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    key_of(namespace, sources, source)
}

fn key_of(
    namespace: &str,
    sources: &Sources,
    source: &EnvVarSource,
) -> Result<Option<String>, ConfigError> {
    let lacks_key = |key: &str, kind: &str, name: &str| {
        ConfigError::new(format!(
            "couldn't find key {key} in {kind} {namespace}/{name}"
        ))
    };
    if let Some(wanted) = &source.config_map_key_ref {
        let optional = wanted.optional == Some(true);
        let held = sources.config_maps.get(&wanted.name);
        let value = held.and_then(|c| c.data.as_ref()?.get(&wanted.key).cloned());
        return match (value, held) {
            (Some(value), _) => Ok(Some(value)),
            (None, _) if optional => Ok(None),
            (None, Some(_)) => Err(lacks_key(&wanted.key, "ConfigMap", &wanted.name)),
            (None, None) => Err(missing("configmap", &wanted.name)),
        };
    }
    if let Some(wanted) = &source.secret_key_ref {
        let optional = wanted.optional == Some(true);
        let held = sources.secrets.get(&wanted.name);
        let value = held.and_then(|s| s.data.as_ref()?.get(&wanted.key));
        return match (value, held) {
            (Some(value), _) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            (None, _) if optional => Ok(None),
            (None, Some(_)) => Err(lacks_key(&wanted.key, "Secret", &wanted.name)),
            (None, None) => Err(missing("secret", &wanted.name)),
        };
    }
    Err(ConfigError::new(
        "valueFrom names no source that this version knows",
    ))
}

/// The facts that the environment of a pod that is not set up yet would lack.
impl fields::PodFacts {
    /// The same facts with the pod's addresses.
    pub fn with_pod_ips(&self, pod_ips: Vec<String>) -> Self {
        Self {
            pod_ips,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn build(container: serde_json::Value) -> Result<Environment, ConfigError> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": []},
        }))
        .expect("a pod");
        let container: Container = serde_json::from_value(container).expect("a container");
        let mut sources = Sources::default();
        let config = json!({"data": {"color": "red", "bad=key": "x"}});
        let config = serde_json::from_value(config).expect("a config map");
        sources.config_maps.insert("cfg".to_string(), config);
        let secret = json!({"data": {"pw": "aHVudGVy"}});
        let secret = serde_json::from_value(secret).expect("a secret");
        sources.secrets.insert("sec".to_string(), secret);
        let image = ImageDefaults {
            env: vec!["PATH=/bin".to_string(), "LANG=C".to_string()],
            ..ImageDefaults::default()
        };
        environment(&pod, &container, &PodFacts::default(), &sources, &image)
    }

    #[test]
    fn later_sources_win_and_references_see_what_came_before() {
        let env = build(json!({"name": "c",
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "cfg"}},
                        {"secretRef": {"name": "none", "optional": true}}],
            "env": [{"name": "A", "value": "$(P_color)-$(B)"}, {"name": "B", "value": "$(A)$$(A)"},
                    {"name": "LANG", "value": "de"},
                    {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "pw"}}},
                    {"name": "NO", "valueFrom": {"configMapKeyRef":
                        {"name": "cfg", "key": "no", "optional": true}}},
                    {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}))
        .expect("builds");
        let lines = env.lines();
        for expected in [
            "PATH=/bin",
            "LANG=de",
            "P_color=red",
            "A=red-$(B)",
            "B=red-$(B)$(A)",
            "PW=hunter",
            "ME=web",
        ] {
            assert!(
                lines.iter().any(|l| l == expected),
                "{expected} in {lines:?}"
            );
        }
        assert!(!lines.iter().any(|l| l.starts_with("NO=")));
        assert!(env.skipped[0].starts_with("Keys [bad=key] from the EnvFrom configMap shop/cfg"));
    }

    #[test]
    fn what_is_missing_is_named_in_kubelets_words() {
        let of = |source: serde_json::Value| {
            let built = build(json!({"name": "c", "env": [{"name": "A", "valueFrom": source}]}));
            built.expect_err("refused").to_string()
        };
        let text = of(json!({"configMapKeyRef": {"name": "cfg", "key": "no"}}));
        assert_eq!(text, "couldn't find key no in ConfigMap shop/cfg");
        let text = of(json!({"secretKeyRef": {"name": "no", "key": "no"}}));
        assert_eq!(text, "secret \"no\" not found");
    }
}
