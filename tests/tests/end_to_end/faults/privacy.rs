//! What other users of the machine, logs and the network get to see: nothing.

use super::{files_below, load_busybox};
use kabuki_agent::Layout;
use kabuki_tests::harness::Daemon;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

const VALUE: &str = "correct-horse-battery-staple";

fn node_with_secret() -> Daemon {
    let node = Daemon::start();
    load_busybox(&node);
    node.ok(&[
        "create",
        "secret",
        "generic",
        "keys",
        &format!("--from-literal=token={VALUE}"),
    ]);
    node.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: user}\nspec:\n  \
         terminationGracePeriodSeconds: 0\n  containers:\n  - name: main\n    image: busybox\n    \
         imagePullPolicy: IfNotPresent\n    command: [sleep, '1000']\n    envFrom: [{secretRef: {name: \
         keys}}]\n    volumeMounts: [{name: keys, mountPath: /keys}]\n  volumes: [{name: keys, secret: \
         {secretName: keys}}]\n",
    );
    node.ok(&["wait", "--for=condition=Ready", "pod/user", "--timeout=30s"]);
    node
}

/// Whether another user of the machine could open a path below `root`.
fn is_open_to_others(root: &Path, path: &Path) -> bool {
    let mode = |p: &Path| std::fs::symlink_metadata(p).map_or(0, |m| m.permissions().mode());
    let mut folders = path.ancestors().skip(1).take_while(|p| p.starts_with(root));
    mode(path) & 0o006 != 0 && folders.all(|f| mode(f) & 0o001 != 0)
}

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|w| w == what.as_bytes())
}

#[test]
fn keys_and_secrets_are_for_the_node_alone() {
    use base64::Engine;
    let node = node_with_secret();
    let data = node.data_dir();
    let mut private = files_below(&data.join("pki"));
    assert!(private.len() >= 2, "{private:?}");
    private.push(data.join("admin.kubeconfig"));
    for path in &private {
        let mode = std::fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o7777;
        assert_eq!(mode, 0o600, "{} has mode {mode:o}", path.display());
    }
    let key = std::fs::read_to_string(data.join("pki/node.key")).expect("the key");
    let key: Vec<&str> = key.lines().filter(|l| !l.starts_with("--")).collect();
    let encoded = base64::engine::general_purpose::STANDARD.encode(VALUE);
    let kubeconfig = std::fs::read_to_string(data.join("admin.kubeconfig")).expect("reads");
    let kubeconfig: serde_json::Value = serde_json::from_str(&kubeconfig).expect("JSON");
    let own_key = kubeconfig["users"][0]["user"]["client-key-data"]
        .as_str()
        .expect("a key");

    let log = node.log();
    for secret in [VALUE, &encoded, "PRIVATE KEY", own_key]
        .into_iter()
        .chain(key)
    {
        assert!(!log.contains(secret), "the log tells a secret: {secret}");
    }
    let layout = Layout::new(data);
    for root in [&layout.data, &layout.run] {
        let open = files_below(root).into_iter().filter(|path| {
            let is_file = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_file());
            let bytes = is_file
                .then(|| std::fs::read(path).ok())
                .flatten()
                .unwrap_or_default();
            let secret = contains(&bytes, VALUE) || contains(&bytes, &encoded);
            secret && is_open_to_others(root, path)
        });
        let open: Vec<_> = open.collect();
        assert!(open.is_empty(), "others may read a secret in {open:?}");
    }
}

#[test]
fn nothing_listens_but_the_client_port_and_private_sockets() {
    let node = node_with_secret();
    // Addresses and ports in hexadecimal; 0A is the state of a listening socket.
    let sockets = |table: &str| -> Vec<(String, String)> {
        let listed = node.host().run("cat", &[&format!("/proc/net/{table}")]);
        let fields = |l: &str| {
            let mut words = l.split_whitespace().skip(1);
            let (local, state) = (words.next()?.to_string(), words.nth(1)?.to_string());
            Some((local, state))
        };
        listed.lines().skip(1).filter_map(fields).collect()
    };
    let listening = |table| {
        sockets(table)
            .into_iter()
            .filter(|(_, state)| state == "0A")
    };
    // The name server answers on the cluster's own address, 10.96.0.10, and nowhere else.
    let names = "0A00600A:0035";
    let tcp: Vec<String> = listening("tcp")
        .map(|(local, _)| local)
        .filter(|local| local != names)
        .collect();
    assert_eq!(tcp, [format!("0100007F:{:04X}", node.address().port())]);
    assert_eq!(listening("tcp6").count(), 0);
    for table in ["udp", "udp6", "raw", "raw6"] {
        let mut other = sockets(table);
        other.retain(|(local, _)| local != names);
        assert_eq!(other, [], "{table}");
    }
    let is_socket = |p: &std::path::PathBuf| {
        std::fs::symlink_metadata(p).is_ok_and(|m| m.file_type().is_socket())
    };
    let layout = Layout::new(node.data_dir());
    let mut shims = 0;
    for root in [&layout.data, &layout.run] {
        for path in files_below(root).into_iter().filter(is_socket) {
            let shown = path.display();
            assert!(
                !is_open_to_others(root, &path),
                "others may connect to {shown}"
            );
            if path.ends_with("sock") {
                let mode = std::fs::symlink_metadata(&path)
                    .expect("it is there")
                    .permissions();
                assert_eq!(mode.mode() & 0o7777, 0o600, "{shown}");
                shims += 1;
            }
        }
    }
    assert!(shims > 0, "the pod's shim has a socket");
    // Abstract sockets have no mode at all.
    let unix = node.host().run("cat", &["/proc/net/unix"]);
    let listens = |l: &&str| l.split_whitespace().nth(3) == Some("00010000") && l.contains('@');
    assert_eq!(
        unix.lines().filter(listens).collect::<Vec<_>>(),
        Vec::<&str>::new()
    );
}
