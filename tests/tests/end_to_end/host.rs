//! What a pod shares with its host, and what keeps it from the rest.

use super::pod::node_with_busybox;
use kabuki_agent::Layout;
use kabuki_runtime::Cgroups;
use kabuki_tests::harness::{Daemon, until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);

/// A pod of one container that sleeps; `fields` are the spec's, `container` the container's.
fn pod(name: &str, fields: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n{fields}  containers:\n  - name: main\n    \
         image: busybox\n    imagePullPolicy: IfNotPresent\n    command: [sleep, '1000']\n{container}"
    )
}

fn ready(node: &Daemon, name: &str) {
    let pod = format!("pod/{name}");
    node.ok(&["wait", "--for=condition=Ready", &pod, "--timeout=60s"]);
}

fn sh(node: &Daemon, pod: &str, container: &str, script: &str) -> String {
    node.ok(&["exec", pod, "-c", container, "--", "sh", "-c", script])
}

#[test]
fn a_pod_shares_with_its_host_what_it_says_and_nothing_else() {
    let node = node_with_busybox();
    let daemon = node.pid().expect("it runs");
    let of_host = |space: &str| {
        let link = std::fs::read_link(format!("/proc/{daemon}/ns/{space}")).expect("a link");
        link.display().to_string()
    };
    let spaces = [
        ("hostNetwork", "net"),
        ("hostPID", "pid"),
        ("hostIPC", "ipc"),
    ];
    for (field, shared) in spaces {
        let name = field.to_lowercase();
        node.apply(&pod(&name, &format!("  {field}: true\n"), ""));
        ready(&node, &name);
        for (_, space) in spaces {
            let link = sh(
                &node,
                &name,
                "main",
                &format!("readlink /proc/self/ns/{space}"),
            );
            let is_shared = link.trim() == of_host(space);
            assert_eq!(is_shared, space == shared, "{field}: {space} is {link}");
        }
    }
    let of = |field: &str| node.value("pod/hostnetwork", field);
    assert_eq!(of("{.status.podIP}"), of("{.status.hostIP}"));
    // Devices and what root may do with them.
    let plain = "  - {name: plain, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '1000']}\n";
    let privileged = format!("    securityContext: {{privileged: true}}\n{plain}");
    node.apply(&pod("mixed", "", &privileged));
    ready(&node, "mixed");
    let script =
        "mkdir -p /mnt; (mount -t tmpfs none /mnt && ls /dev/kmsg) 2>/dev/null || echo may not";
    assert_eq!(sh(&node, "mixed", "main", script), "/dev/kmsg\n");
    assert_eq!(sh(&node, "mixed", "plain", script), "may not\n");
}

#[test]
fn a_pod_that_names_its_node_waits_for_no_scheduler() {
    let node = node_with_busybox();
    node.ok(&["cordon", node.name()]);
    node.apply(&pod("waits", "", ""));
    let named = format!("  nodeName: {}\n", node.name());
    node.apply(&pod("named", &named, ""));
    ready(&node, "named");
    let why = "{.status.conditions[?(@.type==\"PodScheduled\")].message}";
    until("the other pod waits", LIMIT, || {
        let message = node.value("pod/waits", why);
        message.contains("were unschedulable").then_some(())
    });
}

#[test]
fn groups_and_filters_are_those_that_the_manifest_names() {
    let node = node_with_busybox();
    let profiles = Layout::new(node.data_dir()).seccomp();
    std::fs::create_dir_all(&profiles).expect("made");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;
    std::fs::write(profiles.join("no-directories.json"), profile).expect("written");
    let local = "seccompProfile: {type: Localhost, localhostProfile: no-directories.json}";
    let free = "    securityContext: {runAsGroup: 55}
  - name: free
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sleep, '1000']
    securityContext: {seccompProfile: {type: Unconfined}}
