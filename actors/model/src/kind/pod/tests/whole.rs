//! What a pod says of its resources as a whole.

use super::*;

fn with(resources: serde_json::Value, container: serde_json::Value) -> Pod {
    pod(
        json!({"resources": resources, "containers": [{"name": "a", "image": "i:1",
        "terminationMessagePolicy": "File", "imagePullPolicy": "Always",
        "resources": container}]}),
    )
}

#[test]
fn a_pod_covers_its_containers() {
    let asks = json!({"requests": {"cpu": "2"}, "limits": {"memory": "2Gi"}});
    says(
        &with(json!({"requests": {"cpu": "1"}}), asks.clone()),
        "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to \
         aggregate container requests of 2",
    );
    says(
        &with(json!({"limits": {"memory": "1Gi"}}), asks),
        "spec.containers[0].resources.limits[memory]: Invalid value: \"2Gi\": must be less than \
         or equal to pod limits of 1Gi",
    );
    says(
        &with(json!({"limits": {"ephemeral-storage": "1Gi"}}), json!({})),
        "spec.resources.limits[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": \
         supported values: \"cpu\", \"memory\"",
    );
}
