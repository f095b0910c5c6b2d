use super::*;

#[test]
fn volumes_have_one_source_each() {
    let volume = |volume: Value| json!({"volumes": [volume]});
    let items = |item: Value| json!({"volumes": [{"name": "v", "configMap": {"name": "c", "items": [item]}}]});
    pods([
        (
            volume(json!({"name": ""})),
            "spec.volumes[0].name: Required value",
        ),
        (
            volume(json!({"name": "A"})),
            "spec.volumes[0].name: Invalid value: \"A\": a lowercase RFC 1123 label",
        ),
        (
            json!({"volumes": [{"name": "v"}, {"name": "v"}]}),
            "spec.volumes[1].name: Duplicate value: \"v\"",
        ),
        (
            volume(json!({"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}})),
            "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
        ),
        (
            volume(json!({"name": "v", "nfs": {"server": "s", "path": "/"}, "emptyDir": {}})),
            "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type",
        ),
        (
            volume(json!({"name": "v", "emptyDir": {"medium": "Tape"}})),
            "spec.volumes[0].emptyDir.medium: Unsupported value: \"Tape\": supported values: \"\", \"HugePages\", \"HugePages-2Mi\", \"HugePages-1Gi\", \"Memory\"",
        ),
        (
            volume(json!({"name": "v", "emptyDir": {"sizeLimit": "-1"}})),
            "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (
            volume(json!({"name": "v", "emptyDir": {"sizeLimit": "big"}})),
            "spec.volumes[0].emptyDir.sizeLimit: Invalid value: \"big\": quantities must match",
        ),
        (
            volume(json!({"name": "v", "hostPath": {"path": ""}})),
            "spec.volumes[0].hostPath.path: Required value",
        ),
        (
            volume(json!({"name": "v", "hostPath": {"path": "/a/../b"}})),
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            volume(json!({"name": "v", "hostPath": {"path": "/", "type": "Pipe"}})),
            "spec.volumes[0].hostPath.type: Unsupported value: \"Pipe\": supported values: \"\", \"BlockDevice\"",
        ),
        (
            volume(json!({"name": "v", "secret": {}})),
            "spec.volumes[0].secret.secretName: Required value",
        ),
        (
            volume(json!({"name": "v", "secret": {"secretName": "s", "defaultMode": 512}})),
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            volume(json!({"name": "v", "configMap": {}})),
            "spec.volumes[0].configMap.name: Required value",
        ),
        (
            items(json!({"key": "", "path": "p"})),
            "spec.volumes[0].configMap.items[0].key: Required value",
        ),
        (
            items(json!({"key": "k", "path": ""})),
            "spec.volumes[0].configMap.items[0].path: Required value",
        ),
        (
            items(json!({"key": "k", "path": "/p"})),
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"/p\": must be a relative path",
        ),
        (
            items(json!({"key": "k", "path": "a/.."})),
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"a/..\": must not contain '..'",
        ),
        (
            items(json!({"key": "k", "path": "..p"})),
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"..p\": must not start with '..'",
        ),
        (
            items(json!({"key": "k", "path": "p", "mode": -1})),
            "spec.volumes[0].configMap.items[0].mode: Invalid value: -1: must be a number between",
        ),
    ]);
}

#[test]
fn mounts_are_of_volumes_that_exist() {
    let mounts = |mounts: Value| json!({"volumes": [{"name": "v"}], "containers": [{"name": "a", "image": "i", "volumeMounts": mounts}]});
    let mount = |fields: Value| {
        let mut mount = json!({"name": "v", "mountPath": "/m"});
        merge(&mut mount, fields);
        mounts(json!([mount]))
    };
    let path = "spec.containers[0].volumeMounts";
    for (spec, expected) in [
        (mount(json!({"name": ""})), "[0].name: Required value"),
        (mount(json!({"name": "w"})), "[0].name: Not found: \"w\""),
        (
            mount(json!({"mountPath": ""})),
            "[0].mountPath: Required value",
        ),
        (
            mounts(json!([{"name": "v", "mountPath": "/m"}, {"name": "v", "mountPath": "/m"}])),
            "[1].mountPath: Invalid value: \"/m\": must be unique",
        ),
        (
            mount(json!({"subPath": "/a"})),
            ".subPath: Invalid value: \"/a\": must be a relative path",
        ),
        (
            mount(json!({"subPath": "a/../../b"})),
            ".subPath: Invalid value: \"a/../../b\": must not contain '..'",
        ),
        (
            mount(json!({"mountPropagation": "Both"})),
            ".mountPropagation: Unsupported value: \"Both\": supported values: \"Bidirectional\", \"HostToContainer\", \"None\"",
        ),
        (
            mount(json!({"mountPropagation": "Bidirectional"})),
            ".mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
        (
            mount(json!({"recursiveReadOnly": "Yes"})),
            ".recursiveReadOnly: Unsupported value: \"Yes\"",
        ),
        (
            mount(json!({"recursiveReadOnly": "IfPossible"})),
            ".recursiveReadOnly: Forbidden: may only be specified when readOnly is true",
        ),
        (
            mount(
                json!({"readOnly": true, "recursiveReadOnly": "IfPossible", "mountPropagation": "HostToContainer"}),
            ),
            ".recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified",
        ),
    ] {
        says(&pod(spec), &format!("{path}{expected}"));
    }
}

#[test]
fn policies_names_and_resolution_are_checked() {
    let dns = |config: Value| json!({"dnsConfig": config});
    let many: Vec<String> = (0..33).map(|i| format!("d{i}")).collect();
    pods([
        (
            json!({"restartPolicy": "Maybe"}),
            "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            json!({"dnsPolicy": "Own"}),
            "spec.dnsPolicy: Unsupported value: \"Own\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
        ),
        (
            json!({"dnsPolicy": "None"}),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            json!({"dnsPolicy": "None", "dnsConfig": {}}),
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            dns(json!({"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]})),
            "must not have more than 3 nameservers",
        ),
        (
            dns(json!({"nameservers": ["one"]})),
            "spec.dnsConfig.nameservers[0]: Invalid value: \"one\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            dns(json!({"searches": many})),
            "must not have more than 32 search paths",
        ),
        (
            dns(json!({"searches": ["a".repeat(2049)]})),
            "must not have more than 2048 characters (including spaces) in the search list",
        ),
        (
            dns(json!({"searches": ["A"]})),
            "spec.dnsConfig.searches[0]: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_'",
        ),
        (
            dns(json!({"options": [{"value": "1"}]})),
            "spec.dnsConfig.options[0]: Required value: must not be empty",
        ),
        (
            json!({"hostAliases": [{"ip": "x"}]}),
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address",
        ),
        (
            json!({"hostAliases": [{"ip": "::1", "hostnames": ["a", "A"]}]}),
            "spec.hostAliases[0].hostnames[1]: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
        ),
        (
            json!({"hostname": "a.b"}),
            "spec.hostname: Invalid value: \"a.b\": must not contain dots",
        ),
        (
            json!({"subdomain": "A"}),
            "spec.subdomain: Invalid value: \"A\": a lowercase RFC 1123 label",
        ),
        (
            json!({"serviceAccountName": "A"}),
            "spec.serviceAccountName: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
        ),
        (
            json!({"activeDeadlineSeconds": 0}),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
    ]);
}

#[test]
fn placement_is_well_formed() {
    let required = |terms: Value| json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}});
    let expression = |fields: Value| required(json!([{"matchExpressions": [fields]}]));
    let field = |fields: Value| required(json!([{"matchFields": [fields]}]));
    let preferred = |weight: i32| json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "preference": {}}]}}});
    pods([
        (
            json!({"nodeName": "A"}),
            "spec.nodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
        ),
        (
            json!({"nodeSelector": {"a b": "c"}}),
            "spec.nodeSelector: Invalid value: \"a b\": name part must consist of",
        ),
        (
            json!({"preemptionPolicy": "Always"}),
            "spec.preemptionPolicy: Unsupported value: \"Always\": supported values: \"PreemptLowerPriority\", \"Never\"",
        ),
        (
            required(json!([])),
            "nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            expression(json!({"key": "a", "operator": "In"})),
            "nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
            "values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            expression(json!({"key": "a", "operator": "Gt"})),
            "values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            expression(json!({"key": "a", "operator": "Is"})),
            "operator: Invalid value: \"Is\": not a valid selector operator",
        ),
        (
            expression(json!({"key": "-", "operator": "Exists"})),
            "key: Invalid value: \"-\": name part must consist of",
        ),
        (
            expression(json!({"key": "a", "operator": "In", "values": ["b c"]})),
            "values[0]: Invalid value: \"b c\": a valid label must be",
        ),
        (
            field(json!({"key": "metadata.name", "operator": "In", "values": ["a", "b"]})),
            "matchFields[0].values: Required value: must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
        ),
        (
            field(json!({"key": "metadata.uid", "operator": "In", "values": ["a"]})),
            "key: Invalid value: \"metadata.uid\": not a valid field selector key",
        ),
        (
            field(json!({"key": "metadata.name", "operator": "Exists"})),
            "operator: Invalid value: \"Exists\": not a valid selector operator",
        ),
        (
            field(json!({"key": "metadata.name", "operator": "In", "values": ["A"]})),
            "values[0]: Invalid value: \"A\": a lowercase RFC 1123 subdomain",
        ),
        (
            preferred(0),
            "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
        ),
    ]);
}

