//! Fields of a pod, each by what it does inside the pod that runs.

use super::pod::node_with_busybox;
use base64::Engine;
use kabuki_tests::harness::{Daemon, until};
use serde_json::Value;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn sh(node: &Daemon, pod: &str, script: &str) -> String {
    node.ok(&["exec", pod, "-c", "main", "--", "sh", "-c", script])
}

fn ready(node: &Daemon, name: &str) {
    let pod = format!("pod/{name}");
    node.ok(&["wait", "--for=condition=Ready", &pod, "--timeout=60s"]);
}

const TOLD: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: green, "app.conf": "a=1"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hunter2, other: hidden}
---
apiVersion: v1
kind: Pod
metadata: {name: told, labels: {app: told}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  hostname: stage
  subdomain: theatre
  setHostnameAsFQDN: true
  hostAliases: [{ip: 10.1.2.3, hostnames: [db.example, db]}]
  dnsPolicy: None
  dnsConfig: {nameservers: [10.9.8.7], searches: [a.example], options: [{name: ndots, value: "3"}, {name: rotate}]}
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c]
    args: ['echo "$0 $1" > /tmp/words; exec sleep 1000', first, $(FIRST)]
    workingDir: /var/made
    env:
    - {name: FIRST, value: one}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {containerName: other, resource: requests.cpu, divisor: 1m}}}
    - {name: LABEL, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: "metadata.labels['app']"}}}
    - {name: NOTHING, valueFrom: {configMapKeyRef: {name: settings, key: lacking, optional: true}}}
    - {name: HIDDEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
    - {name: NOBODY, valueFrom: {secretKeyRef: {name: lacking, key: k, optional: true}}}
    envFrom:
    - {prefix: SET_, configMapRef: {name: settings}}
    - {secretRef: {name: lacking, optional: true}}
    - {configMapRef: {name: lacking, optional: true}}
    resources: {limits: {memory: 64Mi}}
    securityContext: {allowPrivilegeEscalation: false}
    volumeMounts:
    - {name: keys, mountPath: /keys}
    - {name: none, mountPath: /none}
    - {name: made, mountPath: /made}
    - {name: shared, mountPath: /open}
    - {name: shared, mountPath: /closed, readOnly: true}
    - {name: about, mountPath: /about}
    - {name: token, mountPath: /token}
  - name: other
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sleep, '1000']
    resources: {requests: {cpu: 250m}}
  volumes:
  - {name: keys, secret: {secretName: keys, items: [{key: token, path: deep/token, mode: 0400}]}}
  - {name: none, secret: {secretName: lacking, optional: true}}
  - {name: made, hostPath: {path: MADE, type: DirectoryOrCreate}}
  - {name: shared, emptyDir: {}}
  - name: about
    downwardAPI:
      defaultMode: 0400
      items:
      - {path: name, fieldRef: {fieldPath: metadata.name}}
      - {path: namespace, mode: 0444, fieldRef: {fieldPath: metadata.namespace}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 900}}]}}
"#;

/// How long a token is good for.
fn lives_s(token: &str) -> i64 {
    let claims = token.split('.').nth(1).expect("three parts");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims);
    let claims = serde_json::from_slice::<Value>(&claims.expect("base64")).expect("JSON");
    let time = |name: &str| claims[name].as_i64().expect("a time");
    time("exp") - time("iat")
}

