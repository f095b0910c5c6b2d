//! A pod's life: init containers, sidecars, probes, hooks, ephemeral containers.

use super::pod::node_with_busybox;
use kabuki_tests::harness::{Daemon, until};
use std::time::Duration;

/// A pod whose containers all run busybox. `fields` are those of its spec.
fn pod(name: &str, fields: &str) -> String {
    let head = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n");
    let fields = fields.replace("IMAGE", "image: busybox, imagePullPolicy: IfNotPresent");
    format!("{head}{fields}")
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    until(what, Duration::from_secs(30), || done().then_some(()));
}

fn ready(node: &Daemon, name: &str) {
    let pod = format!("pod/{name}");
    node.ok(&["wait", "--for=condition=Ready", &pod, "--timeout=30s"]);
}

#[test]
fn init_containers_run_in_order_before_the_others_and_a_sidecar_stays() {
    let node = node_with_busybox();
    node.apply(&pod(
        "ordered",
        "  terminationGracePeriodSeconds: 5
  volumes: [{name: data, emptyDir: {}}]
  initContainers:
  - {name: one, IMAGE, command: [sh, -c, 'echo one >> /data/log'], volumeMounts: [{name: data, mountPath: /data}]}
  - name: side
    image: busybox
    imagePullPolicy: IfNotPresent
    restartPolicy: Always
    command: [sh, -c, 'trap \"echo side ends >> /data/log; cp /data/log /keep/ended; exit 0\" TERM; echo side >> /data/log; while :; do sleep 0.05; done']
    startupProbe: {periodSeconds: 1, exec: {command: [grep, side, /data/log]}}
    volumeMounts: [{name: data, mountPath: /data}, {name: keep, mountPath: /keep}]
  - {name: two, IMAGE, command: [sh, -c, 'echo two >> /data/log'], volumeMounts: [{name: data, mountPath: /data}]}
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap \"echo main ends >> /data/log; exit 0\" TERM; echo main >> /data/log; while :; do sleep 0.05; done']
    volumeMounts: [{name: data, mountPath: /data}]
"
        .replace(
            "volumes: [",
            &format!(
                "volumes: [{{name: keep, hostPath: {{path: {}}}}}, ",
                node.data_dir().display()
            ),
        )
        .as_str(),
    ));
    ready(&node, "ordered");
    let row = node.ok(&["get", "pod", "ordered", "--no-headers"]);
    assert_eq!(row.split_whitespace().nth(1), Some("2/2"), "{row}");
    let log = node.ok(&["exec", "ordered", "-c", "main", "--", "cat", "/data/log"]);
    assert_eq!(log, "one\nside\ntwo\nmain\n");
    let text = node.ok(&["describe", "pod", "ordered"]);
    assert!(text.contains("Init Containers:"), "{text}");
    assert!(
        text.contains("exec [grep side /data/log] delay=0s timeout=1s period=1s"),
        "{text}"
    );
    node.ok(&["delete", "pod", "ordered"]);
    let kept = std::fs::read_to_string(node.data_dir().join("ended")).expect("the log");
    assert_eq!(kept, "one\nside\ntwo\nmain\nmain ends\nside ends\n");
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod_and_shows_why() {
    let node = node_with_busybox();
    node.apply(&pod(
        "broken",
        "  restartPolicy: Never
  initContainers: [{name: one, IMAGE, command: [sh, -c, 'echo no luck; exit 4'], terminationMessagePolicy: FallbackToLogsOnError}]
  containers: [{name: main, IMAGE, command: [sleep, '1000']}]
",
    ));
    node.wait_value("pod/broken", "{.status.phase}", "Failed");
    let ended = "{.status.initContainerStatuses[0].state.terminated";
    assert_eq!(
        node.value("pod/broken", &format!("{ended}.exitCode}}")),
        "4"
    );
    let message = node.value("pod/broken", &format!("{ended}.message}}"));
    assert_eq!(message.trim_end(), "no luck");
    assert!(node.ok(&["get", "pod", "broken"]).contains("Init:Error"));
    assert_eq!(node.ok(&["logs", "broken", "-c", "one"]), "no luck\n");
}

#[test]
fn a_pod_that_is_deleted_during_init_is_gone_and_never_started() {
    let node = node_with_busybox();
    node.apply(&pod(
        "early",
        "  terminationGracePeriodSeconds: 1
  initContainers: [{name: one, IMAGE, command: [sleep, '1000']}]
  containers: [{name: main, IMAGE, command: [sleep, '1000']}]
",
    ));
    let running = "{.status.initContainerStatuses[0].state.running.startedAt}";
    wait("the init container", || {
        !node.value("pod/early", running).is_empty()
    });
    assert!(node.ok(&["get", "pod", "early"]).contains("Init:0/1"));
    node.ok(&["delete", "pod", "early"]);
    assert_ne!(node.cli(&["get", "pod", "early"]).code, 0);
}

const SERVER: &str = "  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'mkdir -p /www && echo yes > /www/ok && exec httpd -f -p 8080 -h /www']
    ports: [{containerPort: 8080, name: http}]
";

#[test]
fn every_kind_of_probe_reaches_the_container() {
    let node = node_with_busybox();
    for (name, probe) in [
        ("by-http", "httpGet: {path: /ok, port: http}"),
        ("by-tcp", "tcpSocket: {port: 8080}"),
        ("by-exec", "exec: {command: [cat, /www/ok]}"),
    ] {
        let probes = format!(
            "    startupProbe: {{periodSeconds: 1, failureThreshold: 30, {probe}}}\n    \
             readinessProbe: {{periodSeconds: 1, {probe}}}\n"
        );
        node.apply(&pod(name, &format!("{SERVER}{probes}")));
        ready(&node, name);
        let started = "{.status.containerStatuses[0].started}";
        assert_eq!(node.value(&format!("pod/{name}"), started), "true");
    }
    // What it answers turns it, and people read why.
    node.ok(&["exec", "by-http", "--", "rm", "/www/ok"]);
    let state = "{.status.containerStatuses[0].ready}";
    node.wait_value("pod/by-http", state, "false");
    let events = node.ok(&["describe", "pod", "by-http"]);
    let text = "Readiness probe failed: HTTP probe failed with statuscode: 404";
    assert!(events.contains(text), "{events}");
    assert_eq!(
        node.value("pod/by-http", "{.status.containerStatuses[0].restartCount}"),
        "0"
    );
    // Nobody listens for gRPC, so that one never comes up and is restarted.
    let probes = "    startupProbe: {periodSeconds: 1, failureThreshold: 1, grpc: {port: 9000}}\n";
    node.apply(&pod("by-grpc", &format!("{SERVER}{probes}")));
    wait("a restart", || {
        let count = node.value("pod/by-grpc", "{.status.containerStatuses[0].restartCount}");
        count.parse::<u32>().is_ok_and(|n| n > 0)
    });
    let events = node.ok(&["describe", "pod", "by-grpc"]);
    assert!(
        events.contains("failed startup probe, will be restarted"),
        "{events}"
    );
    assert!(events.contains("failed to connect service"), "{events}");
}

#[test]
fn an_unhealthy_container_is_restarted() {
    let node = node_with_busybox();
    node.apply(&pod(
        "sick",
        "  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'touch /tmp/well; sleep 1000']
    livenessProbe: {periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1, exec: {command: [cat, /tmp/well]}}
",
    ));
    ready(&node, "sick");
    node.ok(&["exec", "sick", "--", "rm", "/tmp/well"]);
    let count = "{.status.containerStatuses[0].restartCount}";
    node.wait_value("pod/sick", count, "1");
    ready(&node, "sick");
    let events = node.ok(&["describe", "pod", "sick"]);
    assert!(
        events.contains("Container main failed liveness probe, will be restarted"),
        "{events}"
    );
}

#[test]
fn hooks_run_after_the_start_and_before_the_end() {
    let node = node_with_busybox();
    let keep = node.data_dir().display().to_string();
    let fields = "  terminationGracePeriodSeconds: 5
  volumes: [{name: keep, hostPath: {path: KEEP}}]
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap \"echo end >> /keep/hooks; exit 0\" TERM; while :; do sleep 0.05; done']
    lifecycle:
      postStart: {exec: {command: [sh, -c, 'echo started >> /keep/hooks']}}
      preStop: {exec: {command: [sh, -c, 'sleep 0.3; echo stopping >> /keep/hooks']}}
    volumeMounts: [{name: keep, mountPath: /keep}]
  - name: other
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'cat /keep/hooks > /keep/seen; sleep 1000']
    volumeMounts: [{name: keep, mountPath: /keep}]
"
    .replace("KEEP", &keep);
    node.apply(&pod("hooked", &fields));
    ready(&node, "hooked");
    let read = |name: &str| std::fs::read_to_string(node.data_dir().join(name)).unwrap_or_default();
    wait("the other container", || !read("seen").is_empty());
    assert_eq!(
        read("seen"),
        "started\n",
        "it waits for the first one's hook"
    );
    node.ok(&["delete", "pod", "hooked"]);
    assert_eq!(read("hooks"), "started\nstopping\nend\n");
    node.apply(&pod(
        "failing",
        "  restartPolicy: Never
  containers: [{name: main, IMAGE, command: [sleep, '1000'], lifecycle: {postStart: {exec: {command: ['false']}}}}]
  terminationGracePeriodSeconds: 1
",
    ));
    node.wait_value("pod/failing", "{.status.phase}", "Failed");
    let events = node.ok(&["describe", "pod", "failing"]);
    assert!(events.contains("FailedPostStartHook"), "{events}");
}

