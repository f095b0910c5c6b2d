//! Streams with containers through unmodified `kubectl`, over WebSocket and, as older clients do,
//! over SPDY.

use kabuki_tests::harness::{Daemon, Ended, busybox_archive, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

const WEB: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: httpd
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [httpd, -f, -v, -p, "8080", -h, /etc]
    ports: [{containerPort: 8080}]
  - name: echo
    image: busybox
    imagePullPolicy: IfNotPresent
    stdin: true
    command: [sh, -c, 'echo begin; while read line; do echo "got $line"; done']
"#;

/// Which protocol `kubectl` is told to use.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Over {
    WebSocket,
    Spdy,
}

const BOTH: [Over; 2] = [Over::WebSocket, Over::Spdy];

fn node_with_web() -> Daemon {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(WEB);
    node.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=30s"]);
    node
}

fn kubectl(node: &Daemon, over: Over, args: &[&str]) -> Command {
    let mut command = node.host().command("kubectl");
    let websockets = (over == Over::WebSocket).to_string();
    command
        .env("KUBECONFIG", node.data_dir().join("admin.kubeconfig"))
        .env("HOME", node.data_dir())
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", &websockets)
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", &websockets)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs `kubectl` with some input: its exit code, output and errors.
fn fed(mut command: Command, input: &str) -> (i32, String, String) {
    let mut process = command
        .stdin(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut stdin = process.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = process.wait_with_output().expect("kubectl ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn kubectl_runs_commands_with_input_output_and_exit_codes() {
    let node = node_with_web();
    for over in BOTH {
        let exec = |args: &[&str]| {
            let all = [&["exec", "-i", "web", "-c", "httpd", "--"], args].concat();
            kubectl(&node, over, &all)
        };
        let script = "cat; echo wrong >&2; exit 4";
        let (code, out, err) = fed(exec(&["sh", "-c", script]), "one\ntwo\n");
        assert_eq!((code, out.as_str()), (4, "one\ntwo\n"), "{over:?}: {err}");
        assert!(err.starts_with("wrong\n"), "{over:?}: {err}");
        assert!(err.contains("exit code 4"), "{over:?}: {err}");
        let (code, out, err) = fed(exec(&["seq", "1", "60000"]), "");
        assert_eq!((code, out.lines().count()), (0, 60_000), "{over:?}: {err}");
        let (code, _, err) = fed(exec(&["no-such-program"]), "");
        assert_ne!(code, 0, "{over:?}: {err}");
        let gone = kubectl(&node, over, &["exec", "gone", "--", "true"]);
        let (code, _, err) = fed(gone, "");
        assert_eq!(code, 1);
        assert!(err.contains("pods \"gone\" not found"), "{over:?}: {err}");
    }
}

#[test]
fn kubectl_gives_a_command_a_terminal() {
    let node = node_with_web();
    for over in BOTH {
        let mut script = node.host().command("script");
        let websockets = (over == Over::WebSocket).to_string();
        let inner =
            "kubectl exec -it web -c httpd -- sh -c 'test -t 0 && echo is a terminal; stty size'";
        script
            .env("KUBECONFIG", node.data_dir().join("admin.kubeconfig"))
            .env("HOME", node.data_dir())
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
            .args([
                "-qec",
                &format!("stty cols 123 rows 45; {inner}"),
                "/dev/null",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let output = script.output().expect("script runs");
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(out.contains("is a terminal"), "{over:?}: {out}");
    }
}

#[test]
fn kubectl_copies_files_both_ways() {
    let node = node_with_web();
    let dir = tempfile::tempdir().expect("a folder");
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    std::fs::write(&there, &bytes).expect("writes");
    let path = |path: &std::path::Path| path.to_str().expect("a path").to_string();
    for over in BOTH {
        for (from, to) in [
            (path(&there), "web:/tmp/copied".to_string()),
            ("web:/tmp/copied".to_string(), path(&back)),
        ] {
            let copy = kubectl(&node, over, &["cp", &from, &to, "-c", "httpd"]);
            let (code, _, err) = fed(copy, "");
            assert_eq!(code, 0, "{over:?}: {err}");
        }
        assert!(std::fs::read(&back).expect("reads") == bytes, "{over:?}");
        std::fs::remove_file(&back).expect("was there");
    }
}

#[test]
fn kubectl_forwards_ports_many_connections_at_once() {
    let node = node_with_web();
    for (over, port) in BOTH.into_iter().zip([18_081, 18_082]) {
        let ports = format!("{port}:8080");
        let mut forward = kubectl(&node, over, &["port-forward", "pod/web", &ports]);
        let mut forward = Ended(forward.spawn().expect("kubectl starts"));
        let mut lines = BufReader::new(forward.0.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a line").expect("text");
        assert_eq!(first, format!("Forwarding from 127.0.0.1:{port} -> 8080"));
        let url = format!("http://127.0.0.1:{port}/passwd");
        let curls: Vec<Child> = (0..16)
            .map(|_| {
                let mut curl = node.host().command("curl");
                let curl = curl.args(["-s", &url]).stdout(Stdio::piped());
                curl.spawn().expect("curl starts")
            })
            .collect();
        for curl in curls {
            let output = curl.wait_with_output().expect("curl ends");
            let body = String::from_utf8_lossy(&output.stdout);
            assert!(body.contains("root:x:0"), "{over:?}: {body}");
        }
    }
}

#[test]
fn kubectl_attaches_to_a_process_and_follows_its_log() {
    let node = node_with_web();
    for over in BOTH {
        let mut follow = kubectl(&node, over, &["logs", "-f", "web", "-c", "echo"]);
        let mut follow = Ended(follow.spawn().expect("kubectl starts"));
        let mut lines = BufReader::new(follow.0.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "begin");
        let word = format!("{over:?}");
        let mut attach = kubectl(&node, over, &["attach", "-i", "web", "-c", "echo"]);
        let mut attach = Ended(attach.stdin(Stdio::piped()).spawn().expect("starts"));
        let mut stdin = attach.0.stdin.take().expect("a pipe");
        stdin
            .write_all(format!("{word}\n").as_bytes())
            .expect("it reads");
        let got = format!("got {word}");
        let heard = lines.find(|l| l.as_ref().is_ok_and(|l| *l == got));
        assert!(heard.is_some(), "{over:?}");
    }
    let tail = kubectl(&node, BOTH[0], &["logs", "web", "-c", "echo", "--tail=1"]);
    assert_eq!(fed(tail, "").1, "got Spdy\n");
    let none = kubectl(&node, BOTH[0], &["logs", "web", "-c", "none"]);
    let (code, _, err) = fed(none, "");
    assert_eq!(code, 1);
    assert!(err.contains("none"), "{err}");
}

#[test]
fn a_client_that_vanishes_leaves_no_process_behind() {
    let node = node_with_web();
    for over in BOTH {
        let sleep = ["exec", "-i", "web", "-c", "httpd", "--", "sleep", "4242"];
        let mut exec = kubectl(&node, over, &sleep);
        let mut exec = Ended(exec.stdin(Stdio::piped()).spawn().expect("starts"));
        let sleeping = || {
            let list = ["exec", "web", "-c", "httpd", "--", "ps"];
            node.ok(&list).contains("sleep 4242")
        };
        until("the process runs", LIMIT, || sleeping().then_some(()));
        exec.0.kill().expect("it was there");
        until("the process is gone", LIMIT, || (!sleeping()).then_some(()));
    }
}

#[test]
fn requests_are_handed_on_to_a_port_of_a_pod() {
    let node = node_with_web();
    let base = "/api/v1/namespaces/default/pods";
    for name in ["web", "web:8080", "http:web:8080"] {
        let raw = format!("{base}/{name}/proxy/passwd");
        let (code, out, err) = fed(kubectl(&node, BOTH[0], &["get", "--raw", &raw]), "");
        assert_eq!(code, 0, "{err}");
        assert!(out.contains("root:x:0"), "{out}");
    }
    let raw = format!("{base}/web:8081/proxy/");
    let (code, _, err) = fed(kubectl(&node, BOTH[0], &["get", "--raw", &raw]), "");
    assert_eq!(code, 1, "{err}");
    // It does not speak TLS.
    for (name, why) in [
        ("https:web:8080", "error trying to reach the pod"),
        ("ftp:web:8080", "invalid pod request"),
    ] {
        let raw = format!("{base}/{name}/proxy/");
        let (_, _, err) = fed(kubectl(&node, BOTH[0], &["get", "--raw", &raw]), "");
        assert!(err.contains(why), "{err}");
    }
}

#[test]
fn a_plain_request_for_a_stream_is_refused_in_words() {
    let node = node_with_web();
    let raw = "/api/v1/namespaces/default/pods/web/exec?command=true&stdout=true&container=httpd";
    let (code, mut text) = (
        fed(kubectl(&node, BOTH[0], &["get", "--raw", raw]), ""),
        String::new(),
    );
    code.2.as_bytes().read_to_string(&mut text).expect("text");
    assert!(text.contains("Upgrade request required"), "{text}");
}