#[test]
fn what_a_container_is_told_is_what_it_has() {
    let node = node_with_busybox();
    let made = node.data_dir().join("made-by-the-node");
    node.apply(&TOLD.replace("MADE", &made.display().to_string()));
    ready(&node, "told");
    let sh = |script: &str| sh(&node, "told", script);
    assert_eq!(sh("cat /tmp/words; pwd"), "first one\n/var/made\n");
    assert_eq!(
        sh("echo $MEMORY $CPU $LABEL $SET_COLOUR $HIDDEN ${NOTHING-unset} ${NOBODY-unset}"),
        "64 250 told green hunter2 unset unset\n"
    );
    assert_eq!(
        sh(
            "find /keys/deep/ -type l -o -type f; cat /keys/deep/token; stat -Lc ' %a' /keys/deep/token; ls /none"
        ),
        "/keys/deep/token\nhunter2 400\n"
    );
    assert_eq!(sh("ls /keys"), "deep\n", "what no item names is not there");
    assert_eq!(
        sh("echo x > /open/f; cat /closed/f; (echo y > /closed/f) 2>/dev/null || echo closed"),
        "x\nclosed\n"
    );
    assert_eq!(
        sh("cd /about; cat name; stat -Lc ' %a' name; cat namespace; stat -Lc ' %a' namespace"),
        "told 400\ndefault 444\n"
    );
    assert_eq!(lives_s(&sh("cat /token/token")), 900);
    sh("echo here > /made/f");
    assert_eq!(
        std::fs::read_to_string(made.join("f")).expect("there"),
        "here\n"
    );
    assert_eq!(
        sh("grep db.example /etc/hosts"),
        "10.1.2.3\tdb.example\tdb\n"
    );
    assert_eq!(
        sh("cat /etc/resolv.conf"),
        "search a.example\nnameserver 10.9.8.7\noptions ndots:3 rotate\n"
    );
    assert_eq!(
        sh(
            "cat /proc/sys/kernel/hostname; grep -c stage.theatre.default.svc.cluster.local /etc/hosts"
        ),
        "stage.theatre.default.svc.cluster.local\n1\n"
    );
    assert_eq!(sh("grep NoNewPrivs /proc/1/status"), "NoNewPrivs:\t1\n");
    assert_eq!(sh("ls /var/run/secrets 2>/dev/null || echo none"), "none\n");
    assert_eq!(
        sh("echo $KUBERNETES_SERVICE_PORT"),
        "443\n",
        "links to services"
    );
}

fn pod(name: &str, fields: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  \
         terminationGracePeriodSeconds: 20\n{fields}  containers:\n  - name: main\n    \
         image: busybox\n    imagePullPolicy: IfNotPresent\n{container}"
    )
}

#[test]
fn ends_are_judged_by_rules_deadlines_and_signals() {
    let node = node_with_busybox();
    let keep = node.data_dir().display().to_string();
    let volume = format!("  volumes: [{{name: keep, hostPath: {{path: {keep}}}}}]\n");
    let mounts = "    volumeMounts: [{name: keep, mountPath: /keep}]\n";
    // The pod never restarts, but this container does, for this code.
    let rules = "    command: [sh, -c, 'if [ -e /keep/again ]; then exit 3; fi; touch /keep/again; exit 42']
    restartPolicy: Never
    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
";
    node.apply(&pod(
        "ruled",
        &format!("{volume}  restartPolicy: Never\n"),
        &format!("{rules}{mounts}"),
    ));
    node.wait_value("pod/ruled", "{.status.phase}", "Failed");
    let status = "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(node.value("pod/ruled", status), "1 3");
    let late = "    command: [sleep, '1000']\n";
    let fields = "  activeDeadlineSeconds: 2\n  terminationGracePeriodSeconds: 1\n";
    node.apply(&pod("late", fields, late).replacen("  terminationGracePeriodSeconds: 20\n", "", 1));
    // The reason is told at once, the phase when the containers have ended.
    node.wait_value("pod/late", "{.status.phase}", "Failed");
    assert_eq!(
        node.value("pod/late", "{.status.reason}"),
        "DeadlineExceeded"
    );
    // It has as long as its manifest says.
    let stubborn = "    command: [sh, -c, 'trap \"\" TERM; while :; do sleep 1; done']\n";
    node.apply(&pod("stubborn", "", stubborn).replace("Seconds: 20", "Seconds: 3"));
    ready(&node, "stubborn");
    let begun = Instant::now();
    node.ok(&["delete", "pod", "stubborn", "--wait=false"]);
    let grace = "{.metadata.deletionGracePeriodSeconds}";
    assert_eq!(node.value("pod/stubborn", grace), "3");
    until("it is gone", LIMIT, || {
        (node.cli(&["get", "pod", "stubborn"]).code != 0).then_some(())
    });
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let signalled = "    command: [sh, -c, 'trap \"echo usr1 > /keep/signal; exit 0\" USR1; while :; do sleep 0.05; done']
    lifecycle: {stopSignal: SIGUSR1}
";
    let fields = format!("{volume}  os: {{name: linux}}\n");
    node.apply(&pod("signalled", &fields, &format!("{signalled}{mounts}")));
    ready(&node, "signalled");
    node.ok(&["delete", "pod", "signalled"]);
    let heard = std::fs::read_to_string(node.data_dir().join("signal"));
    assert_eq!(heard.expect("the signal"), "usr1\n");
}