#[test]
fn a_pod_is_debugged_with_other_tools() {
    let node = node_with_busybox();
    node.apply(&pod(
        "opaque",
        "  terminationGracePeriodSeconds: 1
  containers: [{name: main, IMAGE, command: [sleep, '12345']}]
",
    ));
    ready(&node, "opaque");
    let args = [
        "debug",
        "opaque",
        "--image=busybox",
        "--image-pull-policy=IfNotPresent",
    ];
    let more = ["-c", "look", "--target=main", "--attach", "--", "ps"];
    let outcome = node.cli(&[&args[..], &more[..]].concat());
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let ended = "{.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
    node.wait_value("pod/opaque", ended, "0");
    let log = node.ok(&["logs", "opaque", "-c", "look"]);
    assert!(
        log.contains("sleep 12345"),
        "it sees the target's processes: {log}"
    );
    let restarts = "{.status.containerStatuses[0].restartCount}";
    assert_eq!(node.value("pod/opaque", restarts), "0");
}

#[test]
fn a_hook_is_not_run_twice_when_the_daemon_dies_in_the_middle_of_it() {
    let mut node = node_with_busybox();
    let fields = "  terminationGracePeriodSeconds: 4
  volumes: [{name: keep, hostPath: {path: KEEP}}]
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap \"echo end >> /keep/hooks; exit 0\" TERM; while :; do sleep 0.05; done']
    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo stopping >> /keep/hooks; sleep 1000']}}}
    volumeMounts: [{name: keep, mountPath: /keep}]
"
    .replace("KEEP", &node.data_dir().display().to_string());
    node.apply(&pod("hooked", &fields));
    ready(&node, "hooked");
    node.ok(&["delete", "pod", "hooked", "--wait=false"]);
    let hooks = node.data_dir().join("hooks");
    let read = || std::fs::read_to_string(&hooks).unwrap_or_default();
    wait("the hook", || !read().is_empty());
    node.restart();
    wait("the end", || node.cli(&["get", "pod", "hooked"]).code != 0);
    assert_eq!(read(), "stopping\nend\n");
}

