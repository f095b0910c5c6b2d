//! What is done with a data directory, and what is refused.

use crate::cli::fake::session;
use crate::cli::tests::{refused, said};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kabuki_cluster::{Authority, Credentials, Member};
use kabuki_model::command::{Command, Expect, Op};
use kabuki_model::object::{ObjectKey, Resource};
use kabuki_plane::{state_dir, wal};
use kabuki_store::{Position, Store};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

#[tokio::test]
async fn a_directory_in_use_and_one_without_a_node_are_refused() {
    let (session, _) = session(&[]);
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().display().to_string();
    let recover = [
        "recover",
        "--force-new-cluster",
        "--yes",
        "--data-dir",
        &path,
    ];
    let why = refused(&session, &recover).await;
    assert!(why.contains("no node's data directory"), "{why}");
    std::fs::write(dir.path().join("daemon.pid"), "42\n").expect("writes");
    let file = File::open(dir.path().join("daemon.pid")).expect("opens");
    let held = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    let why = refused(&session, &recover).await;
    assert!(why.contains("process 42"), "{why}");
    drop(held);
    let why = refused(&session, &["recover", "--data-dir", &path]).await;
    assert!(why.contains("--force-new-cluster"), "{why}");
}

#[tokio::test]
async fn a_file_that_is_no_backup_changes_nothing() {
    let (session, _) = session(&[]);
    let dir = tempfile::tempdir().expect("a folder");
    let (file, target) = (dir.path().join("b"), dir.path().join("data"));
    std::fs::write(&file, "nonsense").expect("writes");
    let (file, data) = (file.display().to_string(), target.display().to_string());
    let line = ["restore", &file, "--yes", "--data-dir", &data];
    let why = refused(&session, &line).await;
    assert!(why.contains("is not whole"), "{why}");
    assert!(!target.exists());
}

/// A backup of a cluster that has a CA, a seal key and a node `a` with the first block.
fn backup(file: &Path) {
    let authority = Authority::generate().expect("a CA");
    let (certificate, key) = (authority.certificate_pem(), authority.key_pem());
    let secret = |name: &str, data: Value| {
        let value = json!({
            "apiVersion": "v1", "kind": "Secret", "data": data,
            "metadata": {"name": name, "namespace": "kube-system"},
        });
        (Resource::SECRETS, "kube-system", name.to_string(), value)
    };
    let ca = json!({
        "ca.crt": STANDARD.encode(certificate), "ca.key": STANDARD.encode(key),
        "bundle.crt": STANDARD.encode(certificate),
    });
    let cluster = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kabuki-cluster", "namespace": "kube-system"},
        "data": {
            "clusterId": "c", "podCidr": "10.244.0.0/16", "serviceCidr": "10.96.0.0/16",
            "nodePrefix": "24",
        },
    });
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"},
        "spec": {"podCIDR": "10.244.0.0/24"},
    });
    let objects = [
        secret("kabuki-ca", ca),
        secret("kabuki-seal", json!({"key": STANDARD.encode([7; 32])})),
        (
            Resource::CONFIG_MAPS,
            "kube-system",
            "kabuki-cluster".to_string(),
            cluster,
        ),
        (Resource::NODES, "", "a".to_string(), node),
    ];
    let ops = objects
        .into_iter()
        .map(|(resource, namespace, name, value)| Op::Put {
            key: ObjectKey::new(resource, namespace, &name),
            uid: name.into(),
            json: value.to_string().into(),
            expect: Expect::Any,
        });
    let command = Command {
        term: 0,
        ops: ops.collect(),
    };
    let mut store = Store::new();
    store.apply(Position { index: 1, term: 1 }, &command);
    wal::backup(file, &store.snapshot()).expect("writes");
}

fn member(dir: &Path) -> Member {
    let member = Member::load(dir).expect("reads");
    member.expect("is a member")
}

#[tokio::test]
async fn a_backup_makes_a_cluster_of_one_server_which_can_be_forced_anew() {
    let (session, _) = session(&[]);
    let dir = tempfile::tempdir().expect("a folder");
    let (file, data) = (dir.path().join("b"), dir.path().join("data"));
    backup(&file);
    let (file, path) = (file.display().to_string(), data.display().to_string());
    let line = [
        "restore",
        &file,
        "--yes",
        "--data-dir",
        &path,
        "--name",
        "z",
    ];
    let why = refused(&session, &line).await;
    assert!(why.contains("--address"), "{why}");
    let line: Vec<&str> = line
        .into_iter()
        .chain(["--address", "192.0.2.9:6443"])
        .collect();
    let text = said(&session, &line).await;
    assert!(text.contains("restored 4 objects"), "{text}");
    let restored = member(&data);
    assert_eq!((&*restored.name, &*restored.cluster_id), ("z", "c"));
    assert_eq!(restored.pod_cidr, "10.244.1.0/24", "a has the first");
    assert_eq!(restored.servers[0].address, "192.0.2.9:6443");
    let held = wal::server_id(&state_dir(&data)).expect("reads");
    assert_eq!(held, restored.server_id);
    let credentials = Credentials::load(&data).expect("loads");
    assert_eq!(credentials.seal_key(), [7; 32]);

    let why = refused(&session, &line).await;
    assert!(why.contains("holds a state already"), "{why}");
    let shown = said(&session, &["recover", "--show", "--data-dir", &path]).await;
    assert!(shown.starts_with("server z: its last entry is"), "{shown}");
    let line = [
        "recover",
        "--force-new-cluster",
        "--yes",
        "--data-dir",
        &path,
    ];
    let text = said(&session, &line).await;
    assert!(text.contains("z is the only server"), "{text}");
    let forced = member(&data);
    assert_ne!(forced.server_id, restored.server_id);
    let held = wal::server_id(&state_dir(&data)).expect("reads");
    assert_eq!(held, forced.server_id);
    assert_eq!(forced.servers[0].server_id, held.expect("a number"));

    // Its state was lost: the same machine is restored as what it is.
    std::fs::remove_dir_all(state_dir(&data)).expect("removes");
    let line = ["restore", &file, "--yes", "--data-dir", &path];
    said(&session, &line).await;
    let again = member(&data);
    assert_eq!((&*again.name, &again.pod_cidr), ("z", &restored.pod_cidr));
    assert_eq!(
        wal::server_id(&state_dir(&data)).expect("reads"),
        again.server_id
    );
}