#[test]
fn a_gate_holds_readiness_back_until_somebody_opens_it() {
    let node = node_with_busybox();
    let gate = "  readinessGates: [{conditionType: example.com/open}]\n";
    node.apply(
        &pod("gated", gate, "    command: [sleep, '1000']\n").replace("Seconds: 20", "Seconds: 0"),
    );
    node.wait_value("pod/gated", "{.status.containerStatuses[0].ready}", "true");
    let condition = "{.status.conditions[?(@.type==\"Ready\")].status} {.status.conditions[?(@.type==\"Ready\")].reason}";
    node.wait_value("pod/gated", condition, "False ReadinessGatesNotReady");
    let opened = r#"{"status": {"conditions": [{"type": "example.com/open", "status": "True"}]}}"#;
    node.ok(&[
        "patch",
        "pod",
        "gated",
        "--subresource=status",
        "-p",
        opened,
    ]);
    ready(&node, "gated");
}

#[test]
fn root_is_kept_out_of_a_pod_that_forbids_it() {
    let node = node_with_busybox();
    let forbids = "  securityContext: {runAsNonRoot: true}\n";
    node.apply(&pod("rootless", forbids, "    command: [sleep, '1000']\n"));
    let waiting = "{.status.containerStatuses[0].state.waiting";
    let reason = format!("{waiting}.reason}}");
    node.wait_value("pod/rootless", &reason, "CreateContainerConfigError");
    let message = node.value("pod/rootless", &format!("{waiting}.message}}"));
    assert!(
        message.contains("container has runAsNonRoot and image will run as root"),
        "{message}"
    );
    let other = "  securityContext: {runAsNonRoot: true, runAsUser: 7, fsGroup: 9, fsGroupChangePolicy: OnRootMismatch}
  volumes: [{name: v, emptyDir: {}}]
";
    let mounts = "    command: [sleep, '1000']\n    volumeMounts: [{name: v, mountPath: /v}]\n";
    node.apply(&pod("other", other, mounts).replace("Seconds: 20", "Seconds: 0"));
    ready(&node, "other");
    assert_eq!(sh(&node, "other", "id -u; stat -c %g /v"), "7\n9\n");
}

#[test]
fn ports_of_the_node_lead_to_the_pod() {
    let node = node_with_busybox();
    let serves = "    command: [sh, -c, 'mkdir /www; echo here > /www/index.html; exec httpd -f -p 8080 -h /www']
    ports: [{containerPort: 8080, hostPort: 18080, name: web, protocol: TCP}]
    readinessProbe: {periodSeconds: 1, tcpSocket: {port: web}}
";
    node.apply(&pod("served", "", serves).replace("Seconds: 20", "Seconds: 0"));
    ready(&node, "served");
    // The node's address on the pods' bridge is one of its own, as all others.
    let url = "http://10.244.0.1:18080/";
    let asked = until("the node's port answers", LIMIT, || {
        let output = node
            .host()
            .command("/bin/busybox")
            .args(["wget", "-qO-", url])
            .output();
        output.ok().filter(|o| o.status.success())
    });
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "here\n");
}
