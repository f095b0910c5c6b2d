//! Init containers, probes, hooks, ephemeral containers.

use super::*;

fn init(fields: Value) -> Value {
    let mut whole = json!({"name": "i", "image": "i"});
    merge(&mut whole, fields);
    json!({"initContainers": [whole]})
}

#[test]
fn init_containers_have_names_of_their_own_and_neither_probes_nor_hooks() {
    let probe = || json!({"exec": {"command": ["true"]}});
    let why = "may not be set for init containers without restartPolicy=Always";
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let text = format!("spec.initContainers[0].{field}: Forbidden: {why}");
        says(&pod(init(json!({field: probe()}))), &text);
        let sidecar = pod(init(json!({field: probe(), "restartPolicy": "Always"})));
        assert_eq!(causes(&sidecar), Vec::<String>::new());
    }
    let hooked = pod(init(json!({"lifecycle": {"preStop": probe()}})));
    says(
        &hooked,
        &format!("spec.initContainers[0].lifecycle: Forbidden: {why}"),
    );
    let text = "spec.initContainers[0].name: Duplicate value: \"a\"";
    says(&pod(init(json!({"name": "a"}))), text);
}

#[test]
fn probes_do_one_thing_and_have_sound_numbers() {
    let live = |probe: Value| json!({"livenessProbe": probe});
    let get = |fields: Value| {
        let mut get = json!({"port": 80});
        merge(&mut get, fields);
        json!({"livenessProbe": {"httpGet": get}})
    };
    containers([
        (
            live(json!({})),
            "livenessProbe: Required value: must specify a handler type",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})),
            "livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            live(json!({"exec": {}})),
            "livenessProbe.exec.command: Required value",
        ),
        (
            live(json!({"tcpSocket": {"port": 0}})),
            "livenessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            live(json!({"tcpSocket": {"port": "A"}})),
            "livenessProbe.tcpSocket.port: Invalid value: \"A\": must contain only alpha-numeric",
        ),
        (
            live(json!({"grpc": {"port": 70000}})),
            "livenessProbe.grpc.port: Invalid value: 70000: must be between",
        ),
        (
            get(json!({"scheme": "FTP"})),
            "livenessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"",
        ),
        (
            get(json!({"httpHeaders": [{"name": "a b", "value": ""}]})),
            "livenessProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP header",
        ),
        (
            get(json!({"httpHeaders": [{"name": "a", "value": "b\nc"}]})),
            "livenessProbe.httpGet.httpHeaders[0].value: Invalid value: \"b\\nc\": must not contain",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "successThreshold": 2})),
            "livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "periodSeconds": -1})),
            "livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            live(json!({"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 0})),
            "livenessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            json!({"readinessProbe": {"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 1}}),
            "readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
        ),
    ]);
}

#[test]
fn probes_get_kubernetes_defaults() {
    let pod = with_container(json!({"readinessProbe": {"httpGet": {"port": 80}}}));
    let probe = serde_json::to_value(&pod.spec.expect("a spec").containers[0].readiness_probe);
    assert_eq!(
        probe.expect("JSON"),
        json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1,
            "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
    );
}

#[test]
fn hooks_and_stop_signals_are_checked() {
    let stop = |hook: Value| json!({"lifecycle": {"preStop": hook}});
    containers([
        (
            stop(json!({})),
            "lifecycle.preStop: Required value: must specify a handler type",
        ),
        (
            stop(json!({"sleep": {"seconds": 31}})),
            "lifecycle.preStop.sleep.seconds: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            json!({"lifecycle": {"stopSignal": "SIGUSR1"}}),
            "lifecycle.stopSignal: Forbidden: may not be set for containers without a spec.os.name",
        ),
    ]);
    let signal = |name: &str| {
        pod(json!({"os": {"name": "linux"},
            "containers": [{"name": "a", "image": "i", "lifecycle": {"stopSignal": name}}]}))
    };
    for name in ["SIGUSR1", "SIGRTMIN", "SIGRTMIN+3"] {
        assert_eq!(causes(&signal(name)), Vec::<String>::new());
    }
    says(&signal("USR1"), "stopSignal: Unsupported value: \"USR1\"");
}

#[test]
fn restart_rules_come_with_a_policy() {
    let rule = |rule: Value| json!({"restartPolicy": "Never", "restartPolicyRules": [rule]});
    let sound = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}});
    assert_eq!(
        causes(&with_container(rule(sound.clone()))),
        Vec::<String>::new()
    );
    containers([
        (
            json!({"restartPolicy": "Sometimes"}),
            "restartPolicy: Unsupported value",
        ),
        (
            json!({"restartPolicyRules": [sound]}),
            "restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
        (
            rule(
                json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}),
            ),
            "restartPolicyRules[0].action: Unsupported value: \"RestartAllContainers\"",
        ),
        (
            rule(json!({"action": "Restart"})),
            "restartPolicyRules[0].exitCodes: Required value",
        ),
        (
            rule(json!({"action": "Restart", "exitCodes": {"operator": "Is", "values": [1]}})),
            "restartPolicyRules[0].exitCodes.operator: Unsupported value: \"Is\"",
        ),
    ]);
}

#[test]
fn ephemeral_containers_have_no_ports_probes_or_resources() {
    let added = |fields: Value| {
        let mut whole = json!({"name": "e", "image": "i"});
        merge(&mut whole, fields);
        json!({"ephemeralContainers": [whole]})
    };
    let sound = added(json!({"targetContainerName": "a", "stdin": true, "tty": true}));
    assert_eq!(causes(&pod(sound)), Vec::<String>::new());
    let at = "spec.ephemeralContainers[0]";
    for (field, value) in [
        ("ports", json!([{"containerPort": 1}])),
        ("livenessProbe", json!({"exec": {"command": ["a"]}})),
        ("resources", json!({"limits": {"cpu": "1"}})),
        ("readinessProbe", json!({"exec": {"command": ["a"]}})),
        ("startupProbe", json!({"exec": {"command": ["a"]}})),
        (
            "lifecycle",
            json!({"preStop": {"exec": {"command": ["a"]}}}),
        ),
        (
            "resizePolicy",
            json!([{"resourceName": "cpu", "restartPolicy": "NotRequired"}]),
        ),
        (
            "restartPolicyRules",
            json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]),
        ),
        ("restartPolicy", json!("Always")),
    ] {
        let text = format!("{at}.{field}: Forbidden: cannot be set for an Ephemeral Container");
        says(&pod(added(json!({field: value}))), &text);
    }
    let devices = added(json!({"volumeDevices": [{"name": "v", "devicePath": "/d"}]}));
    let why = "volumeDevices is not supported by this version of Kabuki";
    says(
        &pod(devices),
        &format!("{at}.volumeDevices: Forbidden: {why}"),
    );
    let text = format!("{at}.targetContainerName: Not found: \"b\"");
    says(&pod(added(json!({"targetContainerName": "b"}))), &text);
    says(
        &pod(added(json!({"name": "a"}))),
        &format!("{at}.name: Duplicate value: \"a\""),
    );
}
