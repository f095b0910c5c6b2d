use super::*;

#[test]
fn containers_have_names_and_images() {
    pods([
        (json!({"containers": []}), "spec.containers: Required value"),
        (
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
            "spec.containers[1].name: Duplicate value: \"a\"",
        ),
    ]);
    containers([
        (json!({"name": ""}), "name: Required value"),
        (
            json!({"name": "a.b"}),
            "name: Invalid value: \"a.b\": must not contain dots",
        ),
        (
            json!({"name": "A"}),
            "name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of",
        ),
        (
            json!({"name": "a".repeat(64)}),
            "name: Invalid value: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\": must be no more than 63 bytes",
        ),
        (json!({"image": ""}), "image: Required value"),
        (
            json!({"image": " i"}),
            "image: Invalid value: \" i\": must not have leading or trailing whitespace",
        ),
        (
            json!({"imagePullPolicy": "Sometimes"}),
            "imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            json!({"terminationMessagePolicy": "Log"}),
            "terminationMessagePolicy: Unsupported value: \"Log\": supported values: \"File\", \"FallbackToLogsOnError\"",
        ),
    ]);
}

#[test]
fn ports_are_numbers_with_names() {
    let port = |port: Value| json!({"ports": [port]});
    containers([
        (
            port(json!({"containerPort": 0})),
            "ports[0].containerPort: Required value",
        ),
        (
            port(json!({"containerPort": 65536})),
            "ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (
            port(json!({"containerPort": 1, "hostPort": -1})),
            "ports[0].hostPort: Invalid value: -1: must be between",
        ),
        (
            port(json!({"containerPort": 1, "protocol": "tcp"})),
            "ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            port(json!({"containerPort": 1, "name": "a-name-that-is-long"})),
            "ports[0].name: Invalid value: \"a-name-that-is-long\": must be no more than 15 bytes",
        ),
        (
            port(json!({"containerPort": 1, "name": "A"})),
            "ports[0].name: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            port(json!({"containerPort": 1, "name": "80"})),
            "ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)",
        ),
        (
            port(json!({"containerPort": 1, "name": "a--b"})),
            "ports[0].name: Invalid value: \"a--b\": must not contain consecutive hyphens",
        ),
        (
            port(json!({"containerPort": 1, "name": "-a"})),
            "ports[0].name: Invalid value: \"-a\": must not begin or end with a hyphen",
        ),
        (
            json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
            "ports[1].name: Duplicate value: \"a\"",
        ),
    ]);
    let host = |port: Value| json!({"hostNetwork": true, "containers": [{"name": "a", "image": "i", "ports": [port, {"containerPort": 1}]}]});
    pods([
        (
            host(json!({"containerPort": 2, "hostPort": 3})),
            "spec.containers[0].ports[0].hostPort: Invalid value: 3: must match `containerPort` when `hostNetwork` is true",
        ),
        (
            host(json!({"containerPort": 1})),
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//1\"",
        ),
    ]);
}

