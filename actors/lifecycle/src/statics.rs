//! Static pods (Kubernetes, "Create static Pods"): pods from files of a node's own, which run
//! without any server. The API shows them as mirror pods.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::kind::pod::referenced;
use kabuki_model::manifest;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where a pod comes from: `file`, or `api`.
pub const SOURCE: &str = "kubernetes.io/config.source";
/// What tells one version of a file from another: the pod's own uid.
pub const HASH: &str = "kubernetes.io/config.hash";
/// When the file was read.
pub const SEEN: &str = "kubernetes.io/config.seen";
/// Marks a mirror pod; its value is the hash.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Why a file is no static pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StaticError {
    /// It cannot be read as one object.
    #[error("{0}")]
    Unreadable(String),
    /// It is something else.
    #[error("{file} holds a {kind:?}: a static pod's file holds one Pod of v1")]
    OtherKind {
        /// Which file.
        file: String,
        /// What it holds.
        kind: String,
    },
    /// It names what only the API has.
    #[error("{file}: static pods may not reference {what}")]
    References {
        /// Which file.
        file: String,
        /// `secrets`, `configmaps`.
        what: &'static str,
    },
    /// It breaks rules of pods.
    #[error("{file}: {field}: {why}")]
    Invalid {
        /// Which file.
        file: String,
        /// Which field.
        field: String,
        /// How.
        why: String,
    },
}

/// Reads the pod of a file as the node `node` runs it.
///
/// # Errors
/// When the file is no pod, breaks a rule, or refers to what only the API has.
pub fn read(file: &str, text: &[u8], node: &str, now: Timestamp) -> Result<Pod, StaticError> {
    let objects = manifest::parse_all(file, text);
    let mut objects = objects.map_err(|e| StaticError::Unreadable(e.to_string()))?;
    let (Some(object), true) = (objects.pop(), objects.is_empty()) else {
        let why = format!("{file} must hold exactly one object");
        return Err(StaticError::Unreadable(why));
    };
    if (object.kind.as_str(), object.api_version.as_str()) != ("Pod", "v1") {
        let (file, kind) = (file.to_string(), object.kind);
        return Err(StaticError::OtherKind { file, kind });
    }
    let invalid = |field: String, why: String| StaticError::Invalid {
        file: file.to_string(),
        field,
        why,
    };
    let Some(kind) = kabuki_model::kind::by_name("Pod") else {
        return Err(invalid("kind".to_string(), "is not known".to_string()));
    };
    let uid = uid(node, file, &object.value);
    let decoded = kind.decode(object.value);
    let decoded = decoded.map_err(|cause| invalid(cause.field, cause.message))?;
    if let Some(unknown) = decoded.unknown.into_iter().next() {
        return Err(invalid(unknown, "unknown field".to_string()));
    }
    let mut object = decoded.object;
    if let Some(pod) = object.typed_mut().downcast_mut() {
        place(pod, uid, node, now);
    }
    // Defaulted and checked as the API does it.
    object.default();
    let causes = object.validate();
    if let Some(cause) = causes.into_iter().next() {
        return Err(invalid(cause.field, cause.message));
    }
    let Some(mut pod) = object.typed().downcast_ref::<Pod>().cloned() else {
        return Err(invalid("kind".to_string(), "is no pod".to_string()));
    };
    let spec = pod.spec.get_or_insert_default();
    if let Some(what) = referenced(spec) {
        let file = file.to_string();
        return Err(StaticError::References { file, what });
    }
    // Nothing drives it away: it is the node's own.
    let tolerations = spec.tolerations.get_or_insert_default();
    let everything = Toleration {
        operator: Some("Exists".to_string()),
        effect: Some("NoExecute".to_string()),
        ..Toleration::default()
    };
    if !tolerations.contains(&everything) {
        tolerations.push(everything);
    }
    Ok(pod)
}

/// Makes it a pod of this node.
fn place(pod: &mut Pod, uid: String, node: &str, now: Timestamp) {
    let meta = &mut pod.metadata;
    let name = meta.name.as_deref().unwrap_or_default();
    meta.name = Some(format!("{name}-{}", node.to_ascii_lowercase()));
    if meta.namespace.as_deref().is_none_or(str::is_empty) {
        meta.namespace = Some("default".to_string());
    }
    meta.uid = Some(uid.clone());
    meta.generation = Some(1);
    let second = Timestamp::from_second(now.as_second());
    meta.creation_timestamp = Some(Time(second.unwrap_or(now)));
    let annotations = meta.annotations.get_or_insert_default();
    annotations.remove(MIRROR);
    for (key, text) in [
        (HASH, uid),
        (SOURCE, "file".to_string()),
        (SEEN, now.to_string()),
    ] {
        annotations.insert(key.to_string(), text);
    }
    pod.spec.get_or_insert_default().node_name = Some(node.to_string());
    pod.status = Some(PodStatus {
        phase: Some("Pending".to_string()),
        ..PodStatus::default()
    });
}

