use super::*;

fn spec(pod: &Pod) -> Value {
    serde_json::to_value(&pod.spec).expect("a spec")
}

#[test]
fn a_minimal_pod_gets_every_default() {
    assert_eq!(
        spec(&pod(json!({}))),
        json!({
            "containers": [{
                "name": "a", "image": "i", "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        })
    );
}

#[test]
fn the_pull_policy_follows_from_the_tag() {
    let cases = [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1", "IfNotPresent"),
        ("localhost:5000/busybox", "Always"),
        ("localhost:5000/busybox:1", "IfNotPresent"),
        ("busybox@sha256:00", "IfNotPresent"),
        ("busybox:latest@sha256:00", "Always"),
    ];
    for (image, policy) in cases {
        let spec = spec(&with_container(json!({"image": image})));
        assert_eq!(spec["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn parts_of_containers_get_theirs() {
    let spec = spec(&with_container(json!({
        "ports": [{"containerPort": 80}],
        "env": [
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ],
        "resources": {"limits": {"cpu": "0.5", "memory": "1024Mi"}, "requests": {"cpu": "100.5m"}},
    })));
    let container = &spec["containers"][0];
    assert_eq!(
        container["ports"][0],
        json!({"containerPort": 80, "protocol": "TCP"})
    );
    assert_eq!(
        container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"],
        "v1"
    );
    assert_eq!(
        container["env"][1]["valueFrom"]["resourceFieldRef"]["divisor"],
        "0"
    );
    assert_eq!(
        container["resources"],
        json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "101m", "memory": "1Gi"}})
    );
}

#[test]
fn volumes_get_theirs() {
    let spec = spec(&pod(json!({"volumes": [
        {"name": "e"}, {"name": "h", "hostPath": {"path": "/"}},
        {"name": "c", "configMap": {"name": "c"}}, {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}},
    ]})));
    assert_eq!(
        spec["volumes"],
        json!([
            {"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": "/", "type": ""}},
            {"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
            {"name": "s", "secret": {"secretName": "s", "defaultMode": 256}},
        ])
    );
}

#[test]
fn ports_in_the_hosts_network_are_the_hosts() {
    let container = json!([{"name": "a", "image": "i", "ports": [{"containerPort": 80}]}]);
    let spec = spec(&pod(json!({"hostNetwork": true, "containers": container})));
    assert_eq!(spec["containers"][0]["ports"][0]["hostPort"], 80);
}

#[test]
fn the_old_name_of_the_service_account_is_the_new_one() {
    for field in ["serviceAccount", "serviceAccountName"] {
        let spec = spec(&pod(json!({field: "robot"})));
        assert_eq!(
            (&spec["serviceAccount"], &spec["serviceAccountName"]),
            (&json!("robot"), &json!("robot"))
        );
    }
}

#[test]
fn defaulting_twice_changes_nothing() {
    let mut pod = with_container(
        json!({"resources": {"limits": {"cpu": "0.5", "memory": "1.5Gi"}}, "ports": [{"containerPort": 1}]}),
    );
    let once = pod.clone();
    PodRules::default(&mut pod);
    assert_eq!(pod, once);
}

#[test]
fn admission_adds_account_priority_and_tolerations() {
    let mut urgent = pod(json!({"priority": 5}));
    admit_defaults(&mut urgent);
    assert_eq!(urgent.spec.and_then(|s| s.preemption_policy), None);
    let mut pod = pod(
        json!({"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]}),
    );
    admit_defaults(&mut pod);
    let once = pod.clone();
    admit_defaults(&mut pod);
    assert_eq!(pod, once);
    let spec = spec(&pod);
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(
        (&spec["priority"], &spec["preemptionPolicy"]),
        (&json!(0), &json!("PreemptLowerPriority"))
    );
    assert_eq!(spec["tolerations"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        spec["tolerations"][1],
        json!({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    );
    assert_eq!(causes(&pod), Vec::<String>::new());
}

#[test]
fn who_tolerates_everything_gets_no_tolerations() {
    let mut pod = pod(json!({"tolerations": [{"operator": "Exists"}]}));
    admit_defaults(&mut pod);
    assert_eq!(spec(&pod)["tolerations"].as_array().map(Vec::len), Some(1));
}