";
    // The image's own file puts its user 33 into the group 44.
    for (policy, groups) in [("Merge", "55 44 4000\n"), ("Strict", "55 4000\n")] {
        let name = policy.to_lowercase();
        let context = format!(
            "  securityContext: {{runAsUser: 33, supplementalGroups: [4000], \
             supplementalGroupsPolicy: {policy}, {local}}}\n"
        );
        node.apply(&pod(&name, &context, free));
        ready(&node, &name);
        assert_eq!(
            sh(&node, &name, "main", "id -u; id -g; id -G"),
            format!("33\n55\n{groups}")
        );
        let script = "(mkdir /tmp/x 2>/dev/null && echo made) || echo refused";
        assert_eq!(sh(&node, &name, "main", script), "refused\n");
        assert_eq!(sh(&node, &name, "free", script), "made\n");
        let user = "{.status.containerStatuses[?(@.name==\"main\")].user.linux";
        let object = format!("pod/{name}");
        let told = node.value(
            &object,
            &format!("{user}.uid}} {user}.gid}} {user}.supplementalGroups}}"),
        );
        let listed = groups.trim().replace(' ', ",");
        let mut listed: Vec<u32> = listed
            .split(',')
            .map(|g| g.parse().expect("a group"))
            .collect();
        listed.sort_unstable();
        assert_eq!(told, format!("33 55 {}", serde_json::json!(listed)));
    }
    // One in a container goes before the pod's.
    let own = format!("    securityContext: {{{local}}}\n");
    let context = "  securityContext: {seccompProfile: {type: Unconfined}}\n";
    node.apply(&pod("own", context, &own));
    ready(&node, "own");
    let script = "(mkdir /tmp/x 2>/dev/null && echo made) || echo refused";
    assert_eq!(sh(&node, "own", "main", script), "refused\n");
}

/// A file system in memory on the host; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn on(place: &Path) -> Self {
        std::fs::create_dir_all(place).expect("made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "below"])
            .arg(place)
            .status();
        assert!(mounted.expect("mount runs").success());
        Self(place.to_path_buf())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn read_only_reaches_what_is_mounted_below_where_the_manifest_wants_that() {
    let volume = TempDir::new().expect("a folder");
    let _below = Mounted::on(&volume.path().join("below"));
    let node = node_with_busybox();
    let path = volume.path().display();
    let fields = format!("  volumes: [{{name: v, hostPath: {{path: {path}}}}}]\n");
    let mounts = "    volumeMounts:
    - {name: v, mountPath: /plain, readOnly: true}
    - {name: v, mountPath: /enabled, readOnly: true, recursiveReadOnly: Enabled}
    - {name: v, mountPath: /possible, readOnly: true, recursiveReadOnly: IfPossible}
";
    for (name, users) in [("host", ""), ("own", "  hostUsers: false\n")] {
        node.apply(&pod(name, &format!("{users}{fields}"), mounts));
        ready(&node, name);
        let script = "for d in plain enabled possible; do for f in $d $d/below; do \
            (echo > /$f/x) 2>/dev/null && echo $f open || echo $f closed; done; done";
        assert_eq!(
            sh(&node, name, "main", script),
            "plain closed\nplain/below open\nenabled closed\nenabled/below closed\n\
             possible closed\npossible/below closed\n",
            "{name}"
        );
    }
    let features = "{.status.runtimeHandlers[?(@.name==\"\")].features.recursiveReadOnlyMounts}";
    assert_eq!(
        node.value(&format!("node/{}", node.name()), features),
        "true"
    );
}

#[test]
fn what_the_host_mounts_later_reaches_those_who_follow_it() {
    let folder = TempDir::new().expect("a folder");
    let volume = Mounted::on(&folder.path().join("volume"));
    let shared = Command::new("mount")
        .arg("--make-shared")
        .arg(&volume.0)
        .status();
    assert!(shared.expect("mount runs").success());
    let node = node_with_busybox();
    let path = volume.0.display();
    let fields = format!("  volumes: [{{name: v, hostPath: {{path: {path}}}}}]\n");
    let mounts = "    volumeMounts:
    - {name: v, mountPath: /follows, mountPropagation: HostToContainer}
    - {name: v, mountPath: /stays, mountPropagation: None}
    - {name: v, mountPath: /says-nothing}
";
    node.apply(&pod("follower", &fields, mounts));
    ready(&node, "follower");
    let _later = Mounted::on(&volume.0.join("later"));
    std::fs::write(volume.0.join("later/file"), "").expect("written");
    let script = "for d in follows stays says-nothing; do ls /$d/later; echo $d; done";
    assert_eq!(
        sh(&node, "follower", "main", script),
        "file\nfollows\nstays\nsays-nothing\n"
    );
}

#[test]
fn what_a_pod_may_have_as_a_whole_limits_all_of_its_containers() {
    let node = node_with_busybox();
    let whole =
        "  resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 500m, memory: 96Mi}}\n";
    node.apply(&pod("whole", whole, ""));
    ready(&node, "whole");
    let uid = node.value("pod/whole", "{.metadata.uid}");
    let root = Layout::new(node.data_dir()).cgroup;
    let cgroups = Cgroups::detect().expect("cgroups");
    let limit = cgroups.memory_limit(&format!("{root}/burstable/pod{uid}"));
    assert_eq!(limit, Some(96 << 20));
    assert_eq!(node.value("pod/whole", "{.status.qosClass}"), "Burstable");
}
