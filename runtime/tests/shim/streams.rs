//! Exec and attach.

use std::io::{Read, Write};

use kabuki_runtime::{AttachSpec, ExecSpec, ExecUser};

use super::pod::{TestPod, read_all, until};

fn shell(container: &str, script: &str) -> ExecSpec {
    ExecSpec {
        container: container.into(),
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ..ExecSpec::default()
    }
}

#[tokio::test]
async fn exec_has_three_streams_and_an_exit_code() {
    let mut pod = TestPod::start().await;
    let spec = pod.container("c", "sleep 1000");
    pod.run(spec).await;
    let exec = ExecSpec {
        stdin: true,
        stdout: true,
        stderr: true,
        env: vec!["WHO=me".into()],
        cwd: Some("/tmp".into()),
        user: Some(ExecUser {
            uid: 1234,
            gid: 99,
            supplemental_gids: vec![55],
        }),
        ..shell(
            "c",
            "read x; echo $x $WHO $(pwd) $(id -u) $(id -G); echo oops >&2; exit 9",
        )
    };
    let exec = pod.shim.exec(exec).await.unwrap();
    std::fs::File::from(exec.stdin.unwrap())
        .write_all(b"hello\n")
        .unwrap();
    assert_eq!(
        read_all(exec.stdout.unwrap()).await,
        "hello me /tmp 1234 99 55\n"
    );
    assert_eq!(read_all(exec.stderr.unwrap()).await, "oops\n");
    assert_eq!(pod.exec_exit(exec.exec_id).await.code, 9);
    pod.end().await;
}

#[tokio::test]
async fn exec_with_a_terminal_knows_its_size() {
    let mut pod = TestPod::start().await;
    let spec = pod.container("c", "sleep 1000");
    pod.run(spec).await;
    let exec = ExecSpec {
        tty: true,
        size: Some((31, 97)),
        ..shell("c", "tty; stty size; read x; stty size; exit 4")
    };
    let exec = pod.shim.exec(exec).await.unwrap();
    let terminal = exec.terminal.unwrap();
    let mut master = std::fs::File::from(terminal.try_clone().unwrap());
    let mut seen = String::new();
    while !seen.contains("31 97") {
        let mut buffer = [0; 256];
        let count = master.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    assert!(seen.contains("/dev/pts/"), "{seen}");
    kabuki_runtime::resize_terminal(&master, 10, 20).unwrap();
    master.write_all(b"\n").unwrap();
    drop(master);
    assert!(read_all(terminal).await.contains("10 20"));
    assert_eq!(pod.exec_exit(exec.exec_id).await.code, 4);
    pod.end().await;
}

#[tokio::test]
async fn many_execs_run_at_once() {
    let mut pod = TestPod::start().await;
    let spec = pod.container("c", "sleep 1000");
    pod.run(spec).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        let exec = ExecSpec {
            stdin: true,
            stdout: true,
            ..shell("c", &format!("read x; exit {number}"))
        };
        ids.push(pod.shim.exec(exec).await.unwrap());
    }
    for (number, mut exec) in ids.into_iter().enumerate().rev() {
        drop(exec.stdin.take());
        assert_eq!(pod.exec_exit(exec.exec_id).await.code, number as i32);
    }
    pod.end().await;
}

#[tokio::test]
async fn an_exec_that_cannot_run_is_an_error() {
    let pod = TestPod::start().await;
    let spec = pod.container("c", "sleep 1000");
    pod.run(spec).await;
    let exec = ExecSpec {
        args: vec!["nothing".into()],
        ..shell("c", "")
    };
    let error = pod.shim.exec(exec).await.unwrap_err().to_string();
    assert!(
        error.contains("nothing") && error.contains("not found"),
        "{error}"
    );
    pod.end().await;
}

#[tokio::test]
async fn attached_streams_carry_input_and_output_beside_the_log() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "while read line; do echo got $line; done; echo end");
    (spec.stdin, spec.stdin_once) = (true, true);
    pod.run(spec).await;
    let attach = AttachSpec {
        container: "c".into(),
        stdin: true,
        stdout: true,
        stderr: true,
    };
    let attached = pod.shim.attach(attach).await.unwrap();
    let mut stdin = std::fs::File::from(attached.stdin.unwrap());
    stdin.write_all(b"one\ntwo\n").unwrap();
    drop(stdin);
    assert_eq!(
        read_all(attached.stdout.unwrap()).await,
        "got one\ngot two\nend\n"
    );
    assert_eq!(pod.exit_of("c").await.code, 0);
    assert_eq!(pod.log_text("c"), "got one\ngot two\nend");
    pod.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "read x; yes 0123456789 | head -n 400000; echo last");
    spec.stdin = true;
    pod.run(spec).await;
    let attach = AttachSpec {
        container: "c".into(),
        stdin: true,
        stdout: true,
        stderr: false,
    };
    let attached = pod.shim.attach(attach).await.unwrap();
    std::fs::File::from(attached.stdin.unwrap())
        .write_all(b"go\n")
        .unwrap();
    assert_eq!(pod.exit_of("c").await.code, 0);
    let log = pod.log("c");
    assert_eq!((log.len(), log[400_000].1.as_str()), (400_001, "last"));
    assert!(read_all(attached.stdout.unwrap()).await.len() < 400_000 * 11);
    pod.end().await;
}

#[tokio::test]
async fn a_container_with_a_terminal_is_logged_and_attached_through_it() {
    let mut pod = TestPod::start().await;
    let mut spec = pod.container("c", "tty; read line; echo got $line; ls -l /dev/console");
    (spec.tty, spec.stdin) = (true, true);
    pod.run(spec).await;
    until("its first output", || pod.log_text("c").contains("/dev/")).await;
    let attach = AttachSpec {
        container: "c".into(),
        stdin: true,
        stdout: true,
        stderr: true,
    };
    let attached = pod.shim.attach(attach).await.unwrap();
    assert!(attached.tty && attached.stderr.is_none());
    std::fs::File::from(attached.stdin.unwrap())
        .write_all(b"hi\n")
        .unwrap();
    assert!(read_all(attached.stdout.unwrap()).await.contains("got hi"));
    assert_eq!(pod.exit_of("c").await.code, 0);
    assert!(pod.log_text("c").contains("got hi"));
    pod.end().await;
}
