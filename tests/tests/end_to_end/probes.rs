//! Probes and hooks that speak to a program in the pod: HTTPS, gRPC, requests and sleeps.

use kabuki_runtime::image::ImageConfig;
use kabuki_tests::harness::{Daemon, image_archive, program, until};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const PROBED: &str = env!("CARGO_BIN_EXE_probed");

/// A node with an image of [`PROBED`], on top of busybox.
fn node() -> (Daemon, String) {
    let node = Daemon::start();
    let config = ImageConfig {
        env: vec!["PATH=/bin".to_string()],
        ..ImageConfig::default()
    };
    let name = "example.com/probed:1";
    let archive = image_archive(node.data_dir(), name, program(PROBED), config);
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    (node, PROBED.to_string())
}

fn pod(name: &str, command: &str, fields: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  \
         terminationGracePeriodSeconds: 30\n  containers:\n  - name: main\n    \
         image: example.com/probed:1\n    imagePullPolicy: IfNotPresent\n    \
         command: {command}\n{fields}"
    )
}

fn is_ready(node: &Daemon, name: &str) -> String {
    node.value(
        &format!("pod/{name}"),
        "{.status.containerStatuses[0].ready}",
    )
}

fn turns(node: &Daemon, name: &str, ready: &str) {
    until("the probe turns", LIMIT, || {
        (is_ready(node, name) == ready).then_some(())
    });
}

#[test]
fn https_and_grpc_probes_follow_what_the_program_says() {
    let (node, program) = node();
    let https = "    ports: [{name: web, containerPort: 8443}]
    readinessProbe: {periodSeconds: 1, httpGet: {scheme: HTTPS, port: web, path: /well?x=1, httpHeaders: [{name: X-Probe, value: mine}, {name: Host, value: example.com}]}}
";
    node.apply(&pod(
        "secure",
        &format!("[{program}, https, '8443']"),
        https,
    ));
    let grpc = "    startupProbe: {periodSeconds: 1, failureThreshold: 30, grpc: {port: 9000, service: shop}}
    readinessProbe: {periodSeconds: 1, grpc: {port: 9000, service: shop}}
";
    let command = format!("[{program}, grpc, '9000', shop]");
    node.apply(&pod("remote", &command, grpc));
    let other = grpc.replace(
        "startupProbe: {",
        "livenessProbe: {initialDelaySeconds: 600, ",
    );
    node.apply(&pod(
        "wrong",
        &command,
        &other.replace("service: shop", "service: other"),
    ));
    let sealed = grpc.replace("service: shop", "service: shop, mode: TLS");
    let command = format!("[{program}, grpcs, '9000', shop]");
    node.apply(&pod("sealed", &command, &sealed));
    for name in ["secure", "remote", "sealed"] {
        turns(&node, name, "true");
        node.ok(&["exec", name, "--", "touch", "/tmp/sick"]);
        turns(&node, name, "false");
        node.ok(&["exec", name, "--", "rm", "/tmp/sick"]);
        turns(&node, name, "true");
    }
    let asked = node.ok(&["logs", "secure"]);
    assert!(asked.contains("GET /well?x=1 example.com mine"), "{asked}");
    let events = node.ok(&["describe", "pod", "secure"]);
    let why = "Readiness probe failed: HTTP probe failed with statuscode: 500";
    assert!(events.contains(why), "{events}");
    let asked = node.ok(&["logs", "remote"]);
    assert!(
        asked.contains("POST /grpc.health.v1.Health/Check"),
        "{asked}"
    );
    let events = node.ok(&["describe", "pod", "remote"]);
    assert!(
        events.contains("service unhealthy (responded with \"NOT_SERVING\")"),
        "{events}"
    );
    assert_eq!(
        is_ready(&node, "wrong"),
        "false",
        "it does not know this service"
    );
}

#[test]
fn hooks_send_requests_and_sleep() {
    let (node, program) = node();
    node.apply(&pod("asked", &format!("[{program}, https, '8443']"), ""));
    turns(&node, "asked", "true");
    let ip = node.value("pod/asked", "{.status.podIP}");
    let hook = |path: &str| {
        format!(
            "httpGet: {{scheme: HTTPS, host: {ip}, port: 8443, path: {path}, httpHeaders: [{{name: X-Probe, value: hook}}]}}"
        )
    };
    let fields = format!(
        "    lifecycle:\n      postStart: {{{}}}\n      preStop: {{{}}}\n",
        hook("/started"),
        hook("/stopping")
    );
    let waits = "[sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.05; done']";
    node.apply(&pod("asks", waits, &fields));
    turns(&node, "asks", "true");
    assert!(node.ok(&["logs", "asked"]).contains("GET /started "));
    assert!(!node.ok(&["logs", "asked"]).contains("GET /stopping "));
    node.ok(&["delete", "pod", "asks"]);
    let heard = node.ok(&["logs", "asked"]);
    assert_eq!(heard.matches("hook").count(), 2, "{heard}");
    assert!(heard.contains("GET /stopping "), "{heard}");
    // One that sleeps holds the signal back for as long.
    let sleeps =
        "    lifecycle: {postStart: {sleep: {seconds: 1}}, preStop: {sleep: {seconds: 2}}}\n";
    node.apply(&pod("sleeps", waits, sleeps));
    turns(&node, "sleeps", "true");
    let begun = Instant::now();
    node.ok(&["delete", "pod", "sleeps"]);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    // Nobody listens there, so the start fails.
    let fails = "    lifecycle: {postStart: {httpGet: {port: 81}}}\n";
    node.apply(&pod("fails", waits, fails));
    until("the hook fails", LIMIT, || {
        let events = node.ok(&["describe", "pod", "fails"]);
        events.contains("FailedPostStartHook").then_some(())
    });
}

#[test]
fn a_debugger_sees_processes_that_all_containers_share() {
    let (node, program) = node();
    let fields = format!(
        "  - name: other\n    image: example.com/probed:1\n    imagePullPolicy: IfNotPresent\n    \
         command: [{program}, grpc, '9001']\n"
    );
    let shared = pod("shared", "[sleep, '23456']", &fields);
    let shared = shared.replace("spec:\n", "spec:\n  shareProcessNamespace: true\n");
    node.apply(&shared);
    turns(&node, "shared", "true");
    let args = [
        "debug",
        "shared",
        "--image=example.com/probed:1",
        "--image-pull-policy=IfNotPresent",
        "--target=main",
        "-c",
        "look",
        "--attach",
        "--",
        "ps",
    ];
    let outcome = node.cli(&args);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let ended = "{.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
    node.wait_value("pod/shared", ended, "0");
    let log = node.ok(&["logs", "shared", "-c", "look"]);
    for seen in ["sleep 23456", "grpc 9001", "kabuki-infra"] {
        assert!(log.contains(seen), "{seen}: {log}");
    }
}
