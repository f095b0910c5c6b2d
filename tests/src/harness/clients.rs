//! Clients that are in no package of Debian: made once, below the target folder, from their own
//! registries. A version is pinned, and part of the folder's name.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release of the Python client on PyPI.
const PYTHON_CLIENT: &str = "37.0.2";
/// Debian's own version of Prometheus (2.42.0) as a Go module. Debian's package leaves the
/// discovery of Kubernetes out, so that it cannot show anything here.
const PROMETHEUS: &str = "v0.42.0";
/// What `make plugins` writes when `plugins.yml` names the discovery of Kubernetes alone: those of
/// the clouds would take most of the time to build.
const PROMETHEUS_PLUGINS: &str = "package plugins\n\n\
     import _ \"github.com/prometheus/prometheus/discovery/kubernetes\"\n";

/// A Python interpreter that has the Kubernetes client.
pub fn python() -> PathBuf {
    let folder = made(&format!("python-{PYTHON_CLIENT}"), |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let package = format!("kubernetes=={PYTHON_CLIENT}");
        let mut pip = Command::new(folder.join("bin/pip"));
        run(pip.args(["install", "--quiet", &package]));
    });
    folder.join("bin/python")
}

/// A Prometheus that can discover what a cluster has.
pub fn prometheus() -> PathBuf {
    let folder = made(&format!("prometheus-{PROMETHEUS}"), |folder| {
        let module = format!("github.com/prometheus/prometheus@{PROMETHEUS}");
        let mut download = Command::new("go");
        download.args(["mod", "download", "-json", &module]);
        let told = run(download.current_dir(folder));
        let told: serde_json::Value = serde_json::from_slice(&told).expect("go prints JSON");
        let source = folder.join("source");
        let kept = told["Dir"].as_str().expect("a folder");
        run(Command::new("cp").args(["-r", kept]).arg(&source));
        run(Command::new("chmod").args(["-R", "u+w"]).arg(&source));
        let plugins = source.join("plugins/plugins.go");
        std::fs::write(plugins, PROMETHEUS_PLUGINS).expect("writes");
        let mut build = Command::new("go");
        build.args(["build", "-o", "../prometheus", "./cmd/prometheus"]);
        run(build.current_dir(&source));
        std::fs::remove_dir_all(&source).expect("it was there");
    });
    folder.join("prometheus")
}

/// A program that reads and writes objects in protobuf by Kubernetes' own code.
pub fn protobuf_check() -> PathBuf {
    const FILES: [(&str, &str); 3] = [
        (
            "main.go",
            include_str!("../../tests/end_to_end/protobuf/main.go"),
        ),
        (
            "go.mod",
            include_str!("../../tests/end_to_end/protobuf/go.mod"),
        ),
        (
            "go.sum",
            include_str!("../../tests/end_to_end/protobuf/go.sum"),
        ),
    ];
    let mut hasher = DefaultHasher::new();
    FILES.hash(&mut hasher);
    let folder = made(&format!("protobuf-{:016x}", hasher.finish()), |folder| {
        for (name, text) in FILES {
            std::fs::write(folder.join(name), text).expect("writes");
        }
        let mut build = Command::new("go");
        run(build
            .args(["build", "-o", "check", "."])
            .current_dir(folder));
    });
    folder.join("check")
}

/// The folder of this name, which `make` fills if nobody has. One that was left half made is
/// made anew.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    // target/debug/deps/test-1234 -> target/clients
    let own = std::env::current_exe().expect("a test knows its own path");
    let clients = own
        .ancestors()
        .nth(3)
        .expect("target folder")
        .join("clients");
    std::fs::create_dir_all(&clients).expect("a folder for clients");
    let lock = File::create(clients.join(format!("{name}.lock"))).expect("a lock");
    lock.lock().expect("one makes it at a time");
    let folder = clients.join(name);
    let complete = folder.join("complete");
    if !complete.exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).expect("it was removed");
        make(&folder);
        File::create(&complete).expect("writes");
    }
    folder
}

fn run(command: &mut Command) -> Vec<u8> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{shown}: {e}: tests/prepare installs what is needed"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}: {errors}");
    output.stdout
}
