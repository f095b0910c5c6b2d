//! Streams with containers, over WebSocket.

use super::{LIMIT, Way, object, refusal};
use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kabuki_tests::harness::{Daemon, busybox_archive};
use kube::api::{Api, AttachParams, EvictParams, LogParams, PostParams, TerminalSize};
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Starts a pod with a web server and a process that repeats what it is told.
fn node_with_web() -> Daemon {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    let container = |name: &str, script: &str| {
        json!({
            "name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent", "stdin": true,
            "command": ["sh", "-c", script],
        })
    };
    let web: Pod = object(json!({
        "metadata": {"name": "web"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            container("httpd", "exec httpd -f -p 8080 -h /etc"),
            container("echo", "echo begin; while read line; do echo \"got $line\"; done"),
        ]},
    }));
    Way::to(&node).with_client(|client| async move {
        let pods: Api<Pod> = Api::default_namespaced(client);
        pods.create(&PostParams::default(), &web).await?;
        let runs = await_condition(pods, "web", conditions::is_pod_running());
        let runs = tokio::time::timeout(LIMIT, runs).await;
        runs.expect("it runs in time").expect("it is watched");
        Ok(())
    });
    node
}

#[test]
fn commands_run_in_containers_with_input_output_status_and_terminal() {
    let node = node_with_web();
    Way::to(&node).with_client(|client| async move {
        let pods: Api<Pod> = Api::default_namespaced(client);
        let params = AttachParams::default().container("httpd").stdin(true);
        let script = [
            "sh",
            "-c",
            "read line; echo said $line; echo wrong >&2; exit 4",
        ];
        let mut process = pods.exec("web", script, &params).await?;
        let mut stdin = process.stdin().expect("asked for");
        stdin.write_all(b"this\n").await.expect("it reads");
        let (mut out, mut err) = (String::new(), String::new());
        let mut stdout = process.stdout().expect("asked for");
        let mut stderr = process.stderr().expect("asked for");
        let status = process.take_status().expect("asked for");
        stdout.read_to_string(&mut out).await.expect("text");
        stderr.read_to_string(&mut err).await.expect("text");
        assert_eq!((out.as_str(), err.as_str()), ("said this\n", "wrong\n"));
        let status = status.await.expect("it ended");
        assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
        process.join().await.expect("it ended well");

        let terminal = AttachParams::interactive_tty().container("httpd");
        let mut process = pods.exec("web", ["sh"], &terminal).await?;
        let mut size = process.terminal_size().expect("a terminal");
        let asked = TerminalSize {
            width: 123,
            height: 45,
        };
        futures::SinkExt::send(&mut size, asked)
            .await
            .expect("it is taken");
        let mut stdin = process.stdin().expect("asked for");
        let ask = b"until stty size | grep '45 123'; do :; done; exit\n";
        stdin.write_all(ask).await.expect("it reads");
        let mut out = String::new();
        let mut stdout = process.stdout().expect("asked for");
        stdout.read_to_string(&mut out).await.expect("text");
        assert!(out.contains("45 123\r\n"), "{out:?}");
        let none = pods.exec("none", ["true"], &AttachParams::default()).await;
        assert!(none.is_err());
        Ok(())
    });
}

#[test]
fn a_process_is_attached_to_and_its_log_followed() {
    let node = node_with_web();
    Way::to(&node).with_client(|client| async move {
        let pods: Api<Pod> = Api::default_namespaced(client);
        let follow = LogParams {
            follow: true,
            container: Some("echo".into()),
            ..LogParams::default()
        };
        let mut lines = pods.log_stream("web", &follow).await?.lines();
        let next = lines.next().await.expect("a line").expect("text");
        assert_eq!(next, "begin");
        let params = AttachParams::default().container("echo").stdin(true);
        let mut attached = pods.attach("web", &params).await?;
        let mut stdin = attached.stdin().expect("asked for");
        stdin.write_all(b"hello\n").await.expect("it reads");
        let mut stdout = attached.stdout().expect("asked for");
        let mut heard = [0; 10];
        stdout.read_exact(&mut heard).await.expect("it answers");
        assert_eq!(&heard, b"got hello\n");
        let next = lines.next().await.expect("a line").expect("text");
        assert_eq!(next, "got hello");
        let tail = LogParams {
            tail_lines: Some(1),
            container: Some("echo".into()),
            ..LogParams::default()
        };
        assert_eq!(pods.logs("web", &tail).await?, "got hello\n");
        Ok(())
    });
}

#[test]
fn ports_are_forwarded_and_a_pod_is_evicted() {
    let node = node_with_web();
    Way::to(&node).with_client(|client| async move {
        let pods: Api<Pod> = Api::default_namespaced(client);
        let mut forward = pods.portforward("web", &[8080]).await?;
        let mut stream = forward.take_stream(8080).expect("asked for");
        let ask = b"GET /passwd HTTP/1.0\r\n\r\n";
        stream.write_all(ask).await.expect("it is carried");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        assert!(answer.contains("root:x:0"), "{answer}");
        drop(stream);
        // The server closes when the pod's side has ended, the client when its own has: whoever
        // comes second may find it closed.
        if let Err(error) = forward.join().await {
            assert!(
                format!("{error:?}").contains("SendAfterClosing"),
                "{error:?}"
            );
        }

        let mut refused = pods.portforward("web", &[9999]).await?;
        let error = refused.take_error(9999).expect("asked for");
        let error = tokio::time::timeout(LIMIT, error).await.expect("in time");
        assert!(error.expect("an error").contains("9999"));

        pods.evict("web", &EvictParams::default()).await?;
        let gone = await_condition(pods.clone(), "web", |pod: Option<&Pod>| pod.is_none());
        let gone = tokio::time::timeout(LIMIT, gone).await;
        gone.expect("it goes in time").expect("it is watched");
        let again = pods.evict("web", &EvictParams::default()).await;
        assert_eq!(refusal(again), (404, "NotFound".into()));
        Ok(())
    });
}
