//! The downward API: fields of the pod and resources of its containers as text.

use super::ConfigError;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use kabuki_model::quantity::Quantity;
use std::collections::BTreeMap;

/// What the node adds to the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// The pod's addresses, the primary one first.
    pub pod_ips: Vec<String>,
    /// The node's addresses, the primary one first.
    pub host_ips: Vec<String>,
    /// The pod's host name.
    pub hostname: String,
    /// What the node has.
    pub node: NodeResources,
}

/// What a node can give to pods, which is the limit of a container without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeResources {
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Bytes of huge pages, by the name of the resource.
    pub hugepages: BTreeMap<String, i64>,
}

/// The value of a field of the pod (`fieldRef`).
///
/// # Errors
/// When there is no such field, or it has no value yet.
pub fn field(pod: &Pod, facts: &PodFacts, path: &str) -> Result<String, ConfigError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| Ok(value.cloned().unwrap_or_default());
    let ips = |ips: &[String]| match ips.is_empty() {
        true => Err(ConfigError::new(format!(
            "field path {path} has no value yet"
        ))),
        false => Ok(ips.join(",")),
    };
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unsupported(path)),
        };
        return text(values.as_ref().and_then(|v| v.get(key)));
    }
    match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => Ok(listed(meta.labels.iter().flatten())),
        "metadata.annotations" => Ok(listed(meta.annotations.iter().flatten())),
        "spec.nodeName" => text(spec.and_then(|s| s.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|s| s.service_account_name.as_ref())),
        "status.hostIP" => ips(facts.host_ips.get(..1).unwrap_or_default()),
        "status.hostIPs" => ips(&facts.host_ips),
        "status.podIP" => ips(facts.pod_ips.get(..1).unwrap_or_default()),
        "status.podIPs" => ips(&facts.pod_ips),
        _ => Err(unsupported(path)),
    }
}

fn unsupported(path: &str) -> ConfigError {
    ConfigError::new(format!("unsupported fieldPath: {path}"))
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((map, key))
}

fn listed<'a>(values: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let lines: Vec<String> = values
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    lines.join("\n")
}

/// The value of a resource of a container (`resourceFieldRef`).
///
/// # Errors
/// When there is no such resource or container, or a quantity cannot be read.
pub fn resource(
    pod: &Pod,
    own: &Container,
    node: &NodeResources,
    selector: &ResourceFieldSelector,
) -> Result<String, ConfigError> {
    let spec = pod.spec.as_ref();
    let mut containers = spec.into_iter().flat_map(|s| {
        let first = s.init_containers.iter().flatten();
        s.containers.iter().chain(first)
    });
    let container = match selector.container_name.as_deref() {
        None | Some("") => own,
        Some(name) => containers
            .find(|c| c.name == name)
            .ok_or_else(|| ConfigError::new(format!("container {name} not found")))?,
    };
    let divisor = match &selector.divisor {
        Some(written) => quantity(&written.0)?,
        None => Quantity::ZERO,
    };
    let unknown = || {
        ConfigError::new(format!(
            "unsupported container resource : {}",
            selector.resource
        ))
    };
    let (which, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let limit = resources.and_then(|r| r.limits.as_ref()?.get(name));
    let request = resources.and_then(|r| r.requests.as_ref()?.get(name));
    let written = match which {
        "limits" => limit,
        "requests" => request,
        _ => return Err(unknown()),
    };
    let amount = match (written, which, name) {
        (Some(written), _, _) => quantity(&written.0)?,
        (None, "limits", "cpu") => Quantity::from_milli(node.cpu_milli),
        (None, "limits", "memory") => Quantity::from_value(node.memory),
        (None, "limits", "ephemeral-storage") => Quantity::from_value(node.ephemeral_storage),
        (None, _, _) => Quantity::ZERO,
    };
    let of = |q: &Quantity| {
        if name == "cpu" {
            q.milli_ceil()
        } else {
            q.value_ceil()
        }
    };
    let divisor = match (divisor.is_zero(), name) {
        (true, "cpu") => 1000,
        (true, _) => 1,
        (false, _) => of(&divisor).max(1),
    };
    let amount = of(&amount);
    Ok((amount / divisor + i64::from(amount % divisor > 0)).to_string())
}

fn quantity(text: &str) -> Result<Quantity, ConfigError> {
    text.parse()
        .map_err(|error| ConfigError::new(format!("quantity {text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_are_divided_and_rounded_up_and_default_to_the_nodes() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{
            "name": "web", "resources": {"limits": {"cpu": "1500m", "memory": "100Mi", "hugepages-2Mi": "4Mi"}},
        }]}}))
        .expect("a pod");
        let own = &pod.spec.as_ref().expect("spec").containers[0];
        let node = NodeResources {
            cpu_milli: 4000,
            memory: 1 << 30,
            ephemeral_storage: 5,
            ..NodeResources::default()
        };
        let value = |what: &str, divisor: &str| {
            let selector = serde_json::from_value(json!({"resource": what, "divisor": divisor}));
            resource(&pod, own, &node, &selector.expect("a selector"))
        };
        assert_eq!(value("limits.cpu", "0").as_deref(), Ok("2"));
        assert_eq!(value("limits.cpu", "1m").as_deref(), Ok("1500"));
        assert_eq!(value("limits.memory", "1Mi").as_deref(), Ok("100"));
        assert_eq!(value("requests.memory", "1").as_deref(), Ok("0"));
        assert_eq!(value("limits.ephemeral-storage", "2").as_deref(), Ok("3"));
        assert_eq!(value("limits.hugepages-2Mi", "1Mi").as_deref(), Ok("4"));
        assert_eq!(value("requests.hugepages-1Gi", "1").as_deref(), Ok("0"));
        assert!(value("cpu", "1").is_err());
    }

    #[test]
    fn fields_of_the_pod_are_found_by_path() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "x"}}, "spec": {"containers": []},
        }))
        .expect("a pod");
        let facts = PodFacts {
            pod_ips: vec!["10.0.0.2".to_string()],
            ..PodFacts::default()
        };
        let value = |path: &str| field(&pod, &facts, path);
        assert_eq!(value("metadata.name").as_deref(), Ok("web"));
        assert_eq!(
            value("metadata.labels['app.kubernetes.io/name']").as_deref(),
            Ok("x")
        );
        assert_eq!(value("metadata.labels['no']").as_deref(), Ok(""));
        assert_eq!(value("status.podIP").as_deref(), Ok("10.0.0.2"));
        assert!(value("status.hostIP").is_err());
        assert!(value("spec.containers").is_err());
    }
}
