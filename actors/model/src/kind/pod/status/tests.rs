use super::*;
use serde_json::{Value, json};

fn causes(policy: &str, old: Value, new: Value) -> Vec<String> {
    let pod = |status: Value| -> Pod {
        serde_json::from_value(
            json!({"spec": {"containers": [], "restartPolicy": policy}, "status": status}),
        )
        .expect("a pod")
    };
    let causes = validate_status(&pod(new), &pod(old));
    causes
        .iter()
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect()
}

#[test]
fn a_new_pod_is_pending_in_its_class() {
    let mut pod: Pod = serde_json::from_value(json!({
        "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }))
    .expect("a pod");
    prepare_create(&mut pod);
    let spec = pod.spec.expect("a spec");
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    let status = serde_json::to_value(pod.status).expect("a status");
    assert_eq!(
        status,
        json!({"phase": "Pending", "qosClass": "BestEffort"})
    );
}

#[test]
fn what_a_status_may_not_say_is_refused() {
    let state = |state: Value| json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]});
    let ended = |code: i32| state(json!({"terminated": {"exitCode": code}}));
    let running = || state(json!({"running": {}}));
    let resurrected = "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state";
    let cases = [
        (
            "Always",
            json!({"qosClass": "Burstable"}),
            json!({"qosClass": "BestEffort"}),
            "status.qosClass: Invalid value: \"BestEffort\": field is immutable",
        ),
        (
            "Always",
            json!({}),
            json!({"nominatedNodeName": "A"}),
            "status.nominatedNodeName: Invalid value: \"A\": a lowercase",
        ),
        (
            "Always",
            json!({}),
            json!({"conditions": [{"type": "a b", "status": "True"}]}),
            "metadata.conditions[0].Type: Invalid value: \"a b\"",
        ),
        (
            "Always",
            json!({}),
            json!({"podIPs": [{"ip": "x"}]}),
            "status.podIPs[0]: Invalid value: \"x\": must be a valid IP address",
        ),
        (
            "Always",
            json!({}),
            json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}),
            "status.podIPs[1]: Duplicate value: \"10.0.0.1\"",
        ),
        (
            "Always",
            json!({}),
            json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}),
            "may specify no more than one IP for each IP family",
        ),
        ("Never", ended(1), running(), resurrected),
        ("OnFailure", ended(0), running(), resurrected),
    ];
    for (policy, old, new, expected) in cases {
        let found = causes(policy, old, new);
        assert!(
            found
                .iter()
                .any(|f| f.starts_with(expected) || f.ends_with(expected)),
            "{expected}: {found:?}"
        );
    }
    for (policy, old, new) in [
        ("Always", ended(0), running()),
        ("OnFailure", ended(1), running()),
        ("Never", running(), ended(0)),
        (
            "Always",
            json!({"qosClass": "Burstable"}),
            json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}),
        ),
    ] {
        assert_eq!(causes(policy, old, new), Vec::<String>::new());
    }
}
