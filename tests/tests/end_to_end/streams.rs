//! What flows between a person's terminal and a container.

use kabuki_tests::harness::{Daemon, busybox_archive, until};
use std::io::{BufRead, BufReader};
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
  - name: echo
    image: busybox
    imagePullPolicy: IfNotPresent
    stdin: true
    command: [sh, -c, 'echo begin; while read line; do echo "got $line"; done']
"#;

fn node_with_web() -> Daemon {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(WEB);
    node.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=30s"]);
    node
}

/// Ends a process that was started for a test, also when the test fails.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Ended {
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ended(command.spawn().expect("the CLI starts"))
}

#[test]
fn a_forwarded_port_reaches_the_pod() {
    let node = node_with_web();
    let mut forward = start(&mut node.command(&["port-forward", "pod/web", "18080:8080"]));
    let mut lines = BufReader::new(forward.0.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert_eq!(first, "Forwarding from 127.0.0.1:18080 -> 8080");
    for _ in 0..5 {
        let body = node
            .host()
            .run("curl", &["-s", "http://127.0.0.1:18080/passwd"]);
        assert!(body.contains("root:x:0"), "{body}");
    }
}

#[test]
fn files_are_copied_both_ways() {
    let node = node_with_web();
    let dir = tempfile::tempdir().expect("a folder");
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n * 7 % 251) as u8).collect();
    std::fs::write(&there, &bytes).expect("writes");
    let there = there.to_str().expect("a path");
    node.ok(&["cp", there, "web:/tmp/copied", "-c", "httpd"]);
    let size = node.ok(&[
        "exec",
        "web",
        "-c",
        "httpd",
        "--",
        "stat",
        "-c",
        "%s",
        "/tmp/copied",
    ]);
    assert_eq!(size, "300000\n");
    node.ok(&[
        "cp",
        "web:/tmp/copied",
        back.to_str().expect("a path"),
        "-c",
        "httpd",
    ]);
    assert_eq!(std::fs::read(&back).expect("reads"), bytes);
}

#[test]
fn a_command_gets_a_terminal_input_and_its_exit_code() {
    let node = node_with_web();
    // Input through a pipe.
    let mut piped = node.command(&[
        "exec",
        "-i",
        "web",
        "-c",
        "httpd",
        "--",
        "sh",
        "-c",
        "cat; exit 4",
    ]);
    let mut piped = piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = piped.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, b"one\ntwo\n").expect("writes");
    drop(stdin);
    let output = piped.wait_with_output().expect("ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\ntwo\n");
    assert_eq!(output.status.code(), Some(4));
    // A terminal, which `script` provides.
    let program = kabuki_tests::harness::kabuki();
    let shell = format!(
        "stty rows 33 cols 77; {} exec -it web -c httpd -- sh -c 'tty; stty size; exit 6'",
        program.display()
    );
    let output = node
        .host()
        .command("script")
        .args(["-qec", &shell, "/dev/null"])
        .env("KABUKI_DATA_DIR", node.data_dir())
        .stdin(Stdio::null())
        .output()
        .expect("script runs");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("/dev/pts/"), "{shown}");
    assert!(shown.contains("33 77"), "{shown}");
    assert_eq!(output.status.code(), Some(6), "{shown}");
}

#[test]
fn logs_are_followed_and_selected() {
    let node = node_with_web();
    let args = ["logs", "-f", "web", "-c", "echo"];
    let mut follow = start(&mut node.command(&args));
    let mut lines = BufReader::new(follow.0.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "begin");
    // What is said to the attached process comes out of its log.
    let attach = ["attach", "-i", "web", "-c", "echo"];
    let mut attach = node.command(&attach);
    let mut attach = attach
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    let mut stdin = attach.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut stdin, b"hello\n").expect("writes");
    assert_eq!(lines.next().expect("a line").expect("text"), "got hello");
    let _ = attach.kill();
    let _ = attach.wait();
    until("the tail shows the last line", LIMIT, || {
        let tail = node.ok(&["logs", "web", "-c", "echo", "--tail=1"]);
        (tail == "got hello\n").then_some(())
    });
    let all = node.ok(&["logs", "-l", "app=web", "--all-containers", "--prefix"]);
    assert!(all.contains("[pod/web/echo] begin"), "{all}");
    let stamped = node.ok(&["logs", "web", "-c", "echo", "--timestamps", "--tail=1"]);
    assert!(
        stamped.starts_with("20") && stamped.contains("Z got hello"),
        "{stamped}"
    );
    let wrong = node.refused(&["logs", "web", "-c", "nope"]);
    assert!(wrong.contains("nope"), "{wrong}");
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let node = node_with_web();
    let script = "sleep 4711 & wait";
    let mut exec =
        start(&mut node.command(&["exec", "web", "-c", "httpd", "--", "sh", "-c", script]));
    let sleeping = || {
        let list = node.ok(&["exec", "web", "-c", "httpd", "--", "ps"]);
        list.contains("sleep 4711")
    };
    until("the command runs", LIMIT, || sleeping().then_some(()));
    let _ = exec.0.kill();
    let _ = exec.0.wait();
    until("the command has ended with its client", LIMIT, || {
        let list = node.ok(&["exec", "web", "-c", "httpd", "--", "ps"]);
        (!list.contains("wait")).then_some(())
    });
}
