use super::*;

const WORDS: &str = "is not supported by this version of Kabuki";

fn refuses(pod: &Pod, path: &str) {
    let field = path.rsplit('.').next().unwrap_or(path);
    says(pod, &format!("{path}: Forbidden: {field} {WORDS}"));
}

#[test]
fn fields_of_the_pod_are_refused_by_name() {
    let cases = [
        ("hostnameOverride", json!("h")),
        ("os", json!({"name": "windows"})),
        ("priorityClassName", json!("high")),
        ("resourceClaims", json!([{"name": "c"}])),
        ("schedulingGates", json!([{"name": "g"}])),
        (
            "topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "t", "whenUnsatisfiable": "DoNotSchedule"}]),
        ),
    ];
    for (field, value) in cases {
        refuses(&pod(json!({field: value})), &format!("spec.{field}"));
    }
    let needed =
        || json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "t"}]});
    refuses(
        &pod(json!({"affinity": {"podAffinity": needed()}})),
        "spec.affinity.podAffinity",
    );
    refuses(
        &pod(json!({"affinity": {"podAntiAffinity": needed()}})),
        "spec.affinity.podAntiAffinity",
    );
    refuses(
        &pod(json!({"tolerations": [{"key": "a", "operator": "Gt", "value": "1"}]})),
        "spec.tolerations[0].operator",
    );
    for (field, value) in [
        ("seLinuxChangePolicy", json!("Recursive")),
        ("seLinuxOptions", json!({"level": "s0"})),
        ("windowsOptions", json!({"hostProcess": true})),
    ] {
        refuses(
            &pod(json!({"securityContext": {field: value}})),
            &format!("spec.securityContext.{field}"),
        );
    }
}

#[test]
fn a_pod_that_others_should_make_room_for_is_refused() {
    let text = format!("spec.preemptionPolicy: Forbidden: preemptionPolicy {WORDS}");
    let first = |policy: &str| pod(json!({"priority": 5, "preemptionPolicy": policy}));
    says(&first("PreemptLowerPriority"), &text);
    assert_eq!(causes(&first("Never")), Vec::<String>::new());
    let usual = pod(json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}));
    assert_eq!(causes(&usual), Vec::<String>::new());
}

#[test]
fn fields_of_a_container_are_refused_by_name() {
    let cases = [("volumeDevices", json!([{"name": "v", "devicePath": "/d"}]))];
    for (field, value) in cases {
        refuses(
            &with_container(json!({field: value})),
            &format!("spec.containers[0].{field}"),
        );
    }
    refuses(
        &with_container(json!({"lifecycle": {"preStop": {"tcpSocket": {"port": 1}}}})),
        "spec.containers[0].lifecycle.preStop.tcpSocket",
    );
    let get = json!({"httpGet": {"port": 1, "protocol": "HTTP2"}});
    refuses(
        &with_container(json!({"livenessProbe": get})),
        "spec.containers[0].livenessProbe.httpGet.protocol",
    );
    let port = |port: Value| with_container(json!({"ports": [port]}));
    refuses(
        &port(json!({"containerPort": 80, "hostPort": 80, "hostIP": "fd00::1"})),
        "spec.containers[0].ports[0].hostIP",
    );
    let labelled = json!({"securityContext": {"seLinuxOptions": {"level": "s0"}}});
    refuses(
        &with_container(labelled),
        "spec.containers[0].securityContext.seLinuxOptions",
    );
    let source =
        |source: Value| with_container(json!({"env": [{"name": "A", "valueFrom": source}]}));
    let path = "spec.containers[0].env[0].valueFrom";
    refuses(
        &source(json!({"fileKeyRef": {"key": "k", "path": "p", "volumeName": "v"}})),
        &format!("{path}.fileKeyRef"),
    );
    let claims = with_container(json!({"resources": {"claims": [{"name": "c"}]}}));
    refuses(&claims, "spec.containers[0].resources.claims");
    let name = "example.com/gpu";
    let pod = with_container(json!({"resources": {"limits": {name: "1"}}}));
    says(
        &pod,
        &format!("spec.containers[0].resources.limits[{name}]: Forbidden: {name} {WORDS}"),
    );
}

