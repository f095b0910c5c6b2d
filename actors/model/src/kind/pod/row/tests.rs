use super::*;
use serde_json::{Value, json};

const NOW: &str = "2026-01-01T01:00:00Z";

fn cells(pod: Value) -> Vec<String> {
    let pod: Pod = serde_json::from_value(pod).expect("a pod");
    row(&pod, NOW.parse().expect("a time"))
}

/// `READY`, `STATUS` and `RESTARTS` of a pod with two containers.
fn of(status: Value) -> String {
    let cells = cells(json!({
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
        "status": status,
    }));
    cells[1..4].join(" ")
}

fn container(ready: bool, restarts: i32, state: Value) -> Value {
    json!({"name": "a", "image": "", "imageID": "", "ready": ready, "restartCount": restarts, "state": state})
}

#[test]
fn the_status_column_follows_the_containers() {
    let running = || container(true, 0, json!({"running": {}}));
    let unready = || container(false, 0, json!({"running": {}}));
    let ended = |fields: Value| container(false, 0, json!({"terminated": fields}));
    let waiting = |reason: &str| container(false, 2, json!({"waiting": {"reason": reason}}));
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let cases = [
        (json!({"phase": "Pending"}), "0/2 Pending 0"),
        (
            json!({"phase": "Failed", "reason": "Evicted"}),
            "0/2 Evicted 0",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [running(), running()]}),
            "2/2 Running 0",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [running(), unready()]}),
            "1/2 Running 0",
        ),
        (
            json!({"phase": "Pending", "containerStatuses": [waiting("ContainerCreating"), waiting("ImagePullBackOff")]}),
            "0/2 ContainerCreating 4",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff"), running()]}),
            "1/2 CrashLoopBackOff 2",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [ended(json!({"exitCode": 1, "reason": "Error"})), running()]}),
            "1/2 Error 0",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [ended(json!({"exitCode": 137, "reason": "OOMKilled"}))]}),
            "0/2 OOMKilled 0",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [ended(json!({"exitCode": 3}))]}),
            "0/2 ExitCode:3 0",
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [ended(json!({"exitCode": 137, "signal": 9}))]}),
            "0/2 Signal:9 0",
        ),
        (
            json!({"phase": "Succeeded", "containerStatuses": [ended(json!({"exitCode": 0, "reason": "Completed"}))]}),
            "0/2 Completed 0",
        ),
        (
            json!({"phase": "Running", "conditions": ready, "containerStatuses": [ended(json!({"exitCode": 0, "reason": "Completed"})), running()]}),
            "1/2 Running 0",
        ),
        (
            json!({"phase": "Running", "containerStatuses": [ended(json!({"exitCode": 0, "reason": "Completed"})), running()]}),
            "1/2 NotReady 0",
        ),
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            "0/2 SchedulingGated 0",
        ),
    ];
    for (status, expected) in cases {
        assert_eq!(of(status.clone()), expected, "{status}");
    }
}

#[test]
fn init_containers_speak_first() {
    let ended = |fields: Value| container(false, 0, json!({"terminated": fields}));
    let waiting = |reason: &str| container(false, 1, json!({"waiting": {"reason": reason}}));
    let done = || ended(json!({"exitCode": 0}));
    let cases = [
        (vec![done(), waiting("PodInitializing")], "Init:1/2"),
        (vec![waiting("CrashLoopBackOff")], "Init:CrashLoopBackOff"),
        (vec![ended(json!({"exitCode": 2}))], "Init:ExitCode:2"),
        (
            vec![ended(json!({"exitCode": 1, "signal": 6}))],
            "Init:Signal:6",
        ),
        (
            vec![ended(json!({"exitCode": 1, "reason": "Error"}))],
            "Init:Error",
        ),
        (vec![done(), done()], "Running"),
    ];
    for (statuses, expected) in cases {
        let cells = cells(json!({
            "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
            "status": {"phase": "Running", "initContainerStatuses": statuses},
        }));
        assert_eq!(cells[2], expected);
    }
}

#[test]
fn a_dying_pod_is_terminating_until_it_has_ended() {
    let status = |status: Value| {
        let pod = json!({"metadata": {"deletionTimestamp": NOW}, "spec": {"containers": []}, "status": status});
        cells(pod)[2].clone()
    };
    assert_eq!(status(json!({"phase": "Running"})), "Terminating");
    assert_eq!(
        status(json!({"phase": "Running", "reason": "NodeLost"})),
        "Unknown"
    );
    assert_eq!(status(json!({"phase": "Succeeded"})), "Succeeded");
}

#[test]
fn restarts_say_when_the_last_one_was() {
    let mut first = container(true, 2, json!({"running": {}}));
    first["lastState"] =
        json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:55:00Z"}});
    let mut second = container(true, 1, json!({"running": {}}));
    second["lastState"] =
        json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:30:00Z"}});
    let status = json!({"phase": "Running", "containerStatuses": [first, second]});
    assert_eq!(of(status), "2/2 Running 3 (5m ago)");
}

#[test]
fn wide_cells_are_none_until_they_are_known() {
    let pod = json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:57:30Z"},
        "spec": {"containers": [{"name": "a"}], "nodeName": "n", "readinessGates": [{"conditionType": "x"}, {"conditionType": "y"}]},
        "status": {"podIP": "10.0.0.1", "nominatedNodeName": "m", "conditions": [{"type": "x", "status": "True"}]},
    });
    assert_eq!(cells(pod)[4..], ["2m30s", "10.0.0.1", "n", "m", "1/2"]);
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": []}});
    assert_eq!(
        cells(pod)[4..],
        ["<unknown>", "<none>", "<none>", "<none>", "<none>"]
    );
}

#[test]
fn sidecars_count_among_the_containers() {
    let sidecar = |started: bool| {
        json!({"name": "s", "image": "", "imageID": "", "ready": started, "started": started,
            "restartCount": 3, "state": {"running": {}}})
    };
    let pod = |started: bool, initialized: &str| {
        cells(json!({
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "a"}], "initContainers": [
                {"name": "s", "restartPolicy": "Always"}, {"name": "j"}]},
            "status": {"phase": "Running", "initContainerStatuses": [sidecar(started)],
                "conditions": [{"type": "Initialized", "status": initialized}],
                "containerStatuses": [container(true, 1, json!({"running": {}}))]},
        }))[1..4]
            .join(" ")
    };
    assert_eq!(pod(false, "False"), "0/2 Init:0/2 3");
    assert_eq!(pod(true, "True"), "2/2 Running 4");
}