/// What the API is to have of a static pod.
pub fn mirror(pod: &Pod, node_uid: &str) -> Value {
    let mut mirror = json!({"apiVersion": "v1", "kind": "Pod", "spec": pod.spec});
    let meta = &pod.metadata;
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.insert(MIRROR.to_string(), hash(&annotations).to_string());
    let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
    mirror["metadata"] = json!({
        "name": meta.name, "namespace": meta.namespace, "labels": meta.labels,
        "annotations": annotations,
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node,
            "uid": node_uid, "controller": true}],
    });
    mirror
}

/// Whether the pod comes from a file of this node.
pub fn is_static(pod: &Pod) -> bool {
    annotation(pod, SOURCE).is_some_and(|source| source == "file") && !is_mirror(pod)
}

/// Whether the pod only shows one that a node runs by itself.
pub fn is_mirror(pod: &Pod) -> bool {
    annotation(pod, MIRROR).is_some()
}

/// Whether a mirror pod shows this version of a static pod.
pub fn shows(mirror: &Pod, pod: &Pod) -> bool {
    annotation(mirror, MIRROR) == annotation(pod, HASH)
}

fn annotation<'a>(pod: &'a Pod, key: &str) -> Option<&'a str> {
    let annotations = pod.metadata.annotations.as_ref()?;
    annotations.get(key).map(String::as_str)
}

fn hash(annotations: &BTreeMap<String, String>) -> &str {
    annotations.get(HASH).map_or("", String::as_str)
}

/// The uid follows from node, file and content: another content is another pod.
fn uid(node: &str, file: &str, value: &Value) -> String {
    let text = format!("{node}\n{file}\n{value}");
    let half = |seed: u8| {
        let bytes = std::iter::once(seed).chain(text.bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    format!("{:016x}{:016x}", half(1), half(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {a: b}}\n\
        spec: {containers: [{name: web, image: demo}]}\n";

    fn of(text: &str) -> Result<Pod, StaticError> {
        let now = "2026-01-01T00:00:00.5Z".parse().expect("a time");
        read("/etc/pods/web.yaml", text.as_bytes(), "node1", now)
    }

    #[test]
    fn a_file_is_a_pod_of_its_node_under_a_name_of_its_own() {
        let pod = of(PLAIN).expect("a pod");
        assert_eq!(pod.metadata.name.as_deref(), Some("web-node1"));
        assert_eq!(pod.metadata.namespace.as_deref(), Some("default"));
        let spec = pod.spec.as_ref().expect("a spec");
        assert_eq!(spec.node_name.as_deref(), Some("node1"));
        assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
        assert!(is_static(&pod) && !is_mirror(&pod));
        let again = of(PLAIN).expect("a pod");
        assert_eq!(pod.metadata.uid, again.metadata.uid);
        let other = of(&PLAIN.replace("demo", "other")).expect("a pod");
        assert_ne!(pod.metadata.uid, other.metadata.uid);
        let mirror: Pod = serde_json::from_value(mirror(&pod, "n1")).expect("a pod");
        assert!(is_mirror(&mirror) && !is_static(&mirror));
        assert!(shows(&mirror, &pod) && !shows(&mirror, &other));
        assert_eq!(mirror.metadata.uid, None);
    }

    #[test]
    fn files_that_are_no_static_pods_are_refused_with_their_reason() {
        let spec = |fields: &str| {
            let own = "spec: {containers: [{name: web, image: demo}]";
            PLAIN.replace(own, &format!("{own}, {fields}"))
        };
        let env = |source: &str| {
            let own = "image: demo";
            PLAIN.replace(
                own,
                &format!("{own}, env: [{{name: A, valueFrom: {source}}}]"),
            )
        };
        for (text, why) in [
            ("kind: Pod".to_string(), "apiVersion"),
            (PLAIN.replace("kind: Pod", "kind: Service"), "one Pod of v1"),
            (format!("{PLAIN}---\n{PLAIN}"), "exactly one object"),
            (
                PLAIN.replace("image: demo", "imag: demo"),
                "imag: unknown field",
            ),
            (PLAIN.replace(", image: demo", ""), "image: Required value"),
            (
                PLAIN.replace("{name: web, labels: {a: b}}", "web"),
                "metadata",
            ),
            (
                PLAIN.replace("labels: {a: b}", "annotations: text"),
                "metadata.annotations",
            ),
            (
                PLAIN.replace("{containers: [{name: web, image: demo}]}", "[]"),
                "spec",
            ),
            (
                PLAIN.replace("{containers: [{name: web, image: demo}]}", ""),
                "spec.containers: Required value",
            ),
            (spec("serviceAccountName: a"), "reference serviceaccounts"),
            (spec("imagePullSecrets: [{name: a}]"), "reference secrets"),
            (
                spec("volumes: [{name: v, configMap: {name: a}}]"),
                "reference configmaps",
            ),
            (
                spec("volumes: [{name: v, secret: {secretName: a}}]"),
                "reference secrets",
            ),
            (
                spec(
                    "volumes: [{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]",
                ),
                "reference serviceaccounts",
            ),
            (
                env("{configMapKeyRef: {name: a, key: k}}"),
                "reference configmaps",
            ),
            (
                env("{secretKeyRef: {name: a, key: k}}"),
                "reference secrets",
            ),
        ] {
            let error = of(&text).expect_err(why).to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
