//! A node that runs short: on a small file system of its own, and in a small cgroup.

use kabuki_agent::Layout;
use kabuki_runtime::image::{ImageConfig, pack::Entry};
use kabuki_runtime::{Cgroups, Resources};
use kabuki_tests::harness::{Daemon, Host, busybox, busybox_archive, image_archive, until};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// A file system in a file; unmounted when dropped.
struct LoopDisk {
    at: TempDir,
    _file: tempfile::NamedTempFile,
}

fn run(program: &str, arguments: &[&str]) {
    let ran = Command::new(program).args(arguments).output();
    let ran = ran.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program} {arguments:?}: {ran:?}");
}

impl LoopDisk {
    fn mount(mib: u64) -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(mib * MIB).expect("its length");
        let at = tempfile::tempdir().expect("a folder");
        let (image, place) = (path(file.path()), path(at.path()));
        run("mkfs.ext4", &["-q", "-F", "-m", "0", image]);
        run("mount", &["-o", "loop", image, place]);
        Self { at, _file: file }
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.at.path())
            .status();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// A node with these thresholds; its images are loaded from elsewhere.
fn node(mut node: Daemon, settings: &str) -> Daemon {
    let file = node.data_dir().join("node.yaml");
    std::fs::write(&file, settings).expect("written");
    node.set_arguments(&["--config", path(&file)]);
    node.launch();
    node.wait_answering();
    let dir = tempfile::tempdir().expect("a folder");
    node.ok(&["image", "load", path(&busybox_archive(dir.path()))]);
    node
}

fn pod(name: &str, script: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: n1\n  \
         terminationGracePeriodSeconds: 1\n{more}  containers:\n  - name: main\n    \
         image: busybox\n    imagePullPolicy: IfNotPresent\n    command: [sh, -c, '{script}']\n"
    )
}

fn condition(node: &Daemon, name: &str) -> String {
    let path = format!("{{.status.conditions[?(@.type==\"{name}\")].status}}");
    node.value("node/n1", &path)
}

fn rejected(node: &Daemon, name: &str, message: &str) {
    let of = format!("pod/{name}");
    node.wait_value(&of, "{.status.phase}", "Failed");
    assert_eq!(node.value(&of, "{.status.reason}"), "Evicted");
    assert_eq!(node.value(&of, "{.status.message}"), message);
}

fn evicted(node: &Daemon, name: &str, resource: &str) {
    let of = format!("pod/{name}");
    until("the pod is evicted", LIMIT, || {
        (node.value(&of, "{.status.phase}") == "Failed").then_some(())
    });
    assert_eq!(node.value(&of, "{.status.reason}"), "Evicted");
    let message = node.value(&of, "{.status.message}");
    let begins = format!("The node was low on resource: {resource}. Threshold quantity: ");
    assert!(message.starts_with(&begins), "{message}");
}

#[test]
fn on_a_full_disk_images_go_before_pods_and_the_largest_pod_before_others() {
    let disk = LoopDisk::mount(320);
    let node = node(
        Daemon::unstarted_in(Host::new(), disk.at.path()),
        "evictionHard: {nodefs.available: 80Mi}\nevictionPressureTransitionPeriod: 10m\n\
         imageMinimumGCAge: 0s\nimageGCHighThresholdPercent: 100\nimageGCLowThresholdPercent: 99\n",
    );
    let pid = node.pid();
    let dir = tempfile::tempdir().expect("a folder");
    let mut entries = busybox();
    let ballast: Vec<u8> = (0..60 * MIB)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    entries.push(Entry::file("ballast", 0o644, ballast));
    let name = "example.com/ballast:1";
    let archive = image_archive(dir.path(), name, entries, ImageConfig::default());
    node.ok(&["image", "load", path(&archive)]);
    let images = || node.ok(&["image", "ls"]);
    assert!(images().contains("example.com/ballast"), "{}", images());
    let writes = |mib: u32| format!("dd if=/dev/zero of=/f bs=1M count={mib} && exec sleep 1000");
    node.apply(&pod("small", &writes(5), ""));
    node.wait_value("pod/small", "{.status.phase}", "Running");
    // Just so much that the image is in the way.
    let free = || {
        let stat = nix::sys::statvfs::statvfs(disk.at.path()).expect("a file system");
        stat.blocks_available() * stat.fragment_size() / MIB
    };
    let mib = u32::try_from(free() - 80 + 20).expect("an amount");
    node.apply(&pod("large", &writes(mib), ""));
    until("the image makes room", LIMIT, || {
        (!images().contains("example.com/ballast")).then_some(())
    });
    until("the node knows", LIMIT, || {
        (condition(&node, "DiskPressure") == "True").then_some(())
    });
    for name in ["small", "large"] {
        let of = format!("pod/{name}");
        assert_eq!(node.value(&of, "{.status.phase}"), "Running", "{name}");
    }
    // Nobody else is let in meanwhile.
    let (bears, node_is_short) = (
        "  tolerations: [{operator: Exists}]\n",
        "Pod was rejected: The node had condition: [DiskPressure]. ",
    );
    node.apply(&pod("late", "exec sleep 1000", bears));
    rejected(&node, "late", node_is_short);
    // No image is left to go.
    let more = u32::try_from(free() - 80 + 20).expect("an amount");
    let script = format!("dd if=/dev/zero of=/g bs=1M count={more}");
    node.cli(&["exec", "large", "--", "sh", "-c", &script]);
    evicted(&node, "large", "ephemeral-storage");
    assert_eq!(node.value("pod/small", "{.status.phase}"), "Running");
    assert_eq!(node.ok(&["exec", "small", "--", "echo", "on"]), "on\n");
    until("there is room again", LIMIT, || (free() > 80).then_some(()));
    assert_eq!(node.pid(), pid);
}

#[test]
fn in_a_small_cgroup_the_pod_beyond_its_request_goes_and_best_effort_is_refused() {
    let node = node(
        Daemon::unstarted(Host::new()),
        "evictionHard: {memory.available: 60Mi}\nevictionPressureTransitionPeriod: 10m\n",
    );
    let limits = Resources {
        memory_limit: Some(220 << 20),
        ..Resources::default()
    };
    let cgroups = Cgroups::detect().expect("cgroups");
    let root = Layout::new(node.data_dir()).cgroup;
    cgroups.apply(&root, &limits).expect("a small node");
    let of = |name: &str, request: &str, mib: u32| {
        let script = format!("dd if=/dev/zero of=/mem/f bs=1M count={mib}; exec sleep 1000");
        let more = "  volumes: [{name: mem, emptyDir: {medium: Memory}}]\n";
        pod(name, &script, more)
            + "    volumeMounts: [{name: mem, mountPath: /mem}]\n"
            + &format!("    resources: {{requests: {{memory: {request}}}}}\n")
    };
    node.apply(&of("calm", "80Mi", 60));
    node.wait_value("pod/calm", "{.status.phase}", "Running");
    node.apply(&of("greedy", "10Mi", 110));
    evicted(&node, "greedy", "memory");
    until("the node knows", LIMIT, || {
        (condition(&node, "MemoryPressure") == "True").then_some(())
    });
    node.apply(&pod("best-effort", "exec sleep 1000", ""));
    let why = "Pod was rejected: The node had condition: [MemoryPressure]. ";
    rejected(&node, "best-effort", why);
    node.apply(&of("asking", "5Mi", 1));
    node.wait_value("pod/asking", "{.status.phase}", "Running");
    assert_eq!(node.value("pod/calm", "{.status.phase}"), "Running");
    assert_eq!(node.ok(&["exec", "calm", "--", "echo", "on"]), "on\n");
}
