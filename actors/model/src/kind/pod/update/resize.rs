//! The `resize` subresource: processor and memory of containers change, and nothing else
//! (Kubernetes, "Resize CPU and Memory Resources assigned to Containers").

use super::super::super::path::Path;
use super::super::resources::qos;
use super::MIRROR;
use crate::status::Cause;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

type Amounts = Option<BTreeMap<String, Quantity>>;

const RESIZABLE: &[&str] = &["cpu", "memory"];

/// Everything that a resize may not do.
pub fn validate_resize(new: &Pod, old: &Pod) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mirror = old.metadata.annotations.as_ref();
    if mirror.is_some_and(|a| a.contains_key(MIRROR)) {
        return vec![Cause::forbidden(
            "metadata",
            "static pods cannot be resized",
        )];
    }
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else {
        return causes;
    };
    if qos(new) != qos(old) {
        let why = "Pod QOS Class may not change as a result of resizing";
        causes.push(Cause::invalid("spec", qos(new).as_str(), why));
    }
    if new.resources != old.resources {
        let why = "the resources of the pod as a whole cannot be resized by this version of Kabuki";
        causes.push(Cause::forbidden("spec.resources", why));
    }
    let path = Path::Root("spec");
    let list = path.child("containers");
    containers(&new.containers, &old.containers, &list, &mut causes);
    let none = Vec::new();
    let init = |spec: &PodSpec| spec.init_containers.clone().unwrap_or(none.clone());
    let list = path.child("initContainers");
    containers(&init(new), &init(old), &list, &mut causes);
    causes
}

fn containers(new: &[Container], old: &[Container], path: &Path, causes: &mut Vec<Cause>) {
    let same_names = new.iter().map(|c| &c.name).eq(old.iter().map(|c| &c.name));
    if !same_names {
        let list = path.to_string();
        let list = list.rsplit('.').next().unwrap_or_default();
        let why = format!("{list} may not be added or removed on resize");
        return causes.push(Cause::forbidden("spec", &why));
    }
    for (index, (new, old)) in new.iter().zip(old).enumerate() {
        let path = path.index(index);
        if new.resize_policy != old.resize_policy {
            let why = "only cpu and memory resources are mutable";
            causes.push(Cause::forbidden(path.child("resizePolicy"), why));
        }
        let (was, now) = (resources(old), resources(new));
        if was == now {
            continue;
        }
        let path = path.child("resources");
        let is_init = path.to_string().starts_with("spec.initContainers");
        if is_init && old.restart_policy.as_deref() != Some("Always") {
            let why = "only cpu and memory resources for sidecar containers are mutable";
            causes.push(Cause::forbidden(path, why));
            continue;
        }
        bounds(&now.requests, &was.requests, "requests", &path, causes);
        bounds(&now.limits, &was.limits, "limits", &path, causes);
        if now.claims != was.claims {
            let why = "only cpu and memory resources are mutable";
            causes.push(Cause::forbidden(path.child("claims"), why));
        }
    }
}

fn resources(container: &Container) -> ResourceRequirements {
    container.resources.clone().unwrap_or_default()
}