#[test]
fn variables_have_one_source() {
    let from = |source: Value| json!({"env": [{"name": "A", "valueFrom": source}]});
    let field = |path: &str| from(json!({"fieldRef": {"fieldPath": path}}));
    let resource = |name: &str, divisor: &str| {
        from(json!({"resourceFieldRef": {"resource": name, "divisor": divisor}}))
    };
    containers([
        (
            json!({"env": [{"name": ""}]}),
            "env[0].name: Required value",
        ),
        (
            json!({"env": [{"name": "a=b"}]}),
            "env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
        (
            from(json!({})),
            "env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        ),
        (
            json!({"env": [{"name": "A", "value": "v", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            "env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            from(
                json!({"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "a", "key": "b"}}),
            ),
            "env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time",
        ),
        (
            field(""),
            "env[0].valueFrom.fieldRef.fieldPath: Required value",
        ),
        (
            field("spec.x"),
            "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
        ),
        (
            field("metadata.labels"),
            "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\"",
        ),
        (
            field("metadata.labels['a b']"),
            "env[0].valueFrom.fieldRef: Invalid value: \"a b\": name part must consist of",
        ),
        (
            field("metadata.name['a']"),
            "env[0].valueFrom.fieldRef: Invalid value: \"metadata.name\": does not support subscript",
        ),
        (
            from(json!({"fieldRef": {"apiVersion": "v2", "fieldPath": "metadata.name"}})),
            "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.name\": error converting fieldPath: unsupported pod version: v2",
        ),
        (
            resource("", "1"),
            "env[0].valueFrom.resourceFieldRef.resource: Required value",
        ),
        (
            resource("limits.x", "1"),
            "env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.x\": supported values: \"limits.cpu\"",
        ),
        (
            resource("limits.cpu", "10m"),
            "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
        ),
        (
            resource("requests.memory", "2"),
            "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"requests.memory\": only divisor's values 1, 1k, 1M,",
        ),
        (
            from(json!({"configMapKeyRef": {"name": "C", "key": "k"}})),
            "env[0].valueFrom.configMapKeyRef.name: Invalid value: \"C\": a lowercase RFC 1123 subdomain",
        ),
        (
            from(json!({"configMapKeyRef": {"name": "c", "key": ""}})),
            "env[0].valueFrom.configMapKeyRef.key: Required value",
        ),
        (
            from(json!({"secretKeyRef": {"name": "c", "key": "a/b"}})),
            "env[0].valueFrom.secretKeyRef.key: Invalid value: \"a/b\": a valid config key must consist of",
        ),
        (
            json!({"envFrom": [{}]}),
            "envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`",
        ),
        (
            json!({"envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "a"}}]}),
            "envFrom: Invalid value: \"\": may not have more than one field specified at a time",
        ),
        (
            json!({"envFrom": [{"prefix": "=", "configMapRef": {"name": "a"}}]}),
            "envFrom[0].prefix: Invalid value: \"=\": a valid environment variable name",
        ),
        (
            json!({"envFrom": [{"secretRef": {"name": ""}}]}),
            "envFrom[0].secretRef.name: Required value",
        ),
    ]);
}

#[test]
fn resources_are_amounts_within_their_limits() {
    let limits = |limits: Value| json!({"resources": {"limits": limits}});
    containers([
        (
            limits(json!({"cpu": "x"})),
            "resources.limits[cpu]: Invalid value: \"x\": quantities must match the regular expression",
        ),
        (
            limits(json!({"cpu": "-1"})),
            "resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            limits(json!({"a b": "1"})),
            "resources.limits[a b]: Invalid value: \"a b\": name part must consist of",
        ),
        (
            limits(json!({"disk": "1"})),
            "resources.limits[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified",
        ),
        (
            limits(json!({"disk": "1"})),
            "resources.limits[disk]: Invalid value: \"disk\": must be a standard resource for containers",
        ),
        (
            limits(json!({"pods": "1"})),
            "resources.limits[pods]: Invalid value: \"pods\": must be a standard resource for containers",
        ),
        (
            limits(json!({"requests.a.b/c": "1"})),
            "resources.limits[requests.a.b/c]: Invalid value: \"requests.a.b/c\": doesn't follow extended resource name standard",
        ),
        (
            limits(json!({"a.b/c": "0.5"})),
            "resources.limits[a.b/c]: Invalid value: \"500m\": must be an integer",
        ),
        (
            json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}}}),
            "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1500m",
        ),
        (
            json!({"resources": {"requests": {"a.b/c": "1"}, "limits": {"a.b/c": "2"}}}),
            "resources.requests: Invalid value: \"1\": must be equal to a.b/c limit of 2",
        ),
    ]);
}

#[test]
fn security_is_consistent() {
    let context = |context: Value| json!({"securityContext": context});
    pods([
        (
            context(json!({"fsGroup": -1})),
            "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 4294967295, inclusive",
        ),
        (
            context(json!({"runAsUser": 4294967296_i64})),
            "spec.securityContext.runAsUser: Invalid value: 4294967296: must be between",
        ),
        (
            context(json!({"runAsGroup": -1})),
            "spec.securityContext.runAsGroup: Invalid value: -1",
        ),
        (
            context(json!({"supplementalGroups": [0, -1]})),
            "spec.securityContext.supplementalGroups[1]: Invalid value: -1",
        ),
        (
            context(json!({"fsGroupChangePolicy": "Never"})),
            "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"",
        ),
        (
            context(json!({"supplementalGroupsPolicy": "None"})),
            "spec.securityContext.supplementalGroupsPolicy: Unsupported value: \"None\": supported values: \"Merge\", \"Strict\"",
        ),
        (
            context(json!({"seccompProfile": {"type": ""}})),
            "spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set",
        ),
        (
            context(json!({"seccompProfile": {"type": "Own"}})),
            "spec.securityContext.seccompProfile.type: Unsupported value: \"Own\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
        ),
        (
            context(json!({"seccompProfile": {"type": "Localhost"}})),
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            context(json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "../a"}})),
            "spec.securityContext.seccompProfile.localhostProfile: Invalid value: \"../a\": must not contain '..'",
        ),
        (
            context(json!({"seccompProfile": {"type": "Unconfined", "localhostProfile": "a"}})),
            "can only be set when seccomp type is Localhost",
        ),
        (
            context(json!({"appArmorProfile": {"type": ""}})),
            "spec.securityContext.appArmorProfile.type: Required value: type is required when appArmorProfile is set",
        ),
        (
            context(json!({"appArmorProfile": {"type": "Localhost"}})),
            "spec.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost",
        ),
        (
            context(json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": " a"}})),
            "localhostProfile: Invalid value: \" a\": must not be padded with whitespace",
        ),
        (
            json!({"hostUsers": false, "hostNetwork": true}),
            "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
        ),
        (
            json!({"hostUsers": false, "hostPID": true}),
            "spec.hostPID: Forbidden: when `pod.Spec.HostUsers` is false",
        ),
        (
            json!({"hostUsers": false, "hostIPC": true}),
            "spec.hostIPC: Forbidden: when `pod.Spec.HostUsers` is false",
        ),
        (
            json!({"hostPID": true, "shareProcessNamespace": true}),
            "spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
        ),
    ]);
    containers([
        (
            context(json!({"runAsUser": -1})),
            "securityContext.runAsUser: Invalid value: -1: must be between",
        ),
        (
            context(json!({"procMount": "Bare"})),
            "securityContext.procMount: Unsupported value: \"Bare\": supported values: \"Default\", \"Unmasked\"",
        ),
        (
            context(json!({"procMount": "Unmasked"})),
            "securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
        ),
        (
            context(json!({"allowPrivilegeEscalation": false, "privileged": true})),
            "securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        (
            context(
                json!({"allowPrivilegeEscalation": false, "capabilities": {"add": ["CAP_SYS_ADMIN"]}}),
            ),
            "securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ),
    ]);
}

#[test]
fn a_policy_says_how_a_container_takes_a_resize() {
    let policy =
        |resource: &str, restart: &str| json!({"resourceName": resource, "restartPolicy": restart});
    let of = |policies: Value| with_container(json!({"resizePolicy": policies}));
    let both = json!([
        policy("cpu", "NotRequired"),
        policy("memory", "RestartContainer")
    ]);
    assert_eq!(causes(&of(both.clone())), Vec::<String>::new());
    says(
        &of(json!([policy("disk", "NotRequired")])),
        "spec.containers[0].resizePolicy: Unsupported value: \"disk\"",
    );
    says(
        &of(json!([policy("cpu", "Never")])),
        "Unsupported value: \"Never\"",
    );
    says(
        &of(json!([
            policy("cpu", "NotRequired"),
            policy("cpu", "NotRequired")
        ])),
        "Duplicate value: \"cpu\"",
    );
    let mut never = of(both.clone());
    never.spec.as_mut().expect("a spec").restart_policy = Some("Never".to_string());
    says(
        &never,
        "must be 'NotRequired' when `restartPolicy` is 'Never'",
    );
    let init = json!([{"name": "i", "image": "i", "resizePolicy": both}]);
    says(
        &pod(json!({"initContainers": init})),
        "must not be set for init containers",
    );
}

#[test]
fn huge_pages_come_whole_and_beside_other_resources() {
    let of = |resources: Value| with_container(json!({"resources": resources}));
    let pages = json!({"hugepages-2Mi": "4Mi", "memory": "1Mi"});
    assert_eq!(causes(&of(json!({"limits": pages}))), Vec::<String>::new());
    for (resources, why) in [
        (
            json!({"limits": {"hugepages-2Mi": "4Mi"}}),
            "HugePages require cpu or memory",
        ),
        (
            json!({"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}),
            "3Mi is not positive integer multiple of hugepages-2Mi",
        ),
        (
            json!({"limits": pages, "requests": {"hugepages-2Mi": "2Mi"}}),
            "must be equal to hugepages-2Mi limit of 4Mi",
        ),
        (
            json!({"requests": {"hugepages-2Mi": "2Mi", "cpu": "1"}}),
            "Limit must be set for non overcommitable resources",
        ),
        (
            json!({"limits": {"hugepages-big": "2Mi", "cpu": "1"}}),
            "hugepages-big",
        ),
    ] {
        says(&of(resources), why);
    }
    let volume =
        |medium: &str| pod(json!({"volumes": [{"name": "v", "emptyDir": {"medium": medium}}]}));
    for medium in ["HugePages", "HugePages-2Mi", "HugePages-1Gi"] {
        assert_eq!(causes(&volume(medium)), Vec::<String>::new(), "{medium}");
    }
    says(
        &volume("HugePages-much"),
        "Unsupported value: \"HugePages-much\"",
    );
    let field = json!({"resourceFieldRef": {"resource": "limits.hugepages-2Mi"}});
    let shown = with_container(json!({"env": [{"name": "A", "valueFrom": field}]}));
    assert_eq!(causes(&shown), Vec::<String>::new());
}
