//! A Deployment's life.

use kabuki_runtime::image::ImageConfig;
use kabuki_tests::harness::{Daemon, Registry, busybox_archive, image_archive, program};

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox
        imagePullPolicy: IfNotPresent
        command: ["httpd", "-f", "-p", "8080", "-h", "/etc"]
        env:
        - {name: COLOUR, value: green}
"#;

#[test]
fn a_deployment_runs_scales_rolls_and_goes() {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    assert_eq!(node.apply(WEB), "deployment.apps/web created\n");
    node.ok(&["rollout", "status", "deployment/web", "--timeout=30s"]);
    node.wait_value("deployment/web", "{.status.readyReplicas}", "2");
    assert_eq!(node.apply(WEB), "deployment.apps/web unchanged\n");

    // Pods answer the node.
    let address = node.ok(&[
        "get",
        "pods",
        "-l",
        "app=web",
        "-o",
        "jsonpath={.items[0].status.podIP}",
    ]);
    let url = format!("http://{address}:8080/passwd");
    assert!(node.host().run("curl", &["-s", &url]).contains("root"));

    node.ok(&["scale", "deployment/web", "--replicas=4"]);
    node.wait_value("deployment/web", "{.status.readyReplicas}", "4");

    let blue = WEB
        .replace("green", "blue")
        .replace("replicas: 2", "replicas: 3");
    assert_eq!(node.apply(&blue), "deployment.apps/web configured\n");
    node.ok(&["rollout", "status", "deployment/web", "--timeout=30s"]);
    node.wait_value("deployment/web", "{.status.updatedReplicas}", "3");
    let colour = node.ok(&["exec", "deployment/web", "--", "sh", "-c", "echo $COLOUR"]);
    assert_eq!(colour, "blue\n");

    node.ok(&["rollout", "undo", "deployment/web"]);
    node.ok(&["rollout", "status", "deployment/web", "--timeout=30s"]);
    let colour = node.ok(&["exec", "deployment/web", "--", "sh", "-c", "echo $COLOUR"]);
    assert_eq!(colour, "green\n");

    node.ok(&["delete", "deployment/web"]);
    node.ok(&[
        "wait",
        "--for=delete",
        "pods",
        "-l",
        "app=web",
        "--timeout=30s",
    ]);
    let left = node.cli(&["get", "replicasets,pods"]);
    assert!(left.err.contains("No resources found"), "{left:?}");
}

#[test]
fn a_real_server_comes_from_a_registry_that_asks_for_a_login() {
    let node = Daemon::start();
    let registry = Registry::start(node.host(), 5000, Some(("jo", "secret")));
    let config = ImageConfig {
        entrypoint: vec!["/usr/bin/redis-server".to_string()],
        cmd: vec![
            "--save".to_string(),
            String::new(),
            "--protected-mode".to_string(),
            "no".to_string(),
        ],
        ..ImageConfig::default()
    };
    let files = program("/usr/bin/redis-server");
    let archive = image_archive(node.data_dir(), "example.com/redis:7", files, config);
    let image = registry.push(node.host(), &archive, "shop/redis:7");
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: cache}}\nspec:\n  imagePullSecrets: [{{name: login}}]\n  \
         containers:\n  - {{name: redis, image: {image}}}\n"
    );
    node.apply(&manifest);
    // Without the secret the registry refuses.
    let path = "{.status.containerStatuses[0].state.waiting.reason}";
    kabuki_tests::harness::until(
        "the pull is refused",
        std::time::Duration::from_secs(30),
        || node.value("pod/cache", path).contains("Pull").then_some(()),
    );
    node.ok(&[
        "create",
        "secret",
        "docker-registry",
        "login",
        "--docker-server=127.0.0.1:5000",
        "--docker-username=jo",
        "--docker-password=secret",
    ]);
    node.ok(&["delete", "pod", "cache"]);
    node.apply(&manifest);
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/cache",
        "--timeout=30s",
    ]);
    let log = node.ok(&["logs", "cache"]);
    assert!(log.contains("Ready to accept connections"), "{log}");
}
