//! Who asks, and what it may do: certificates, tokens of service accounts, nobody; through
//! unmodified `kubectl` and `curl`, and through the CLI.

use kabuki_tests::harness::{Daemon, Host};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a command: its exit code, output and errors.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn kubectl(node: &Daemon, kubeconfig: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = node.host().command("kubectl");
    command
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", node.data_dir())
        .args(args);
    run(&mut command)
}

fn admin(node: &Daemon) -> PathBuf {
    node.data_dir().join("admin.kubeconfig")
}

/// Asks with a bearer token, or with nothing: the HTTP code and the body.
fn ask(node: &Daemon, token: Option<&str>, path: &str, more: &[&str]) -> (u16, String) {
    let header = token.map(|t| format!("Authorization: Bearer {t}"));
    let mut command = node.host().command("curl");
    command.args(["-sk", "-w", "\n%{http_code}"]).args(more);
    if let Some(header) = &header {
        command.args(["-H", header]);
    }
    let (_, out, err) = run(command.arg(format!("https://{}{path}", node.address())));
    let (body, code) = out.rsplit_once('\n').unwrap_or(("", &out));
    (
        code.parse().unwrap_or_else(|_| panic!("{out}{err}")),
        body.to_string(),
    )
}

/// A kubeconfig for a user, by the CLI.
fn kubeconfig(node: &Daemon, args: &[&str]) -> PathBuf {
    let text = node.ok(&[&["kubeconfig"], args].concat());
    let path = node.data_dir().join(format!("{}.kubeconfig", args[0]));
    std::fs::write(&path, text).expect("writes");
    path
}

#[test]
fn a_new_user_reads_and_an_administrator_does_everything() {
    let node = Daemon::start();
    let jane = kubeconfig(&node, &["jane", "--group", "dev", "--ttl", "1h"]);
    let (code, out, err) = kubectl(&node, &jane, &["auth", "whoami", "-o", "json"]);
    assert_eq!(code, 0, "{err}");
    let who: Value = serde_json::from_str(&out).expect("JSON");
    let user = &who["status"]["userInfo"];
    assert_eq!(user["username"], "jane");
    assert_eq!(
        user["groups"],
        serde_json::json!(["dev", "system:authenticated"])
    );
    for (line, may) in [
        (&["get", "pods"][..], true),
        (&["list", "deployments.apps"], true),
        (&["watch", "nodes"], true),
        (&["get", "pods", "--subresource=log"], true),
        (&["get", "secrets"], false),
        (&["create", "pods"], false),
        (&["create", "pods", "--subresource=exec"], false),
        (&["impersonate", "users"], false),
        (&["get", "/metrics"], true),
        (&["*", "*"], false),
    ] {
        let (code, out, err) = kubectl(&node, &jane, &[&["auth", "can-i"], line].concat());
        assert_eq!(
            (code == 0, out.trim() == "yes"),
            (may, may),
            "{line:?}: {out}{err}"
        );
        let file = jane.to_str().expect("a path");
        let own = node.cli(&[&["--kubeconfig", file, "auth", "can-i"], line].concat());
        assert_eq!(own.code == 0, may, "{line:?}: {own:?}");
        let (code, ..) = kubectl(&node, &admin(&node), &[&["auth", "can-i"], line].concat());
        assert_eq!(code, 0, "{line:?}");
    }
    let (code, _, err) = kubectl(&node, &jane, &["create", "configmap", "c"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("User \"jane\" cannot create resource \"configmaps\" in API group \"\" in the namespace \"default\""),
        "{err}"
    );
    let (code, ..) = kubectl(&node, &jane, &["get", "secrets"]);
    assert_eq!(code, 1);
    let ann = kubeconfig(&node, &["ann", "--group", "system:masters"]);
    assert_eq!(kubectl(&node, &ann, &["create", "configmap", "c"]).0, 0);
    let file = jane.to_str().expect("a path");
    let why = node.refused(&["--kubeconfig", file, "kubeconfig", "mallory"]);
    assert!(why.contains("secrets"), "{why}");
}

#[test]
fn an_administrator_acts_as_another_and_nobody_else_does() {
    let node = Daemon::start();
    let admin = admin(&node);
    let (_, out, _) = kubectl(
        &node,
        &admin,
        &[
            "auth",
            "whoami",
            "--as",
            "bob",
            "--as-group",
            "dev",
            "-o",
            "jsonpath={.status.userInfo.username}",
        ],
    );
    assert_eq!(out, "bob");
    let (code, _, err) = kubectl(&node, &admin, &["get", "secrets", "--as", "bob"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("User \"bob\" cannot list resource \"secrets\""),
        "{err}"
    );
    let jane = kubeconfig(&node, &["jane"]);
    let line = ["get", "pods", "--as", "ann", "--as-group", "system:masters"];
    let (code, _, err) = kubectl(&node, &jane, &line);
    assert_eq!(code, 1);
    assert!(
        err.contains("cannot impersonate resource \"users\""),
        "{err}"
    );
}

/// A node that logs all that it can.
fn talkative() -> Daemon {
    let mut node = Daemon::unstarted(Host::new());
    let program = node.data_dir().join("talkative");
    let script = "#!/bin/sh\nKABUKI_LOG=trace exec \"$@\"\n";
    std::fs::write(&program, script).expect("writes");
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, all).expect("sets the mode");
    node.run_through(&program);
    node.launch();
    node.wait_answering();
    node
}

#[test]
fn a_service_accounts_token_opens_the_api_until_the_account_goes() {
    let node = talkative();
    let admin = admin(&node);
    node.ok(&["create", "serviceaccount", "robot"]);
    let (code, token, err) = kubectl(
        &node,
        &admin,
        &["create", "token", "robot", "--duration=1h"],
    );
    assert_eq!(code, 0, "{err}");
    let token = token.trim();
    let own = node.ok(&["create", "token", "robot"]);
    for token in [token, own.trim()] {
        let (code, body) = ask(&node, Some(token), "/api/v1/namespaces/default/pods", &[]);
        assert_eq!(code, 200, "{body}");
    }
    let (code, body) = ask(&node, Some(token), "/api/v1/secrets", &[]);
    assert_eq!(code, 403);
    assert!(
        body.contains("system:serviceaccount:default:robot"),
        "{body}"
    );
    let review = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
    });
    let file = node.data_dir().join("review.json");
    std::fs::write(&file, review.to_string()).expect("writes");
    let file = file.to_str().expect("a path");
    let line = ["create", "--validate=false", "-f", file, "-o", "json"];
    let (code, out, err) = kubectl(&node, &admin, &line);
    assert_eq!(code, 0, "{err}");
    let review: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(review["status"]["authenticated"], true, "{out}");
    assert_eq!(
        review["status"]["user"]["username"],
        "system:serviceaccount:default:robot"
    );
    let elsewhere = node.ok(&["create", "token", "robot", "--audience", "vault"]);
    assert_eq!(ask(&node, Some(elsewhere.trim()), "/api", &[]).0, 401);
    node.ok(&["delete", "serviceaccount", "robot"]);
    assert_eq!(ask(&node, Some(token), "/api/v1/pods", &[]).0, 401);
    let log = node.log();
    assert!(
        log.contains("a bearer token is not believed"),
        "it is not talkative"
    );
    let signature = token.rsplit('.').next().expect("a signature");
    assert!(
        !log.contains(token) && !log.contains(signature),
        "a token is in the log"
    );
    assert!(!log.contains("PRIVATE KEY"), "a key is in the log");
}

