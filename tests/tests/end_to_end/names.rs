//! Names, as pods ask for them.

#[path = "names/floods.rs"]
mod floods;

use kabuki_tests::harness::{Daemon, busybox_archive};

const SERVICES: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  clusterIP: None
  selector: {app: db}
  ports: [{name: sql, port: 5432}]
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, labels: {app: db}}
spec:
  hostname: first
  subdomain: db
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "1000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  dnsConfig: {options: [{name: timeout, value: "1"}]}
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "1000"]}
"#;

fn node() -> Daemon {
    let node = Daemon::start();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node.apply(SERVICES);
    for pod in ["pod/db-0", "pod/client"] {
        node.ok(&["wait", "--for=condition=Ready", pod, "--timeout=60s"]);
    }
    node
}

/// The addresses that a name has inside the pod `client`; asked until there are some.
fn found(node: &Daemon, name: &str) -> String {
    let script = format!(
        "for i in $(seq 50); do nslookup {name} > /tmp/found 2>&1 && break; sleep 0.1; done; \
         cat /tmp/found"
    );
    node.ok(&["exec", "client", "--", "sh", "-c", &script])
}

#[test]
fn pods_find_services_endpoints_and_aliases_by_name() {
    let node = node();
    let address = node.value("service/web", "{.spec.clusterIP}");
    // This nslookup goes through the search list with names of one label only.
    for name in ["web", "web.default.svc.cluster.local.", "alias"] {
        let shown = found(&node, name);
        assert!(shown.contains(&address), "{name}: {shown}");
    }
    let endpoint = node.value("pod/db-0", "{.status.podIP}");
    for name in ["db", "first.db.default.svc.cluster.local"] {
        let shown = found(&node, name);
        assert!(shown.contains(&endpoint), "{name}: {shown}");
    }
    let hosts = node.ok(&["exec", "db-0", "--", "cat", "/etc/hosts"]);
    let own = format!("{endpoint}\tfirst.db.default.svc.cluster.local\tfirst");
    assert!(hosts.contains(&own), "{hosts}");
    let file = node.ok(&["exec", "client", "--", "cat", "/etc/resolv.conf"]);
    assert!(file.starts_with("search default.svc.cluster.local svc.cluster.local cluster.local"));
    assert!(
        file.contains("nameserver 10.96.0.10\n") && file.contains("timeout:1"),
        "{file}"
    );
    let shown = node.ok(&["dns", "lookup", "web", "--from", "default/client"]);
    assert!(
        shown.contains(&address) && shown.contains("source: zone"),
        "{shown}"
    );
    let missing = node.cli(&["dns", "lookup", "none", "--from", "client"]);
    assert!(
        missing.code != 0 && missing.out.contains("NXDOMAIN"),
        "{missing:?}"
    );
}

#[test]
fn names_survive_the_actor_and_the_daemon() {
    let mut node = node();
    let address = node.value("service/web", "{.spec.clusterIP}");
    assert!(found(&node, "web").contains(&address));
    node.ok(&["actors", "--kill", "node/agent/names"]);
    // Nothing was down: the first question is answered.
    let shown = node.ok(&[
        "exec",
        "client",
        "--",
        "nslookup",
        "web.default.svc.cluster.local",
    ]);
    assert!(shown.contains(&address), "{shown}");
    node.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: later}\nspec: {clusterIP: 10.96.0.77, \
         ports: [{port: 1}]}\n",
    );
    assert!(found(&node, "later").contains("10.96.0.77"));
    node.kill();
    node.launch();
    node.wait_answering();
    assert!(found(&node, "web").contains(&address));
}