/// What is there stays there, and only processor and memory get other values.
fn bounds(now: &Amounts, was: &Amounts, list: &str, path: &Path, causes: &mut Vec<Cause>) {
    let amount = |amounts: &Amounts, name: &str| amounts.as_ref()?.get(name).cloned();
    let names = now.iter().chain(was).flat_map(BTreeMap::keys);
    let others = names.filter(|n| !RESIZABLE.contains(&n.as_str()));
    for name in others {
        if !equal(amount(now, name), amount(was, name)) {
            let why = "only cpu and memory resources are mutable";
            let list = path.child(list);
            let cause = Cause::forbidden(list.key(name), why);
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
    }
    let gone = |name: &&&str| amount(was, name).is_some() && amount(now, name).is_none();
    if RESIZABLE.iter().find(gone).is_some() {
        let why = format!("resource {list} cannot be removed");
        causes.push(Cause::forbidden(path, &why));
    }
}

fn equal(a: Option<Quantity>, b: Option<Quantity>) -> bool {
    let read = |q: Option<Quantity>| q.and_then(|q| crate::quantity::Quantity::try_from(&q).ok());
    read(a) == read(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(containers: Value, init: Value) -> Pod {
        let spec = json!({"containers": containers, "initContainers": init});
        serde_json::from_value(json!({"spec": spec})).expect("a pod")
    }

    fn one(resources: Value) -> Pod {
        pod(json!([{"name": "a", "resources": resources}]), json!([]))
    }

    fn refusal(new: &Pod, old: &Pod) -> Vec<String> {
        let causes = validate_resize(new, old);
        let lines = causes.iter().map(|c| format!("{}: {}", c.field, c.message));
        lines.collect()
    }

    #[test]
    fn processor_and_memory_may_be_resized_and_nothing_else() {
        let old = one(
            json!({"requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "1"},
            "limits": {"cpu": "2", "example.com/gpu": "1"}}),
        );
        let more = one(
            json!({"requests": {"cpu": "1500m", "memory": "2Gi", "example.com/gpu": "1"},
            "limits": {"cpu": "3", "memory": "3Gi", "example.com/gpu": "1"}}),
        );
        assert_eq!(validate_resize(&more, &old), []);
        for (resources, why) in [
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "2"},
                    "limits": {"cpu": "2", "example.com/gpu": "2"}}),
                "only cpu and memory resources are mutable",
            ),
            (
                json!({"requests": {"cpu": "1", "example.com/gpu": "1"},
                    "limits": {"cpu": "2", "example.com/gpu": "1"}}),
                "resource requests cannot be removed",
            ),
            (
                json!({"requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "1"},
                    "limits": {"example.com/gpu": "1"}}),
                "resource limits cannot be removed",
            ),
        ] {
            let lines = refusal(&one(resources), &old);
            assert!(lines.iter().any(|l| l.contains(why)), "{why}: {lines:?}");
        }
    }

    #[test]
    fn the_class_of_service_outlives_every_resize() {
        let burstable = one(json!({"requests": {"cpu": "1", "memory": "1Gi"}}));
        let full = json!({"cpu": "1", "memory": "1Gi"});
        let guaranteed = one(json!({"requests": full, "limits": full}));
        let why = "Pod QOS Class may not change as a result of resizing";
        assert!(refusal(&guaranteed, &burstable)[0].contains(why));
        let larger = json!({"cpu": "2", "memory": "1Gi"});
        let larger = one(json!({"requests": larger, "limits": larger}));
        assert_eq!(validate_resize(&larger, &guaranteed), []);
    }

    #[test]
    fn containers_come_and_go_with_their_pod_and_init_containers_keep_their_size() {
        let asks = |cpu: &str, policy: Option<&str>| {
            json!({"name": "i", "restartPolicy": policy,
                "resources": {"requests": {"cpu": cpu}}})
        };
        let main = json!([{"name": "a"}]);
        let with = |init: Value| pod(main.clone(), json!([init]));
        let sidecar = Some("Always");
        let (old, new) = (with(asks("1", sidecar)), with(asks("2", sidecar)));
        assert_eq!(validate_resize(&new, &old), []);
        let lines = refusal(&with(asks("2", None)), &with(asks("1", None)));
        assert!(lines[0].contains("for sidecar containers"), "{lines:?}");
        let two = pod(json!([{"name": "a"}, {"name": "b"}]), json!([]));
        let lines = refusal(&two, &pod(main.clone(), json!([])));
        let why = "containers may not be added or removed on resize";
        assert!(lines.iter().any(|l| l.contains(why)), "{lines:?}");
    }

    #[test]
    fn static_pods_and_whole_pods_are_not_resized() {
        let mut mirror = one(json!({"requests": {"cpu": "1"}}));
        let annotations = BTreeMap::from([(MIRROR.to_string(), "x".to_string())]);
        mirror.metadata.annotations = Some(annotations);
        assert!(refusal(&mirror, &mirror)[0].contains("static pods cannot be resized"));
        let mut whole = one(json!({"requests": {"cpu": "1"}}));
        let old = whole.clone();
        let spec = whole.spec.as_mut().expect("a spec");
        let resources = json!({"requests": {"cpu": "2"}});
        spec.resources = serde_json::from_value(resources).expect("resources");
        assert!(refusal(&whole, &old)[0].starts_with("spec.resources: "));
    }
}
