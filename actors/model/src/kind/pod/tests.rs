use super::*;
use crate::kind;
use serde_json::{Value, json};

mod containers;
mod defaults;
mod life;
mod refusals;
mod rules;
mod survival;
mod whole;

/// A pod with the fields of `spec` over a minimal one, as `default` leaves it.
fn pod(spec: Value) -> Pod {
    let mut whole = json!({"containers": [{"name": "a", "image": "i"}]});
    merge(&mut whole, spec);
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default"}, "spec": whole,
    }))
    .expect("a pod");
    PodRules::default(&mut pod);
    pod
}

/// The same, with the fields of `container` in its container.
fn with_container(container: Value) -> Pod {
    let mut whole = json!({"name": "a", "image": "i"});
    merge(&mut whole, container);
    pod(json!({"containers": [whole]}))
}

fn merge(into: &mut Value, fields: Value) {
    for (field, value) in fields.as_object().expect("fields") {
        into[field] = value.clone();
    }
}

fn causes(pod: &Pod) -> Vec<String> {
    let causes = PodRules::validate(pod);
    causes
        .iter()
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect()
}

/// Fails unless a cause of the pod contains the text.
fn says(pod: &Pod, expected: &str) {
    let found = causes(pod);
    assert!(
        found.iter().any(|f| f.contains(expected)),
        "expected {expected:?}, found {found:#?}"
    );
}

/// Every case is a pod's spec over a minimal one, and what is said of it.
fn pods(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (spec, expected) in cases {
        says(&pod(spec), expected);
    }
}

/// Every case is a container over a minimal one, and what is said of it.
fn containers(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (container, expected) in cases {
        says(
            &with_container(container),
            &format!("spec.containers[0].{expected}"),
        );
    }
}

#[test]
fn a_pod_is_gone_at_once_when_nothing_of_it_runs() {
    let mut pod = pod(json!({"terminationGracePeriodSeconds": 12}));
    assert_eq!(PodRules::grace_period_s(&pod, Some(5)), 0);
    pod.spec.as_mut().expect("a spec").node_name = Some("n".to_string());
    assert_eq!(PodRules::grace_period_s(&pod, None), 12);
    assert_eq!(PodRules::grace_period_s(&pod, Some(5)), 5);
    assert_eq!(PodRules::grace_period_s(&pod, Some(0)), 0);
    assert_eq!(PodRules::grace_period_s(&pod, Some(-3)), 1);
    pod.spec
        .as_mut()
        .expect("a spec")
        .termination_grace_period_seconds = None;
    assert_eq!(PodRules::grace_period_s(&pod, None), 30);
    pod.status.get_or_insert_default().phase = Some("Failed".to_string());
    assert_eq!(PodRules::grace_period_s(&pod, None), 0);
}

#[test]
fn field_selectors_find_what_they_name() {
    let mut pod = pod(json!({"nodeName": "n", "hostNetwork": true}));
    pod.status.get_or_insert_default().phase = Some("Running".to_string());
    let fields = PodRules::fields(&pod);
    let names: Vec<&str> = fields.iter().map(|f| f.0).collect();
    assert_eq!(names, PodRules::FIELDS);
    let value = |name: &str| fields.iter().find(|f| f.0 == name).map(|f| &*f.1);
    assert_eq!(value("spec.nodeName"), Some("n"));
    assert_eq!(value("spec.hostNetwork"), Some("true"));
    assert_eq!(value("status.phase"), Some("Running"));
    assert_eq!(value("status.podIP"), Some(""));
}

#[test]
fn the_registry_knows_pods() {
    let kind = kind::by_name("po").expect("pods");
    let decoded = kind.decode(
        json!({"metadata": {"name": "A", "namespace": "default"}, "spec": {"containers": []}}),
    );
    let mut object = decoded
        .map(|d| d.object)
        .map_err(|c| c.message)
        .expect("a pod");
    object.default();
    let fields: Vec<String> = object.validate().into_iter().map(|c| c.field).collect();
    assert_eq!(fields, ["metadata.name", "spec.containers"]);
    assert_eq!(object.row(Timestamp::UNIX_EPOCH).len(), kind.columns.len());
}

#[test]
fn generated_names_may_end_in_a_dash() {
    let kind = kind::by_name("pods").expect("pods");
    let fields = |meta: Value| -> Vec<String> {
        let value =
            json!({"metadata": meta, "spec": {"containers": [{"name": "a", "image": "i"}]}});
        let decoded = kind.decode(value).map_err(|c| c.message).expect("a pod");
        let mut object = decoded.object;
        object.default();
        object.validate().into_iter().map(|c| c.field).collect()
    };
    assert_eq!(
        fields(json!({"generateName": "web-", "name": "web-x", "namespace": "d"})),
        Vec::<String>::new()
    );
    assert_eq!(
        fields(json!({"generateName": "Web-", "name": "web-x", "namespace": "d"})),
        ["metadata.generateName"]
    );
    assert_eq!(
        fields(json!({"generateName": "web-", "namespace": "d"})),
        ["metadata.name"]
    );
}

#[test]
fn templates_are_pods_with_other_paths() {
    let mut template = serde_json::from_value(json!({
        "metadata": {"labels": {"a b": "c"}},
        "spec": {"hostNetwork": true, "containers": [{"name": "A", "image": " i", "ports": [{"containerPort": 80}]}]},
    }))
    .expect("a template");
    default_template(&mut template);
    let mut causes = Vec::new();
    validate_template(&template, "spec.template", &mut causes);
    let fields: Vec<&str> = causes.iter().map(|c| &*c.field).collect();
    assert_eq!(
        fields,
        [
            "spec.template.labels",
            "spec.template.spec.containers[0].name"
        ]
    );
}
