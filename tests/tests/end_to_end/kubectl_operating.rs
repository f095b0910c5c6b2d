//! Unmodified `kubectl` as those use it who run a cluster: formats, folders, nodes, debugging.

use crate::kubectl::{fed, json, ok, ok_fed};
use kabuki_tests::harness::{Daemon, busybox_archive, until};
use serde_json::Value;
use std::time::Duration;

/// How long anything may take that is not under test itself.
const LIMIT: Duration = Duration::from_secs(60);

const MAPS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: first, labels: {app: shop}}
data: {size: '2'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: second, labels: {app: shop}}
data: {size: '1'}
";

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: httpd
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [httpd, -f, -p, '8080', -h, /etc]
        ports: [{name: http, containerPort: 8080}]
";

fn node_with_image() -> Daemon {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node
}

/// What `describe` says, with each run of blanks as one.
fn described(node: &Daemon, what: &[&str]) -> String {
    let text = ok(node, &[&["describe"], what].concat());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A node with two web servers that are ready.
fn node_with_web() -> Daemon {
    let node = node_with_image();
    ok_fed(&node, &["apply", "-f", "-"], WEB);
    let rolled = ["rollout", "status", "deployment/web", "--timeout=60s"];
    ok(&node, &rolled);
    node
}

#[test]
fn get_prints_every_format() {
    let node = Daemon::start();
    ok_fed(&node, &["create", "-f", "-"], MAPS);
    let get = |more: &[&str]| ok(&node, &[&["get", "cm", "-l", "app=shop"], more].concat());
    assert_eq!(get(&["-o", "name"]), "configmap/first\nconfigmap/second\n");
    let sorted = get(&["--sort-by", "{.data.size}", "--no-headers"]);
    let names: Vec<&str> = sorted
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(names, ["second", "first"]);
    assert_eq!(
        get(&["-o", "custom-columns=NAME:.metadata.name,SIZE:.data.size"]),
        "NAME     SIZE\nfirst    2\nsecond   1\n"
    );
    assert_eq!(get(&["-o", "jsonpath={.items[*].data.size}"]), "2 1");
    assert_eq!(
        get(&[
            "-o",
            "go-template={{range .items}}{{.metadata.name}} {{end}}"
        ]),
        "first second "
    );
    let as_json: Value =
        serde_json::from_str(&get(&["-o", "jsonpath-as-json={.items[0].data}"])).expect("JSON");
    assert_eq!(as_json[0]["size"], "2");
    let yaml: Value = serde_yaml_ng::from_str(&get(&["-o", "yaml"])).expect("YAML");
    assert_eq!(yaml["items"][1]["metadata"]["name"], "second");
    let managed = get(&["-o", "json", "--show-managed-fields"]);
    assert!(managed.contains("\"f:size\""), "{managed}");
    let wide = ok(&node, &["get", "nodes", "-o", "wide"]);
    let header = "NAME STATUS ROLES AGE VERSION INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION \
                  CONTAINER-RUNTIME";
    let words: Vec<&str> = wide
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    assert_eq!(words.join(" "), header);
    let all = ok(
        &node,
        &["get", "cm,ns", "-A", "--show-kind", "--show-labels"],
    );
    assert!(all.contains("configmap/first") && all.contains("namespace/kube-system"));
    let chunked = get(&["--chunk-size=1", "-o", "name"]);
    assert_eq!(chunked.lines().count(), 2);
    let none = fed(&node, &["get", "gadgets"], "");
    assert!(
        none.err
            .contains("the server doesn't have a resource type \"gadgets\""),
        "{none:?}"
    );
}

#[test]
fn a_kustomize_folder_is_shown_compared_applied_and_deleted() {
    let node = Daemon::start();
    let folder = node.data_dir().join("shop");
    std::fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("writes");
    write("maps.yaml", MAPS);
    write(
        "kustomization.yaml",
        "namePrefix: test-\n\
         resources: [maps.yaml]\n\
         labels: [{pairs: {tier: front}, includeSelectors: false}]\n\
         configMapGenerator: [{name: made, literals: [colour=red], options: {disableNameSuffixHash: true}}]\n\
         patches: [{target: {name: first}, patch: '[{\"op\": \"replace\", \"path\": \"/data/size\", \"value\": \"9\"}]'}]\n",
    );
    let folder = folder.to_str().expect("a path");
    let shown = ok(&node, &["kustomize", folder]);
    assert!(shown.contains("name: test-first"), "{shown}");
    let differs = fed(&node, &["diff", "-k", folder], "");
    assert_eq!(differs.code, 1, "{differs:?}");
    assert!(differs.out.contains("+  name: test-made"), "{differs:?}");
    ok(&node, &["apply", "-k", folder]);
    let again = ok(
        &node,
        &["apply", "--server-side", "--force-conflicts", "-k", folder],
    );
    assert_eq!(again.matches("serverside-applied").count(), 3, "{again}");
    let sizes = [
        "get",
        "cm",
        "-l",
        "tier=front",
        "-o",
        "jsonpath={.items[*].data}",
    ];
    let sizes = ok(&node, &sizes);
    assert_eq!(sizes, r#"{"size":"9"} {"colour":"red"} {"size":"1"}"#);
    assert_eq!(fed(&node, &["diff", "-k", folder], "").code, 0);
    ok(&node, &["delete", "-k", folder]);
    assert_eq!(
        ok(&node, &["get", "cm", "-l", "tier=front", "-o", "name"]),
        ""
    );
}

#[test]
fn a_node_is_described_tainted_drained_and_used_again() {
    let node = node_with_web();
    until("the node has a lease", LIMIT, || {
        let leases = ok(
            &node,
            &["get", "leases", "-n", "kube-node-lease", "-o", "name"],
        );
        (leases == "lease.coordination.k8s.io/n1\n").then_some(())
    });
    let described = described(&node, &["node", "n1"]);
    assert!(!described.contains("Failed to get lease"), "{described}");
    for part in [
        "Lease: HolderIdentity: n1 AcquireTime: <unset> RenewTime: ",
        "InternalIP: 127.0.0.1",
        "Non-terminated Pods: (2 in total)",
        "Allocated resources:",
    ] {
        assert!(described.contains(part), "{part}\n{described}");
    }
    let settings = json(&node, &["get", "--raw", "/api/v1/nodes/n1/proxy/configz"]);
    let settings = &settings["kubeletconfig"];
    assert_eq!(settings["maxPods"], 110, "{settings}");
    assert_eq!(settings["nodeLeaseDurationSeconds"], 40);
    assert_eq!(settings["nodeStatusUpdateFrequency"], "10s");
    ok(
        &node,
        &["taint", "node", "n1", "for=others:PreferNoSchedule"],
    );
    let key = "{.spec.taints[*].key}";
    assert_eq!(node.value("node/n1", key), "for");
    ok(&node, &["taint", "node", "n1", "for-"]);
    assert_eq!(node.value("node/n1", key), "");
    let uids = || {
        let uid = "jsonpath={.items[*].metadata.uid}";
        ok(&node, &["get", "pods", "-l", "app=web", "-o", uid])
    };
    let before = uids();
    let drained = ok(&node, &["drain", "n1", "--timeout=60s"]);
    assert!(drained.contains("node/n1 drained"), "{drained}");
    assert_eq!(drained.matches("evicted").count(), 2, "{drained}");
    let status = ok(&node, &["get", "node", "n1", "--no-headers"]);
    assert!(status.contains("SchedulingDisabled"), "{status}");
    let phases = "jsonpath={.items[*].status.phase}";
    until("those that replace them wait", LIMIT, || {
        let phases = ok(&node, &["get", "pods", "-l", "app=web", "-o", phases]);
        (phases == "Pending Pending").then_some(())
    });
    let after = uids();
    assert!(before.split(' ').all(|uid| !after.contains(uid)));
    ok(&node, &["uncordon", "n1"]);
    let rolled = ["rollout", "status", "deployment/web", "--timeout=60s"];
    ok(&node, &rolled);
}

#[test]
fn a_workload_is_exposed_changed_described_and_replaced() {
    let node = node_with_web();
    ok(
        &node,
        &[
            "expose",
            "deployment",
            "web",
            "--port=80",
            "--target-port=http",
        ],
    );
    let endpoints = "jsonpath={.subsets[*].addresses[*].targetRef.kind}";
    until("both are behind the service", LIMIT, || {
        (ok(&node, &["get", "endpoints", "web", "-o", endpoints]) == "Pod Pod").then_some(())
    });
    let service = described(&node, &["service", "web"]);
    assert!(service.contains("TargetPort: http/TCP"), "{service}");
    let raw = "/api/v1/namespaces/default/services/web:80/proxy/passwd";
    let body = ok(&node, &["get", "--raw", raw]);
    assert!(body.contains("root:x:0"), "{body}");
    ok(&node, &["set", "env", "deployment/web", "COLOUR=red"]);
    ok(
        &node,
        &["set", "resources", "deployment/web", "--requests=cpu=1m"],
    );
    let rolled = ["rollout", "status", "deployment/web", "--timeout=60s"];
    ok(&node, &rolled);
    let described = described(&node, &["pods", "-l", "app=web"]);
    for part in ["COLOUR: red", "QoS Class: Burstable", "Started"] {
        assert!(described.contains(part), "{part}\n{described}");
    }
    let events = ok(&node, &["events", "--for", "deployment/web"]);
    assert!(events.contains("ScalingReplicaSet"), "{events}");
    let mut web = json(&node, &["get", "deployment", "web", "-o", "json"]);
    web["spec"]["replicas"] = 1.into();
    let web = web.to_string();
    assert_eq!(
        ok_fed(&node, &["replace", "-f", "-"], &web),
        "deployment.apps/web replaced\n"
    );
    let stale = fed(&node, &["replace", "-f", "-"], &web);
    assert!(stale.err.contains("(Conflict)"), "{stale:?}");
    ok(
        &node,
        &[
            "wait",
            "--for=jsonpath={.status.replicas}=1",
            "deployment/web",
            "--timeout=60s",
        ],
    );
}

#[test]
fn things_are_created_by_their_own_words() {
    let node = Daemon::start();
    for (what, made) in [
        (&["namespace", "team"][..], "namespace/team created\n"),
        (
            &["serviceaccount", "robot"],
            "serviceaccount/robot created\n",
        ),
        (
            &["configmap", "c", "--from-literal=a=b"],
            "configmap/c created\n",
        ),
        (
            &["secret", "generic", "s", "--from-literal=a=b"],
            "secret/s created\n",
        ),
        (
            &["service", "clusterip", "web", "--tcp=80:8080"],
            "service/web created\n",
        ),
        (
            &["deployment", "web", "--image=web:1", "--replicas=0"],
            "deployment.apps/web created\n",
        ),
    ] {
        assert_eq!(ok(&node, &[&["create"], what].concat()), made);
    }
    assert_eq!(
        node.value("secret/s", "{.data.a}"),
        "Yg==",
        "as it is stored"
    );
    let info = ok(&node, &["cluster-info"]);
    assert!(info.contains("127.0.0.1:6443"), "{info}");
    let allowed = ok(&node, &["auth", "can-i", "--list"]);
    assert!(allowed.contains("*.*"), "{allowed}");
}

#[test]
fn a_pod_is_run_debugged_and_measured() {
    let node = node_with_image();
    let run = [
        "run",
        "web",
        "--image=busybox",
        "--image-pull-policy=IfNotPresent",
        "--",
        "httpd",
        "-f",
        "-p",
        "8080",
        "-h",
        "/etc",
    ];
    ok(&node, &run);
    ok(
        &node,
        &["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"],
    );
    let debug = [
        "debug",
        "web",
        "--image=busybox",
        "--image-pull-policy=IfNotPresent",
        "--target=web",
        "-c",
        "look",
        "--",
        "sh",
        "-c",
        "ps | grep -q '[h]ttpd' && echo sees its processes",
    ];
    ok(&node, &debug);
    until("the debugger has ended", LIMIT, || {
        let said = fed(&node, &["logs", "web", "-c", "look"], "");
        (said.out == "sees its processes\n").then_some(())
    });
    let described = described(&node, &["pod", "web"]);
    assert!(described.contains("Ephemeral Containers:"), "{described}");
    for (what, header) in [
        ("pods", "NAME CPU(cores) MEMORY(bytes)"),
        ("nodes", "NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)"),
    ] {
        let shown = until("it is measured", LIMIT, || {
            let top = fed(&node, &["top", what], "");
            (top.code == 0 && top.out.lines().count() == 2).then_some(top.out)
        });
        let words: Vec<&str> = shown
            .lines()
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        assert_eq!(words.join(" "), header);
    }
    ok(&node, &["delete", "pod", "web", "--now"]);
}
