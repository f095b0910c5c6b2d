//! Logs, commands, ports and images.

use crate::node::{IMAGE, TestNode, log_of, pod_ref};
use kabuki_protocol::node::{
    ExecRequest, FromNode, LogRequest, NodeRequest, Outcome, TerminalSize, ToNode,
};
use serde_json::json;

pub async fn logs_are_followed_cut_and_kept_of_the_last_instance() {
    let node = TestNode::start().await;
    node.run(
        "web",
        "echo one; echo two; sleep 1; echo three; exit 1",
        json!({}),
    );
    node.until_running("web").await;
    let follow = LogRequest {
        follow: true,
        ..log_of("web")
    };
    let (text, outcome) = node.stream(NodeRequest::Logs(follow)).await;
    assert_eq!(text, "one\ntwo\nthree\n");
    assert_eq!(outcome, Ok(Outcome::Complete));
    node.until("web", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    })
    .await;
    let tail = LogRequest {
        tail_lines: Some(1),
        previous: true,
        ..log_of("web")
    };
    assert_eq!(node.stream(NodeRequest::Logs(tail)).await.0, "three\n");
    let other = LogRequest {
        container: "no".to_string(),
        ..log_of("web")
    };
    let (_, refused) = node.stream(NodeRequest::Logs(other)).await;
    assert_eq!(
        refused,
        Err("container no is not valid for pod web".to_string())
    );
    node.remove().await;
}

fn exec(command: &[&str]) -> ExecRequest {
    ExecRequest {
        pod: pod_ref("web"),
        container: String::new(),
        command: command.iter().map(|s| s.to_string()).collect(),
        stdin: false,
        tty: false,
        size: None,
    }
}

pub async fn a_command_runs_with_its_input_output_and_code() {
    let node = TestNode::start().await;
    node.run("web", "exec sleep 1000", json!({}));
    node.until_running("web").await;
    let request = exec(&["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]);
    let (text, outcome) = node.stream(NodeRequest::Exec(request)).await;
    assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    assert_eq!(outcome, Ok(Outcome::Exited(3)));
    let request = ExecRequest {
        stdin: true,
        ..exec(&["/bin/wc", "-c"])
    };
    let mut stream = node
        .node()
        .open(NodeRequest::Exec(request))
        .await
        .expect("a stream");
    for chunk in [ToNode::Input("hello".into()), ToNode::EndOfInput] {
        stream.input.send(chunk).await.expect("taken");
    }
    let mut text = Vec::new();
    let outcome = loop {
        match stream.output.recv().await.expect("an end") {
            FromNode::Output(bytes) => text.extend(bytes),
            FromNode::Done(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(String::from_utf8_lossy(&text).trim(), "5");
    assert_eq!(outcome, Ok(Outcome::Exited(0)));
    let size = Some(TerminalSize {
        columns: 77,
        rows: 11,
    });
    let request = ExecRequest {
        tty: true,
        size,
        ..exec(&["/bin/sh", "-c", "test -t 1 && echo tty"])
    };
    let (text, outcome) = node.stream(NodeRequest::Exec(request)).await;
    assert_eq!(
        (text.as_str(), outcome),
        ("tty\r\n", Ok(Outcome::Exited(0)))
    );
    node.remove().await;
}

pub async fn a_port_is_forwarded() {
    let node = TestNode::start().await;
    node.run("web", "exec nc -ll -p 8080 -e /bin/echo served", json!({}));
    node.until_running("web").await;
    let request = || NodeRequest::PortForward {
        pod: pod_ref("web"),
        port: 8080,
    };
    let mut got = node.stream(request()).await;
    // The server may need a moment to listen.
    while got.1.is_err() {
        tokio::task::yield_now().await;
        got = node.stream(request()).await;
    }
    assert_eq!(got, ("served\n".to_string(), Ok(Outcome::Complete)));
    node.remove().await;
}

pub async fn images_are_listed_loaded_and_removed() {
    let node = TestNode::start().await;
    let mut stream = node
        .node()
        .open(NodeRequest::ImageList)
        .await
        .expect("a stream");
    let Some(FromNode::Images(images)) = stream.output.recv().await else {
        panic!("no images")
    };
    assert!(images[0].names.contains(&IMAGE.to_string()), "{images:?}");
    let mut stream = node
        .node()
        .open(NodeRequest::ImageLoad { name: None })
        .await
        .expect("a stream");
    stream
        .input
        .send(ToNode::Input("not an archive".into()))
        .await
        .expect("taken");
    stream.input.send(ToNode::EndOfInput).await.expect("taken");
    let mut refused = None;
    while let Some(chunk) = stream.output.recv().await {
        if let FromNode::Done(outcome) = chunk {
            refused = outcome.err();
        }
    }
    assert!(refused.is_some_and(|e| e.message.contains("archive")));
    let remove = NodeRequest::ImageRemove {
        reference: IMAGE.to_string(),
    };
    assert_eq!(node.stream(remove.clone()).await.1, Ok(Outcome::Complete));
    assert!(node.stream(remove).await.1.is_err());
    node.remove().await;
}
