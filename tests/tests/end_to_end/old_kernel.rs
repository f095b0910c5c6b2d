//! A node on a kernel that lacks what came after 5.10: the oldest that is promised.

use kabuki_tests::harness::{Daemon, Host, busybox_archive, until};
use std::process::Command;

/// Runs a program without the later system calls.
const OLD_KERNEL: &str = env!("CARGO_BIN_EXE_old-kernel");

const MANIFEST: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox
        imagePullPolicy: IfNotPresent
        command: [sh, -c, 'echo started; sleep 1000']
        resources: {limits: {memory: 64Mi}}
        securityContext: {readOnlyRootFilesystem: true}
        volumeMounts:
        - {name: conf, mountPath: /conf, readOnly: true}
        - {name: conf, mountPath: /etc/colour, subPath: colour}
        - {name: shared, mountPath: /shared, readOnly: true}
        - {name: scratch, mountPath: /scratch}
        - {name: memory, mountPath: /memory}
      volumes:
      - {name: conf, configMap: {name: settings}}
      - {name: shared, hostPath: {path: SHARED, type: Directory}}
      - {name: scratch, emptyDir: {}}
      - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
"#;

fn node() -> Daemon {
    let mut node = Daemon::unstarted(Host::new());
    node.run_through(OLD_KERNEL);
    node.launch();
    node.wait_answering();
    let archive = busybox_archive(node.data_dir());
    node.ok(&["image", "load", archive.to_str().expect("a path")]);
    node
}

#[test]
fn the_emulation_hides_what_came_later() {
    // What containers would be mounted with, by its number, and one of before.
    let answer = |number: i32| {
        let script = format!("syscall({number}, -1, 0, 0, 0, 0); print $! + 0");
        let output = Command::new(OLD_KERNEL)
            .args(["perl", "-e", &script])
            .output()
            .expect("the emulation starts");
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    };
    assert_eq!(answer(442), libc::ENOSYS.to_string());
    assert_eq!(answer(434), libc::EINVAL.to_string());
}

#[test]
fn a_deployment_with_every_sort_of_mount_runs_on_an_old_kernel() {
    let node = node();
    let shared = tempfile::tempdir().expect("a directory");
    std::fs::write(shared.path().join("file"), "of the host").expect("it is written");
    node.apply(&MANIFEST.replace("SHARED", &shared.path().display().to_string()));
    node.ok(&["rollout", "status", "deployment/web", "--timeout=30s"]);
    let sh = |script: &str| node.ok(&["exec", "deployment/web", "--", "sh", "-c", script]);
    assert_eq!(
        sh("cat /conf/colour /etc/colour /shared/file"),
        "greengreenof the host"
    );
    assert_eq!(
        sh("touch /scratch/x /memory/x && echo written"),
        "written\n"
    );
    for place in ["/x", "/conf/x", "/shared/x"] {
        let refused = node.refused(&["exec", "deployment/web", "--", "touch", place]);
        assert!(
            refused.contains("Read-only file system"),
            "{place}: {refused}"
        );
    }
    let mounts = sh("cut -d' ' -f2-4 /proc/mounts");
    let options = |place: &str| {
        let line = mounts.lines().find(|line| line.starts_with(place));
        line.unwrap_or_else(|| panic!("no mount on {place}:\n{mounts}"))
    };
    for quiet in ["/proc ", "/sys ", "/dev/mqueue ", "/dev/shm "] {
        assert!(options(quiet).contains("nosuid,nodev,noexec"), "{mounts}");
    }
    assert!(options("/dev/pts ").contains("devpts"), "{mounts}");
    assert!(options("/proc/sys ").contains("proc ro"), "{mounts}");
    assert!(
        options("/sys/fs/cgroup").contains("cgroup") || mounts.contains("cgroup"),
        "{mounts}"
    );
    assert_eq!(
        sh("head -c 4 /dev/zero | wc -c; cat /dev/null; ls -d /proc/1"),
        "4\n/proc/1\n"
    );
    assert!(node.ok(&["logs", "deployment/web"]).contains("started"));
}

#[test]
fn what_an_old_kernel_leaves_of_a_container_is_cleared_and_a_failed_mount_is_told() {
    let node = node();
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec:\n  containers:\n  - name: main\n    \
         image: busybox\n    imagePullPolicy: IfNotPresent\n    command: [sleep, '1000']\n    \
         volumeMounts: [{name: scratch, mountPath: /bin/busybox}]\n  volumes:\n  \
         - {name: scratch, emptyDir: {}}\n",
    );
    node.wait_value(
        "pod/bad",
        "{.status.containerStatuses[0].lastState.terminated.reason}",
        "StartError",
    );
    let message = node.value(
        "pod/bad",
        "{.status.containerStatuses[0].lastState.terminated.message}",
    );
    assert!(message.contains("/bin/busybox"), "{message}");
    node.ok(&["delete", "pod", "bad", "--timeout=30s"]);
    let mounts = std::fs::read_to_string("/proc/mounts").expect("the mount table");
    let data = node.data_dir().display().to_string();
    assert!(!mounts.contains(&data), "{mounts}");
}

#[test]
fn users_of_a_pods_own_are_refused_with_what_they_need() {
    let node = node();
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: own}\nspec:\n  hostUsers: false\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  \
         - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '1000']}\n",
    );
    until("it is told", std::time::Duration::from_secs(30), || {
        let text = node.ok(&["describe", "pod", "own"]);
        let why = "hostUsers: false needs mounts with mapped ids, which this kernel does not have";
        (text.contains("FailedCreatePodSandBox") && text.contains(why)).then_some(())
    });
    assert_eq!(node.value("pod/own", "{.status.phase}"), "Pending");
    node.ok(&["delete", "pod", "own"]);
}
