//! What pods have of their node: resizes, pods from files, runtime classes, huge pages.

use super::pod::node_with_busybox;
use kabuki_tests::harness::{Daemon, Host, busybox_archive, until};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn sleeper(name: &str, fields: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n{fields}  containers:\n  - name: main\n    \
         image: busybox\n    imagePullPolicy: IfNotPresent\n    \
         command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']\n{container}"
    )
}

fn resize(node: &Daemon, pod: &str, resources: &str) {
    let patch = format!(
        "{{\"spec\":{{\"containers\":[{{\"name\":\"main\",\"resources\":{resources}}}]}}}}"
    );
    node.ok(&["patch", "pod", pod, "--subresource=resize", "-p", &patch]);
}

/// What the container itself sees of its limits, on whichever version of cgroups.
fn seen(node: &Daemon, pod: &str) -> String {
    let script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max 2>/dev/null || \
        cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us";
    let text = node.ok(&["exec", pod, "--", "sh", "-c", script]);
    text.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_running_pod_is_resized_in_place() {
    let node = node_with_busybox();
    let resources = "    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]\n    \
        resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}\n";
    node.apply(&sleeper("web", "", resources));
    node.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    assert_eq!(seen(&node, "web"), "67108864 20000");
    let container = "{.status.containerStatuses[0]";
    let actual = format!("{container}.resources.limits.cpu}}");
    resize(
        &node,
        "web",
        r#"{"requests":{"cpu":"300m"},"limits":{"cpu":"500m"}}"#,
    );
    node.wait_value("pod/web", &actual, "500m");
    assert_eq!(seen(&node, "web"), "67108864 50000");
    let restarts = format!("{container}.restartCount}}");
    assert_eq!(node.value("pod/web", &restarts), "0");
    let granted = format!("{container}.allocatedResources.cpu}}");
    assert_eq!(node.value("pod/web", &granted), "300m");
    // More than this machine has is never granted, and changes nothing.
    resize(
        &node,
        "web",
        r#"{"requests":{"cpu":"900"},"limits":{"cpu":"900"}}"#,
    );
    let reason = "{.status.conditions[?(@.type==\"PodResizePending\")].reason}";
    node.wait_value("pod/web", reason, "Infeasible");
    assert_eq!(node.value("pod/web", &granted), "300m");
    // Memory restarts it, because its policy says so.
    let memory = r#"{"requests":{"cpu":"300m"},"limits":{"cpu":"500m","memory":"128Mi"}}"#;
    resize(&node, "web", memory);
    node.wait_value("pod/web", &restarts, "1");
    node.wait_value("pod/web", reason, "");
    node.ok(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    assert_eq!(seen(&node, "web"), "134217728 50000");
    let progress = "{.status.conditions[?(@.type==\"PodResizeInProgress\")].status}";
    node.wait_value("pod/web", progress, "");
}

#[test]
fn a_limit_below_what_is_used_is_not_forced() {
    let node = node_with_busybox();
    let script = "    command: [sh, -c, 'head -c 30000000 /dev/zero > /hold/f; sleep 1000']\n    \
        volumeMounts: [{name: hold, mountPath: /hold}]\n    \
        resources: {requests: {memory: 8Mi}, limits: {memory: 64Mi}}\n";
    let volume = "  volumes: [{name: hold, emptyDir: {medium: Memory}}]\n";
    let manifest = sleeper("full", volume, script);
    let own = "    command: [sh, -c, 'trap exit TERM; sleep 1000 & wait']\n";
    node.apply(&manifest.replace(own, ""));
    node.ok(&["wait", "--for=condition=Ready", "pod/full", "--timeout=60s"]);
    let held = || {
        let used = node.cli(&["exec", "full", "--", "stat", "-c", "%s", "/hold/f"]);
        (used.out.trim() == "30000000").then_some(())
    };
    until("the memory is used", LIMIT, held);
    resize(&node, "full", r#"{"limits":{"memory":"16Mi"}}"#);
    let progress = "{.status.conditions[?(@.type==\"PodResizeInProgress\")].reason}";
    node.wait_value("pod/full", progress, "Error");
    let limit = "{.status.containerStatuses[0].resources.limits.memory}";
    assert_eq!(node.value("pod/full", limit), "64Mi");
    node.ok(&["exec", "full", "--", "rm", "/hold/f"]);
    node.wait_value("pod/full", limit, "16Mi");
    let restarts = "{.status.containerStatuses[0].restartCount}";
    assert_eq!(node.value("pod/full", restarts), "0");
}

#[test]
fn pods_from_files_run_are_mirrored_and_go_with_their_files() {
    let mut node = Daemon::unstarted(Host::new());
    let folder = node.data_dir().join("static");
    std::fs::create_dir_all(&folder).expect("made");
    let file = folder.join("web.yaml");
    let settings = node.data_dir().join("node.yaml");
    let text = format!("evictionHard: {{}}\nstaticPodPath: {}\n", folder.display());
    std::fs::write(&settings, text).expect("written");
    let settings = settings.to_str().expect("a path").to_string();
    node.set_arguments(&["--config", &settings]);
    node.launch();
    node.wait_answering();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    std::fs::write(&file, sleeper("web", "", "")).expect("written");
    let name = format!("web-{}", node.name().to_lowercase());
    let pod = format!("pod/{name}");
    let uid = |node: &Daemon| {
        let got = node.cli(&["get", &pod, "-o", "jsonpath={.metadata.uid}"]);
        (got.code == 0 && !got.out.is_empty()).then_some(got.out)
    };
    until("the pod is mirrored", LIMIT, || uid(&node));
    node.wait_value(&pod, "{.status.phase}", "Running");
    let source = "{.metadata.annotations.kubernetes\\.io/config\\.source}";
    assert_eq!(node.value(&pod, source), "file");
    assert_eq!(node.ok(&["exec", &name, "--", "echo", "here"]), "here\n");
    // Deleting the mirror ends nothing: it comes again.
    let (mirror, container) = (uid(&node), "{.status.containerStatuses[0].containerID}");
    let before = node.value(&pod, container);
    node.ok(&["delete", &pod, "--wait=false"]);
    until("another mirror", LIMIT, || {
        uid(&node).filter(|u| Some(u) != mirror.as_ref())
    });
    node.wait_value(&pod, container, &before);
    // Another text is another pod.
    let other = sleeper("web", "", "    env: [{name: A, value: b}]\n");
    std::fs::write(&file, other).expect("written");
    until("the new pod runs", LIMIT, || {
        let shown = node.cli(&["exec", &name, "--", "sh", "-c", "echo $A"]);
        (shown.out.trim() == "b").then_some(())
    });
    // A daemon that comes back adopts it.
    node.wait_value(&pod, "{.status.phase}", "Running");
    let before = until("its container", LIMIT, || {
        let id = node.value(&pod, container);
        (!id.is_empty()).then_some(id)
    });
    node.restart();
    node.wait_value(&pod, container, &before);
    std::fs::remove_file(&file).expect("removed");
    until("the pod is gone", LIMIT, || {
        uid(&node).is_none().then_some(())
    });
}

#[test]
fn a_runtime_class_decides_how_a_pod_runs() {
    let node = node_with_busybox();
    let class = |name: &str, handler: &str| {
        format!(
            "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {{name: {name}}}\n\
             handler: {handler}\noverhead: {{podFixed: {{cpu: 10m}}}}\n"
        )
    };
    node.apply(&class("own", "kabuki"));
    node.apply(&class("strange", "gvisor"));
    node.apply(&sleeper("runs", "  runtimeClassName: own\n", ""));
    node.ok(&["wait", "--for=condition=Ready", "pod/runs", "--timeout=60s"]);
    assert_eq!(node.value("pod/runs", "{.spec.overhead.cpu}"), "10m");
    node.apply(&sleeper("waits", "  runtimeClassName: strange\n", ""));
    until("the refusal is told", LIMIT, || {
        let told = node.ok(&["describe", "pod", "waits"]);
        told.contains("no runtime for \"gvisor\" is configured")
            .then_some(())
    });
    assert_eq!(node.value("pod/waits", "{.status.phase}"), "Pending");
    let refused = node.try_apply(&sleeper("none", "  runtimeClassName: lacking\n", ""));
    assert!(
        refused.err.contains("RuntimeClass \"lacking\" not found"),
        "{refused:?}"
    );
}

#[test]
fn a_pod_that_wants_more_huge_pages_than_there_are_waits_for_them() {
    let node = node_with_busybox();
    let pages = "    resources: {limits: {memory: 16Mi, hugepages-2Mi: 64Gi}}\n";
    node.apply(&sleeper("huge", "", pages));
    until("the scheduler says so", LIMIT, || {
        let told = node.ok(&["describe", "pod", "huge"]);
        told.contains("Insufficient hugepages-2Mi").then_some(())
    });
    let object = format!("node/{}", node.name());
    let capacity = node.value(&object, "{.status.capacity.hugepages-2Mi}");
    assert!(!capacity.is_empty(), "the node counts its huge pages");
}

#[test]
fn a_guaranteed_container_with_whole_processors_has_them_to_itself() {
    let mut node = Daemon::unstarted(Host::new());
    let settings = node.data_dir().join("node.yaml");
    let text = "evictionHard: {}\ncpuManagerPolicy: static\nreservedSystemCPUs: \"0\"\n";
    std::fs::write(&settings, text).expect("written");
    let settings = settings.to_str().expect("a path").to_string();
    node.set_arguments(&["--config", &settings]);
    node.launch();
    node.wait_answering();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    let cpus = |node: &Daemon, pod: &str| {
        let script = "grep Cpus_allowed_list /proc/self/status | cut -f2";
        let shown = node.cli(&["exec", pod, "--", "sh", "-c", script]);
        shown.out.trim().to_string()
    };
    let whole = "    resources: {limits: {cpu: \"1\", memory: 16Mi}}\n";
    node.apply(&sleeper("shares", "", ""));
    node.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod/shares",
        "--timeout=60s",
    ]);
    let all = cpus(&node, "shares");
    assert!(all.starts_with("0-"), "{all}");
    node.apply(&sleeper("owns", "", whole));
    node.ok(&["wait", "--for=condition=Ready", "pod/owns", "--timeout=60s"]);
    let own = cpus(&node, "owns");
    assert!(own.parse::<u32>().is_ok_and(|cpu| cpu > 0), "{own}");
    let lacks = |shared: &str| shared != all && !shared.split(',').any(|c| c == own);
    until("the others make room", LIMIT, || {
        lacks(&cpus(&node, "shares")).then_some(())
    });
    node.restart();
    assert_eq!(cpus(&node, "owns"), own, "it is kept");
    node.apply(&sleeper("late", "", ""));
    node.ok(&["wait", "--for=condition=Ready", "pod/late", "--timeout=60s"]);
    assert!(lacks(&cpus(&node, "late")));
    node.ok(&["delete", "pod", "owns"]);
    until("all is shared again", LIMIT, || {
        (cpus(&node, "shares") == all).then_some(())
    });
}