#[test]
fn a_hook_goes_on_when_the_daemon_dies_and_is_waited_for() {
    let mut node = node_with_busybox();
    let fields = "  terminationGracePeriodSeconds: 60
  volumes: [{name: keep, hostPath: {path: KEEP}}]
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'trap \"echo end >> /keep/hooks; exit 0\" TERM; while :; do sleep 0.05; done']
    lifecycle:
      postStart: {exec: {command: [sh, -c, 'echo starting >> /keep/hooks; until [ -e /keep/go ]; do sleep 0.05; done; echo started >> /keep/hooks']}}
      preStop: {exec: {command: [sh, -c, 'echo stopping >> /keep/hooks; until [ -e /keep/end ]; do sleep 0.05; done; echo drained >> /keep/hooks']}}
    volumeMounts: [{name: keep, mountPath: /keep}]
"
    .replace("KEEP", &node.data_dir().display().to_string());
    node.apply(&pod("hooked", &fields));
    let place = node.data_dir().to_path_buf();
    let read = || std::fs::read_to_string(place.join("hooks")).unwrap_or_default();
    let go_on = |name: &str| std::fs::write(place.join(name), "").expect("written");
    wait("the first hook", || read() == "starting\n");
    node.restart();
    assert_eq!(
        node.value("pod/hooked", "{.status.containerStatuses[0].ready}"),
        "false"
    );
    go_on("go");
    ready(&node, "hooked");
    node.ok(&["delete", "pod", "hooked", "--wait=false"]);
    wait("the other hook", || {
        read() == "starting\nstarted\nstopping\n"
    });
    // It may also end while nobody is there to hear of it.
    node.kill();
    go_on("end");
    wait("its end", || read().ends_with("drained\n"));
    node.launch();
    node.wait_answering();
    wait("the pod's end", || {
        node.cli(&["get", "pod", "hooked"]).code != 0
    });
    assert_eq!(read(), "starting\nstarted\nstopping\ndrained\nend\n");
}

#[test]
fn started_and_ready_containers_stay_so_when_the_daemon_dies() {
    let mut node = node_with_busybox();
    let probes = "    startupProbe: {periodSeconds: 1, failureThreshold: 30, httpGet: {path: /ok, port: http}}
    readinessProbe: {initialDelaySeconds: 1, periodSeconds: 300, httpGet: {path: /ok, port: http}}
";
    node.apply(&pod("steady", &format!("{SERVER}{probes}")));
    ready(&node, "steady");
    let since = "{.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}";
    let before = node.value("pod/steady", since);
    node.restart();
    let (state, started) = (
        "{.status.containerStatuses[0].ready}",
        "{.status.containerStatuses[0].started}",
    );
    assert_eq!(node.value("pod/steady", state), "true");
    assert_eq!(node.value("pod/steady", started), "true");
    assert!(!before.is_empty());
    assert_eq!(node.value("pod/steady", since), before);
}