#[test]
fn whoever_shows_nothing_sees_health_and_version_alone() {
    let node = Daemon::start();
    for path in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(ask(&node, None, path, &[]).0, 200, "{path}");
    }
    for path in [
        "/",
        "/api",
        "/apis",
        "/api/v1/pods",
        "/metrics",
        "/openapi/v3",
        "/livez/ping",
    ] {
        assert_eq!(ask(&node, None, path, &[]).0, 401, "{path}");
        assert_eq!(ask(&node, Some("a.b.c"), path, &[]).0, 401, "{path}");
    }
    assert_eq!(ask(&node, Some("a.b.c"), "/livez", &[]).0, 401);
    let as_admin = ["-H", "Impersonate-User: ann"];
    assert_eq!(ask(&node, None, "/version", &as_admin).0, 401);
}

#[test]
fn those_who_check_tokens_themselves_find_the_keys() {
    let node = Daemon::start();
    node.ok(&["create", "serviceaccount", "robot"]);
    let token = node.ok(&["create", "token", "robot"]);
    let (code, document) = ask(
        &node,
        Some(token.trim()),
        "/.well-known/openid-configuration",
        &[],
    );
    assert_eq!(code, 200, "{document}");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(
        document["issuer"],
        "https://kubernetes.default.svc.cluster.local"
    );
    let (code, keys) = ask(&node, Some(token.trim()), "/openid/v1/jwks", &[]);
    assert_eq!(code, 200, "{keys}");
    let keys: Value = serde_json::from_str(&keys).expect("JSON");
    assert_eq!(keys["keys"][0]["kty"], "EC");
    assert!(keys["keys"][0]["d"].is_null());
    assert_eq!(ask(&node, None, "/openid/v1/jwks", &[]).0, 401);
}
