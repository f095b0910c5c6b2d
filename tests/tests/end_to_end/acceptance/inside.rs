//! What a pod of the Deployment has, each field by its effect.

use jiff::Timestamp;
use kabuki_tests::harness::Daemon;

fn shell(node: &Daemon, name: &str, script: &str) -> String {
    node.ok(&["exec", name, "-c", "example", "--", "sh", "-c", script])
}

pub(super) fn in_the_container(node: &Daemon, name: &str) {
    let sh = |script: &str| shell(node, name, script);
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
    names(&sh("cat /etc/resolv.conf"));
    // Added to nothing: the bounding set holds one capability; no new ones by execution; a filter;
    // not the machine's devices.
    let status = sh("grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/1/status");
    for line in ["CapBnd:\t0000000000001000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert_eq!(sh("ls /dev/kmsg 2>/dev/null || echo none"), "none\n");
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
    let ip = node.value(&format!("pod/{name}"), "{.status.podIP}");
    let url = format!("http://{ip}:8080/");
    assert_eq!(node.host().run("curl", &["-s", &url]), "yes\n");
}

/// `ClusterFirst` with what `dnsConfig` adds to it.
fn names(resolver: &str) {
    let line = |begins: &str| {
        let found = resolver.lines().find(|l| l.starts_with(begins));
        found.unwrap_or_else(|| panic!("no {begins}: {resolver}"))
    };
    assert_eq!(line("nameserver"), "nameserver 10.96.0.10");
    assert!(resolver.contains("nameserver 8.8.8.8"), "{resolver}");
    let search = "search default.svc.cluster.local svc.cluster.local cluster.local";
    assert!(line("search").starts_with(search), "{resolver}");
    assert!(line("options").contains("ndots:2"), "{resolver}");
}

pub(super) fn in_the_cgroup(node: &Daemon, name: &str) {
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null \
        || cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight";
    let seen = shell(node, name, script);
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!((words[0], words[1]), ("1073741824", "100000"), "{seen}");
    // A tenth of a processor: 102 of 1024 shares, or 4 of 100 parts of weight.
    assert!(words.contains(&"102") || words.contains(&"4"), "{seen}");
    // The more memory it asked for, the later it is killed when there is none left.
    let object = format!("node/{}", node.name());
    let capacity = node.value(&object, "{.status.capacity.memory}");
    let kibibytes = capacity.strip_suffix("Ki").expect("kibibytes");
    let capacity = 1024 * kibibytes.parse::<i64>().expect("a number");
    let score = 1000 - 1000 * (128 << 20) / capacity;
    let seen = shell(node, name, "cat /proc/1/oom_score_adj");
    assert_eq!(seen.trim(), score.clamp(3, 999).to_string());
}

pub(super) fn in_the_status(node: &Daemon, name: &str) {
    let pod = format!("pod/{name}");
    let value = |path: &str| node.value(&pod, path);
    assert_eq!(value("{.status.qosClass}"), "Burstable");
    assert_eq!(
        value("{.spec.nodeName} {.spec.priority}"),
        format!("{} 0", node.name())
    );
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
    let told = node.ok(&["describe", "pod", name]);
    for wanted in [
        "http-get http://:8080/ delay=10s timeout=3s period=5s #success=1 #failure=3",
        "tcp-socket :8080 delay=5s timeout=1s period=5s #success=1 #failure=3",
        "http-get http://:8080/ delay=0s timeout=1s period=10s #success=1 #failure=30",
        &format!("Successfully assigned default/{name} to {}", node.name()),
        "default-scheduler",
        "Container image \"busybox:latest\" already present on machine",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}

/// All of its probes have answered, not before they were to ask.
pub(super) fn once_it_is_ready(node: &Daemon, name: &str) {
    let pod = format!("pod/{name}");
    let value = |path: &str| node.value(&pod, path);
    let of_container = "{.status.containerStatuses[0].ready} \
        {.status.containerStatuses[0].started} {.status.containerStatuses[0].restartCount}";
    assert_eq!(value(of_container), "true true 0");
    let time = |path: &str| value(path).parse::<Timestamp>().expect("a time");
    let running = time("{.status.containerStatuses[0].state.running.startedAt}");
    let ready = time("{.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}");
    // Both are whole seconds.
    assert!(
        ready.duration_since(running).as_secs() >= 4,
        "{running} {ready}"
    );
}
