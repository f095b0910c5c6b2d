//! The `ephemeralcontainers` subresource: containers are added, and never changed or removed.

use crate::status::Cause;
use k8s_openapi::api::core::v1::Pod;

/// Everything that a write of the ephemeral containers may not do.
pub fn validate_ephemeral_update(new: &Pod, old: &Pod) -> Vec<Cause> {
    let list = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        let added = spec.and_then(|s| s.ephemeral_containers.clone());
        added.unwrap_or_default()
    };
    let (new, mut causes) = (list(new), Vec::new());
    for had in list(old) {
        let what = match new.iter().find(|c| c.name == had.name) {
            Some(now) if *now == had => continue,
            Some(_) => "changed",
            None => "removed",
        };
        let name = &had.name;
        let why = format!("existing ephemeral containers {name:?} may not be {what}\n");
        causes.push(Cause::forbidden("spec.ephemeralContainers", &why));
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(added: Value) -> Pod {
        let spec = json!({"containers": [], "ephemeralContainers": added});
        serde_json::from_value(json!({"spec": spec})).expect("a pod")
    }

    #[test]
    fn ephemeral_containers_are_only_added() {
        let one = json!({"name": "a", "image": "i"});
        let old = pod(json!([one]));
        let more = pod(json!([one, {"name": "b", "image": "i"}]));
        assert_eq!(validate_ephemeral_update(&more, &old), []);
        for (changed, word) in [
            (json!([{"name": "a", "image": "j"}]), "changed"),
            (json!([]), "removed"),
        ] {
            let causes = validate_ephemeral_update(&pod(changed), &old);
            let text = format!("existing ephemeral containers \"a\" may not be {word}");
            assert!(causes[0].message.contains(&text), "{causes:?}");
        }
    }
}