#[test]
fn volumes_and_mounts_are_refused_by_name() {
    for (field, value) in [
        ("persistentVolumeClaim", json!({"claimName": "c"})),
        ("nfs", json!({"server": "s", "path": "/"})),
        ("csi", json!({"driver": "d"})),
        ("image", json!({"reference": "r"})),
    ] {
        refuses(
            &pod(json!({"volumes": [{"name": "v", field: value}]})),
            &format!("spec.volumes[0].{field}"),
        );
    }
    let item = json!({"key": "k", "path": "p", "user": 1});
    let volumes = json!([
        {"name": "a", "emptyDir": {"mode": 511}},
        {"name": "b", "configMap": {"name": "c", "defaultUser": 1, "items": [item]}},
        {"name": "c", "secret": {"secretName": "c", "defaultUser": 1}},
    ]);
    let pod = pod(json!({"volumes": volumes}));
    for path in [
        "[0].emptyDir.mode",
        "[1].configMap.defaultUser",
        "[1].configMap.items[0].user",
        "[2].secret.defaultUser",
    ] {
        refuses(&pod, &format!("spec.volumes{path}"));
    }
    for (field, value) in [
        ("bindMountOptions", json!(["noexec"])),
        ("mountPropagation", json!("Bidirectional")),
    ] {
        let mount = json!({"name": "v", "mountPath": "/m", field: value});
        refuses(
            &with_container(json!({"volumeMounts": [mount]})),
            &format!("spec.containers[0].volumeMounts[0].{field}"),
        );
    }
}

/// A pod that uses every field that is honoured.
pub(super) fn whole() -> Pod {
    let container = json!({
        "name": "a", "image": "i", "command": ["c"], "args": ["a"], "workingDir": "/w", "stdin": true, "stdinOnce": true, "tty": true,
        "imagePullPolicy": "Never", "terminationMessagePath": "/t",
        "env": [
            {"name": "A", "value": "a"}, {"name": "B.b-1", "value": ""},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "F", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": true}}},
            {"name": "G", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k.x"}}},
        ],
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
        "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080, "hostIP": "192.0.2.1"}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "securityContext": {
            "runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "privileged": false, "procMount": "Default",
            "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"},
        },
        "volumeMounts": [
            {"name": "e", "mountPath": "/e", "subPath": "s/t", "mountPropagation": "HostToContainer"},
            {"name": "c", "mountPath": "/c", "readOnly": true, "recursiveReadOnly": "IfPossible"},
            {"name": "c", "mountPath": "/d", "readOnly": true, "recursiveReadOnly": "Enabled"},
        ],
    });
    let term = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}], "matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]});
    pod(json!({
        "containers": [container, {"name": "b", "image": "j", "securityContext": {"privileged": true}}],
        "volumes": [
            {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, {"name": "h", "hostPath": {"path": "/x", "type": "DirectoryOrCreate"}},
            {"name": "c", "configMap": {"name": "c", "defaultMode": 256, "items": [{"key": "k", "path": "a/b", "mode": 511}]}}, {"name": "s", "secret": {"secretName": "s", "optional": true}},
        ],
        "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}}],
        }},
        "tolerations": [{"key": "a", "value": "b", "effect": "NoSchedule"}, {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "securityContext": {
            "runAsUser": 1, "runAsGroup": 1, "fsGroup": 3, "fsGroupChangePolicy": "OnRootMismatch", "supplementalGroups": [4],
            "supplementalGroupsPolicy": "Merge", "seccompProfile": {"type": "RuntimeDefault"}, "appArmorProfile": {"type": "Unconfined"},
        },
        "dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1", "fd00::1"], "searches": ["a.b.", "_x.y", "."], "options": [{"name": "ndots", "value": "2"}]},
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["a.b"]}], "hostname": "h", "subdomain": "s", "nodeName": "n.m", "nodeSelector": {"a": "b"},
        "hostIPC": true, "hostPID": true, "shareProcessNamespace": false, "imagePullSecrets": [{"name": "r"}], "serviceAccountName": "robot",
        "automountServiceAccountToken": false, "enableServiceLinks": false, "priority": 7, "preemptionPolicy": "Never", "schedulerName": "other",
        "restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 0, "os": {"name": "linux"}, "hostUsers": true, "setHostnameAsFQDN": false,
    }))
}

#[test]
fn a_pod_that_uses_all_that_is_honoured_passes() {
    assert_eq!(causes(&whole()), Vec::<String>::new());
}

#[test]
fn what_asks_for_nothing_is_not_refused() {
    let pod = pod(json!({
        "affinity": {"podAffinity": {}, "podAntiAffinity": {}}, "resources": {}, "initContainers": [],
        "overhead": {}, "runtimeClassName": "", "readinessGates": [], "schedulingGates": [],
        "topologySpreadConstraints": [], "setHostnameAsFQDN": false, "hostUsers": true,
        "securityContext": {"seLinuxOptions": {}, "sysctls": []},
        "containers": [{"name": "a", "image": "i", "lifecycle": {}, "volumeDevices": [], "resizePolicy": []}],
    }));
    assert_eq!(causes(&pod), Vec::<String>::new());
}
