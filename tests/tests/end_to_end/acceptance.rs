//! The widest Deployment of the lessons, with each of its fields seen in the pods that run.

use super::pod::node_with_busybox;
use kabuki_tests::harness::{Daemon, until};
use std::time::Duration;

const MANIFEST: &str = include_str!("acceptance/example-deploy.yaml");
const LIMIT: Duration = Duration::from_secs(60);

/// The objects that it names, and a node with its label.
fn prepare(node: &Daemon) {
    node.ok(&["label", "node", "--all", "disktype=ssd"]);
    for (kind, name, entry) in [
        ("configmap", "app-config", "app.json={}"),
        ("configmap", "global-config", "GLOBAL=yes"),
        ("secret", "global-secret", "HIDDEN=no"),
        ("secret", "my-secret", "key=value"),
    ] {
        let kind: &[&str] = match kind {
            "secret" => &["secret", "generic"],
            other => &[other],
        };
        let literal = format!("--from-literal={entry}");
        node.ok(&[&["create"], kind, &[name, &literal]].concat());
    }
}

fn names(node: &Daemon) -> Vec<String> {
    let path = "jsonpath={.items[*].metadata.name}";
    let names = node.ok(&["get", "pods", "-l", "app=example", "-o", path]);
    names.split_whitespace().map(str::to_string).collect()
}

#[test]
fn the_widest_deployment_of_the_lessons_runs() {
    let node = node_with_busybox();
    prepare(&node);
    node.apply(MANIFEST);
    let started = "jsonpath={.items[*].status.containerStatuses[0].state.running.startedAt}";
    until("three pods run", LIMIT, || {
        let started = node.ok(&["get", "pods", "-l", "app=example", "-o", started]);
        (started.split_whitespace().count() == 3).then_some(())
    });
    for name in names(&node) {
        in_the_container(&node, &name);
        in_the_cgroup(&node, &name);
        in_the_status(&node, &name);
    }
    let done = [
        "rollout",
        "status",
        "deployment/example-deploy",
        "--timeout=60s",
    ];
    node.ok(&done);
    for name in names(&node) {
        // All of its probes have answered, and the hook has been run.
        let ready =
            "{.status.containerStatuses[0].ready} {.status.containerStatuses[0].restartCount}";
        assert_eq!(node.value(&format!("pod/{name}"), ready), "true 0");
    }
    node.ok(&["delete", "deployment", "example-deploy"]);
    // Its shell, as process 1, does not hear SIGTERM: it takes the whole time of grace.
    until("the pods are gone", Duration::from_secs(90), || {
        names(&node).is_empty().then_some(())
    });
}

fn in_the_container(node: &Daemon, name: &str) {
    let sh = |script: &str| node.ok(&["exec", name, "-c", "example", "--", "sh", "-c", script]);
    // What the probes ask for: the manifest's own server has nothing at this path.
    assert_eq!(
        sh("cat /data/init && cat /data/poststart && pwd && echo yes > /www/index.html"),
        "ready\npostStart\n/www\n",
        "init container, postStart, workingDir, one volume in two places"
    );
    let server = sh("tr '\\0' ' ' < /proc/1/cmdline");
    assert_eq!(server, "httpd -f -p 8080 -h /www ", "command and args");
    assert_eq!(
        sh("echo $ENV $FROM_CONFIGMAP $GLOBAL $HIDDEN"),
        "production {} yes no\n"
    );
    assert_eq!(
        sh("id -u; id -g; stat -c %g /data; cat /etc/app/app.json /etc/secret/key"),
        "1000\n1000\n2000\n{}value"
    );
    assert_eq!(
        sh("for f in /etc/app/x /etc/secret/x; do (echo > $f) 2>/dev/null || echo closed; done"),
        "closed\nclosed\n",
        "readOnly"
    );
    assert_eq!(
        sh("echo > /tmp/x && echo open"),
        "open\n",
        "no read-only root"
    );
    assert_eq!(sh("grep my.local /etc/hosts"), "127.0.0.1\tmy.local\n");
    let resolver = sh("cat /etc/resolv.conf");
    assert!(resolver.contains("nameserver 8.8.8.8"), "{resolver}");
    let search = resolver.lines().find(|l| l.starts_with("search"));
    assert!(
        search.is_some_and(|l| l.contains("svc.cluster.local")),
        "{resolver}"
    );
    assert!(resolver.contains("ndots:2"), "{resolver}");
    // Added to nothing: the bounding set holds one capability; no new ones by execution; a filter.
    let status = sh("grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/1/status");
    for line in ["CapBnd:\t0000000000001000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(sh(&format!("ls {token}")), "ca.crt\nnamespace\ntoken\n");
    assert_eq!(sh(&format!("cat {token}/namespace")), "default");
    // Its own network, processes and IPC.
    assert!(sh("ls /sys/class/net").contains("eth0"));
    let own = |space: &str| {
        sh(&format!("readlink /proc/1/ns/{space}"))
            .trim()
            .to_string()
    };
    for space in ["net", "pid", "ipc"] {
        let host = std::fs::read_link(format!("/proc/self/ns/{space}")).expect("a link");
        assert_ne!(own(space), host.display().to_string());
    }
}

fn in_the_cgroup(node: &Daemon, name: &str) {
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null \
        || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight";
    let seen = node.ok(&["exec", name, "-c", "example", "--", "sh", "-c", script]);
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!((words[0], words[1]), ("1073741824", "100000"), "{seen}");
    // A tenth of a processor: 102 of 1024 shares, or 4 of 100 parts of weight.
    assert!(words.contains(&"102") || words.contains(&"4"), "{seen}");
}

fn in_the_status(node: &Daemon, name: &str) {
    let pod = format!("pod/{name}");
    let value = |path: &str| node.value(&pod, path);
    assert_eq!(value("{.status.qosClass}"), "Burstable");
    assert_eq!(value("{.spec.nodeName}"), node.name());
    assert_eq!(
        value("{.spec.schedulerName} {.spec.serviceAccountName}"),
        "default-scheduler default"
    );
    assert_eq!(value("{.metadata.annotations.checksum/config}"), "123456");
    assert_eq!(value("{.spec.containers[0].ports[0].name}"), "http");
    let init = "{.status.initContainerStatuses[0].state.terminated.reason}";
    assert_eq!(value(init), "Completed");
    let key = "{.spec.tolerations[?(@.key==\"key1\")].tolerationSeconds}";
    assert_eq!(value(key), "3600");
}

#[test]
fn a_pod_of_the_deployment_waits_for_the_label_that_it_wants() {
    let node = node_with_busybox();
    prepare(&node);
    node.ok(&["label", "node", "--all", "disktype=hdd", "--overwrite"]);
    node.apply(MANIFEST);
    until("three pods wait", LIMIT, || {
        let name = names(&node).first()?.clone();
        let path = "{.status.conditions[?(@.type==\"PodScheduled\")].message}";
        let why = node.value(&format!("pod/{name}"), path);
        why.contains("didn't match Pod's node affinity/selector")
            .then_some(())
    });
}