#[test]
fn tolerations_make_sense() {
    let toleration = |fields: Value| json!({"tolerations": [fields]});
    pods([
        (
            toleration(json!({"key": "a b"})),
            "spec.tolerations[0].key: Invalid value: \"a b\": name part must consist of",
        ),
        (
            toleration(json!({"operator": "Equal"})),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ),
        (
            toleration(json!({"key": "a", "tolerationSeconds": 1})),
            "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            toleration(json!({"key": "a", "value": "b c"})),
            "spec.tolerations[0].operator: Invalid value: \"b c\": a valid label must be",
        ),
        (
            toleration(json!({"key": "a", "operator": "Exists", "value": "b"})),
            "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
        ),
        (
            toleration(json!({"key": "a", "operator": "Like"})),
            "spec.tolerations[0].operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\"",
        ),
        (
            toleration(json!({"key": "a", "effect": "Never"})),
            "spec.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
    ]);
}

#[test]
fn annotations_that_mean_something_are_checked() {
    let annotated = |key: &str, value: &str| {
        let mut pod = pod(json!({}));
        pod.metadata.annotations = Some([(key.to_string(), value.to_string())].into());
        pod
    };
    let cost = "controller.kubernetes.io/pod-deletion-cost";
    for value in ["x", "+1", "01", "2147483648"] {
        let expected = format!(
            "metadata.annotations[{cost}]: Invalid value: {value:?}: must be a 32bit integer"
        );
        says(&annotated(cost, value), &expected);
    }
    assert_eq!(causes(&annotated(cost, "-5")), Vec::<String>::new());
    says(
        &annotated("kubernetes.io/config.mirror", "x"),
        "must set spec.nodeName if mirror pod annotation is set",
    );
    let profile = "container.apparmor.security.beta.kubernetes.io/a";
    says(
        &annotated(profile, "own"),
        "invalid AppArmor profile name: \"own\"",
    );
    says(
        &annotated(&format!("{profile}b"), "unconfined"),
        "container not found",
    );
    let mut other = annotated(profile, "unconfined");
    let containers = other.spec.as_mut().map(|s| &mut s.containers[0]);
    containers.expect("a container").security_context =
        serde_json::from_value(json!({"appArmorProfile": {"type": "RuntimeDefault"}}))
            .expect("a context");
    says(
        &other,
        "Forbidden: apparmor type in annotation and field must match",
    );
    for value in ["unconfined", "runtime/default", "localhost/p"] {
        assert_eq!(causes(&annotated(profile, value)), Vec::<String>::new());
    }
    let mut asks = annotated(profile, "localhost/p");
    PodRules::prepare_create(&mut asks);
    let field = serde_json::to_value(&asks).expect("a pod")["spec"]["containers"][0]
        ["securityContext"]["appArmorProfile"]
        .clone();
    assert_eq!(field, json!({"type": "Localhost", "localhostProfile": "p"}));
}
