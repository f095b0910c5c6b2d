use super::*;
use serde_json::json;

fn pod(spec: Value) -> Pod {
    let mut whole = json!({"containers": [{"name": "a", "image": "i:1"}], "nodeName": "n"});
    for (field, value) in spec.as_object().expect("fields") {
        whole[field] = value.clone();
    }
    let mut pod = serde_json::from_value(json!({"spec": whole})).expect("a pod");
    super::super::defaults::default_pod(&mut pod);
    pod
}

fn causes(old: Value, new: Value) -> Vec<String> {
    let causes = validate_update(&pod(new), &pod(old));
    causes
        .iter()
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect()
}

fn toleration(seconds: i64) -> Value {
    json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
}

#[test]
fn what_may_change_changes() {
    let other_image = json!({"containers": [{"name": "a", "image": "i:2"}]});
    assert_eq!(causes(json!({}), other_image), Vec::<String>::new());
    let added = json!({"tolerations": [toleration(1), {"key": "l", "operator": "Exists"}]});
    assert_eq!(
        causes(json!({"tolerations": [toleration(1)]}), added),
        Vec::<String>::new()
    );
    let longer = json!({"tolerations": [toleration(2)]});
    assert_eq!(
        causes(json!({"tolerations": [toleration(1)]}), longer),
        Vec::<String>::new()
    );
    let grace = |s: i64| json!({"terminationGracePeriodSeconds": s});
    assert_eq!(causes(grace(-1), grace(1)), Vec::<String>::new());
    assert_eq!(
        causes(json!({}), json!({"hostAliases": []})),
        Vec::<String>::new()
    );
    let cpu = |cpu: &str| json!({"containers": [{"name": "a", "image": "i", "imagePullPolicy": "Always", "resources": {"limits": {"cpu": cpu}}}]});
    assert_eq!(causes(cpu("1"), cpu("1000m")), Vec::<String>::new());
}

#[test]
fn nothing_else_changes() {
    let found = causes(json!({}), json!({"nodeName": "m", "hostname": "h"}));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"), "{found:?}");
    let lines: Vec<&str> = found[0].lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "spec.nodeName: \"n\" -> \"m\"",
            "spec.hostname: <none> -> \"h\""
        ]
    );
    let command = json!({"containers": [{"name": "a", "image": "i:1", "command": ["x"]}]});
    assert!(
        causes(json!({}), command)[0].ends_with("spec.containers[0].command: <none> -> [\"x\"]")
    );
    let grace = |s: i64| json!({"terminationGracePeriodSeconds": s});
    assert!(causes(grace(30), grace(1))[0].contains("spec.terminationGracePeriodSeconds: 30 -> 1"));
    let two = json!({"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "i"}]});
    assert_eq!(
        causes(json!({}), two),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
    let removed = causes(json!({"tolerations": [toleration(1)]}), json!({}));
    assert_eq!(
        removed,
        [
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
        ]
    );
}

#[test]
fn the_mirror_annotation_stays() {
    let mut mirror = Pod::default();
    mirror.metadata.annotations = Some([(MIRROR.to_string(), "x".to_string())].into());
    let added = validate_update(&mirror, &Pod::default());
    assert_eq!(
        added[0].message,
        "Forbidden: may not add mirror pod annotation"
    );
    let removed = validate_update(&Pod::default(), &mirror);
    assert_eq!(
        removed[0].field,
        "metadata.annotations[kubernetes.io/config.mirror]"
    );
}
