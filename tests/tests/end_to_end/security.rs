//! Users of a pod's own, what `/proc` shows, and profiles that the kernel enforces.

use super::pod::node_with_busybox;
use kabuki_tests::harness::{Daemon, until};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

const OWN_USERS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hunter2}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  securityContext: {fsGroup: 2000}
  volumes:
  - {name: scratch, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: conf, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys, defaultMode: 0440}}
  - {name: host, hostPath: {path: KEEP}}
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sleep, '1000']
    securityContext: {capabilities: {add: [SYS_ADMIN, SYS_TIME]}}
    volumeMounts: &mounts
    - {name: scratch, mountPath: /scratch}
    - {name: memory, mountPath: /memory}
    - {name: conf, mountPath: /conf}
    - {name: keys, mountPath: /keys}
    - {name: host, mountPath: /host}
  - name: open
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sleep, '1000']
    securityContext: {procMount: Unmasked, runAsUser: 1000}
    volumeMounts: *mounts
"#;

fn start(node: &Daemon, name: &str) {
    let keep = node.data_dir().join("keep");
    std::fs::create_dir_all(&keep).expect("made");
    let text = OWN_USERS.replace("NAME", name);
    node.apply(&text.replace("KEEP", &keep.display().to_string()));
    let pod = format!("pod/{name}");
    node.ok(&["wait", "--for=condition=Ready", &pod, "--timeout=60s"]);
}

fn shell(node: &Daemon, pod: &str, container: &str, script: &str) -> String {
    node.ok(&["exec", pod, "-c", container, "--", "sh", "-c", script])
}

/// The range that a pod has: the first of the host's ids.
fn range(node: &Daemon, pod: &str) -> u32 {
    let map = shell(node, pod, "main", "cat /proc/1/uid_map");
    let words: Vec<&str> = map.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("0", "65536"), "{map}");
    words[1].parse().expect("an id")
}

#[test]
fn a_pod_with_users_of_its_own_has_a_root_that_is_nobody_outside() {
    let mut node = node_with_busybox();
    start(&node, "one");
    start(&node, "two");
    let offers = "{.status.runtimeHandlers[*].features.userNamespaces}";
    let offers = node.value(&format!("node/{}", node.name()), offers);
    assert_eq!(offers, "true true true", "the node says that it can");
    let first = range(&node, "one");
    assert!(first >= 65_536);
    assert_ne!(first, range(&node, "two"), "each pod has its own");
    assert_eq!(shell(&node, "one", "main", "id -u"), "0\n");
    assert_eq!(shell(&node, "one", "open", "id -u"), "1000\n");
    // Its capabilities are over what is its own: not the machine's clock, nor its settings.
    let script = "mount -t tmpfs none /mnt 2>/dev/null || mkdir -p /mnt && mount -t tmpfs none /mnt && echo mounts; \
        date -s @$(date +%s) 2>&1 | grep -q permitted && echo no clock; \
        echo 0 2>/dev/null > /proc/sys/kernel/panic || echo no settings; \
        ping -c 1 -w 5 127.0.0.1 >/dev/null && echo pings";
    assert_eq!(
        shell(&node, "one", "main", script),
        "mounts\nno clock\nno settings\npings\n"
    );
    // Owners are what the manifest says, on the node's disk and in memory.
    let script = "touch /scratch/f /memory/f /host/f /root/f; \
        stat -c '%u:%g' /scratch /scratch/f /memory/f /conf/colour /keys/token /host/f /bin/busybox /root/f; \
        cat /conf/colour /keys/token";
    assert_eq!(
        shell(&node, "one", "main", script),
        "0:2000\n0:2000\n0:2000\n0:2000\n0:2000\n0:0\n0:0\n0:0\ngreenhunter2"
    );
    let kept = node.data_dir().join("keep/f");
    assert_eq!(std::fs::metadata(kept).expect("there").uid(), 0);
    let script = "cat /keys/token; echo > /root/x || echo closed";
    assert_eq!(
        shell(&node, "one", "open", &format!("({script}) 2>/dev/null")),
        "hunter2closed\n"
    );
    // `ps` of the host sees somebody else.
    let pids = std::fs::read_dir("/proc").expect("processes").flatten();
    let of_pod = pids.filter(|p| p.metadata().is_ok_and(|m| m.uid() == first));
    assert!(of_pod.count() >= 1);
    // A new daemon keeps the range, also for the pods that it makes anew.
    node.restart();
    assert_eq!(range(&node, "one"), first);
    start(&node, "three");
    let third = range(&node, "three");
    assert!(third != first && third != range(&node, "two"));
    for name in ["one", "two", "three"] {
        node.ok(&["delete", "pod", name]);
    }
}

