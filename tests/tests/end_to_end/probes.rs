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

/// The lines of a program's log that tell of a request: when it came, and for which path.
fn arrivals(log: &str) -> Vec<(u64, &str)> {
    let lines = log.lines().filter_map(|line| {
        let (at, rest) = line.split_once(" GET ")?;
        Some((at.parse().ok()?, rest.split(' ').next()?))
    });
    lines.collect()
}

#[test]
fn probes_come_when_their_manifest_says_and_wait_no_longer() {
    let (node, program) = node();
    let probes = "    livenessProbe: {periodSeconds: 1, httpGet: {port: 8080, path: /live}}
    readinessProbe: {initialDelaySeconds: 3, periodSeconds: 5, httpGet: {port: 8080, path: /ready}}
";
    node.apply(&pod("timed", &format!("[{program}, http, '8080']"), probes));
    let hangs = "    readinessProbe: {timeoutSeconds: 3, periodSeconds: 1, failureThreshold: 2, httpGet: {port: 8080, path: /hang}}
";
    node.apply(&pod("hangs", &format!("[{program}, http, '8080']"), hangs));
    let log = until("it is asked twice", LIMIT, || {
        let log = node.cli(&["logs", "timed"]).out;
        (log.matches("/ready").count() == 2).then_some(log)
    });
    let came = arrivals(&log);
    let first = came.iter().position(|(_, path)| *path == "/ready");
    let first = first.expect("it is there");
    let second = came.len() - 1;
    assert!(
        first >= 1,
        "nothing came while readiness was put off: {log}"
    );
    // The program may have begun later than its container.
    assert!(came[first].0 >= 1_500, "{log}");
    assert!(
        second - first >= 3,
        "one comes each second, the other each five: {log}"
    );
    assert_eq!(is_ready(&node, "timed"), "true");
    // Whoever gets no answer goes after as long as it may wait, and that is a failure.
    let log = until("it has waited twice", LIMIT, || {
        let log = node.cli(&["logs", "hangs"]).out;
        (log.matches("waited").count() >= 2).then_some(log)
    });
    let waits = log.lines().filter_map(|l| l.strip_prefix("waited "));
    for wait in waits {
        let wait: u64 = wait.parse().expect("a number");
        assert!(wait >= 2_500, "{log}");
    }
    until("the failure is told", LIMIT, || {
        let told = node.ok(&["describe", "pod", "hangs"]);
        (told.contains("Readiness probe failed: Get") && told.contains("context deadline exceeded"))
            .then_some(())
    });
    assert_eq!(is_ready(&node, "hangs"), "false");
}

#[test]
fn probes_go_to_the_host_that_they_name() {
    let (node, program) = node();
    node.apply(&pod("asked", &format!("[{program}, http, '8080']"), ""));
    turns(&node, "asked", "true");
    let ip = node.value("pod/asked", "{.status.podIP}");
    // Nobody listens in these pods.
    let by_tcp = format!("tcpSocket: {{host: {ip}, port: 8080}}");
    let by_http = format!("httpGet: {{host: {ip}, port: 8080, path: /elsewhere}}");
    for (name, action) in [("by-tcp", by_tcp), ("by-http", by_http)] {
        let probe = format!("    readinessProbe: {{periodSeconds: 1, {action}}}\n");
        node.apply(&pod(name, "[sleep, '1000']", &probe));
        turns(&node, name, "true");
    }
    assert!(node.ok(&["logs", "asked"]).contains("GET /elsewhere"));
}

#[test]
fn a_port_of_the_node_speaks_the_protocol_that_it_has() {
    let (node, program) = node();
    let ports = "    ports: [{containerPort: 9000, hostPort: 19000, protocol: UDP}]\n";
    node.apply(&pod("echoes", &format!("[{program}, udp, '9000']"), ports));
    turns(&node, "echoes", "true");
    let ask = "exec 3<>/dev/udp/10.244.0.1/19000; echo heard >&3; timeout 1 head -n1 <&3";
    let said = until("the node's port answers", LIMIT, || {
        let output = node.host().command("bash").args(["-c", ask]).output();
        let said = String::from_utf8_lossy(&output.ok()?.stdout).into_owned();
        (!said.is_empty()).then_some(said)
    });
    assert_eq!(said, "heard\n");
}

#[test]
fn requests_are_handed_on_over_tls_to_pods_and_services() {
    let (node, program) = node();
    let labelled = pod(
        "asked",
        &format!("[{program}, https, '8443']"),
        "    ports: [{name: web, containerPort: 8443}]\n",
    )
    .replace("{name: asked}", "{name: asked, labels: {app: asked}}");
    node.apply(&labelled);
    node.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: asked}\nspec:\n  selector: {app: asked}\n  \
         ports: [{name: tls, port: 443, targetPort: web}]\n",
    );
    turns(&node, "asked", "true");
    let raw = |what: &str| {
        let path = format!("/api/v1/namespaces/default/{what}");
        crate::kubectl::fed(&node, &["get", "--raw", &path], "")
    };
    let hears = |what: &str| {
        until("the program is asked", LIMIT, || {
            node.ok(&["logs", "asked"]).contains(what).then_some(())
        });
    };
    for (n, name) in ["https:asked:8443", "https:asked:web", "https:asked:"]
        .iter()
        .enumerate()
    {
        let answer = raw(&format!("pods/{name}/proxy/way{n}?x=1"));
        assert_eq!(answer.code, 0, "{name}: {answer:?}");
        hears(&format!("GET /way{n}?x=1 asked:8443"));
    }
    until("the service has its pod", LIMIT, || {
        let answer = raw("services/https:asked:tls/proxy/service");
        (answer.code == 0).then_some(())
    });
    hears("GET /service asked:8443");
    assert_eq!(raw("services/https:asked:443/proxy/number").code, 0);
    hears("GET /number ");
    let plain = raw("pods/http:asked:8443/proxy/plain");
    assert!(
        plain.err.contains("error trying to reach the pod"),
        "{plain:?}"
    );
    assert!(!node.ok(&["logs", "asked"]).contains("/plain"));
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