#[test]
fn only_an_unmasked_proc_shows_what_is_hidden_from_others() {
    let node = node_with_busybox();
    start(&node, "shown");
    let masked = "grep -c ' /proc/' /proc/self/mountinfo";
    let number = |container: &str| -> u32 {
        let count = node.cli(&["exec", "shown", "-c", container, "--", "sh", "-c", masked]);
        count.out.trim().parse().expect("a number")
    };
    assert!(number("main") > 3, "parts of it are hidden or read-only");
    assert_eq!(number("open"), 0);
    let pod = OWN_USERS.replace("hostUsers: false", "hostUsers: true");
    let outcome = node.try_apply(&pod.replace("NAME", "other").replace("KEEP", "/"));
    assert_ne!(outcome.code, 0);
    let why = "`hostUsers` must be false to use `Unmasked`";
    assert!(outcome.err.contains(why), "{outcome:?}");
}

#[test]
fn a_user_that_the_pod_does_not_have_is_named() {
    let node = node_with_busybox();
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: far}\nspec:\n  hostUsers: false\n  \
         terminationGracePeriodSeconds: 0\n  securityContext: {runAsUser: 70000}\n  containers:\n  \
         - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '1000']}\n",
    );
    let waiting = "{.status.containerStatuses[0].state.waiting";
    node.wait_value(
        "pod/far",
        &format!("{waiting}.reason}}"),
        "CreateContainerConfigError",
    );
    let message = node.value("pod/far", &format!("{waiting}.message}}"));
    assert_eq!(
        message,
        "user or group 70000 is not one of the 65536 of a pod with hostUsers: false"
    );
}

#[test]
fn a_profile_of_apparmor_is_enforced_or_its_pod_rejected() {
    let node = node_with_busybox();
    let pod = |name: &str, head: &str, context: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n{head}spec:\n  \
             terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: busybox\n    \
             imagePullPolicy: IfNotPresent\n    command: [sleep, '1000']\n{context}"
        )
    };
    let field = "    securityContext: {appArmorProfile: {type: RuntimeDefault}}\n";
    let old =
        "  annotations: {container.apparmor.security.beta.kubernetes.io/main: runtime/default}\n";
    node.apply(&pod("by-field", "", field));
    node.apply(&pod("by-annotation", old, ""));
    let kernel = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    let enforces = kernel.is_ok_and(|text| text.trim() == "Y");
    for name in ["by-field", "by-annotation"] {
        let of = format!("pod/{name}");
        if enforces {
            node.wait_value(&of, "{.status.phase}", "Running");
            let profile = node.ok(&["exec", name, "--", "cat", "/proc/1/attr/current"]);
            assert_eq!(profile.trim(), "kabuki-default (enforce)");
            continue;
        }
        node.wait_value(&of, "{.status.phase}", "Failed");
        assert_eq!(node.value(&of, "{.status.reason}"), "AppArmor");
        assert_eq!(
            node.value(&of, "{.status.message}"),
            "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
        );
    }
    // It asks for nothing.
    let none = "    securityContext: {appArmorProfile: {type: Unconfined}}\n";
    node.apply(&pod("free", "", none));
    until("it runs everywhere", LIMIT, || {
        (node.value("pod/free", "{.status.phase}") == "Running").then_some(())
    });
}
