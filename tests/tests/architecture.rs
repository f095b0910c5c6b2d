//! The workspace's own rules: who may import whom, and that the pure crates are pure.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Which of our crates each of our crates may import.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("protocol", &["model"]),
    ("store", &["model"]),
    ("admission", &["model"]),
    ("reconcile", &["model"]),
    ("schedule", &["model"]),
    ("lifecycle", &["model"]),
    ("kit", &[]),
    ("bpf", &[]),
    ("runtime", &["model", "bpf"]),
    ("net", &["model", "bpf"]),
    ("dns", &["model"]),
    ("cluster", &["model", "protocol", "kit"]),
    ("http", &["model", "protocol", "kit"]),
    (
        "plane",
        &[
            "model",
            "protocol",
            "kit",
            "cluster",
            "store",
            "admission",
            "reconcile",
            "schedule",
        ],
    ),
    (
        "agent",
        &[
            "model",
            "protocol",
            "kit",
            "lifecycle",
            "runtime",
            "net",
            "dns",
        ],
    ),
];

/// Crates that prove the others, and may import whatever they prove. Nothing imports them.
const PROOF: &[&str] = &["tests", "fuzz", "kube-tests"];

/// Crates that must not know of time, randomness, threads or actors.
const PURE: &[&str] = &[
    "model",
    "store",
    "admission",
    "reconcile",
    "schedule",
    "lifecycle",
];
/// What a pure crate may not depend on.
const IMPURE: &[&str] = &["tokio", "ractor", "ractor_cluster", "rand", "futures"];
/// What a pure crate's source may not say.
const EFFECTS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "std::fs",
    "std::net::Tcp",
    "std::thread",
    "std::process",
    "rand::",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above")
}

/// Each package of the workspace with its normal dependencies.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let normal = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        dependencies
            .iter()
            .filter(|d| d["kind"].is_null())
            .map(|d| d["name"].as_str().expect("a name").to_string())
            .collect()
    };
    packages
        .iter()
        .map(|p| (p["name"].as_str().expect("a name").to_string(), normal(p)))
        .collect()
}

#[test]
fn no_crate_imports_what_it_must_not_know() {
    let dependencies = dependencies();
    let mut wrong = Vec::new();
    for (name, allowed) in ALLOWED {
        let package = format!("kabuki-{name}");
        let found = dependencies
            .get(&package)
            .unwrap_or_else(|| panic!("{package} is missing"));
        for dependency in found.iter().filter_map(|d| d.strip_prefix("kabuki-")) {
            if !allowed.contains(&dependency) {
                wrong.push(format!("{name} imports {dependency}"));
            }
        }
    }
    for name in dependencies
        .keys()
        .filter_map(|n| n.strip_prefix("kabuki-"))
    {
        if !PROOF.contains(&name) && !ALLOWED.iter().any(|(known, _)| *known == name) {
            wrong.push(format!("{name} has no rule: add one to ALLOWED"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn actors_and_effects_stay_out_of_the_crates_below_them() {
    let dependencies = dependencies();
    let mut wrong = Vec::new();
    for name in PURE {
        for dependency in &dependencies[&format!("kabuki-{name}")] {
            if IMPURE.contains(&dependency.as_str()) {
                wrong.push(format!("{name} imports {dependency}"));
            }
        }
    }
    for name in ["runtime", "net", "dns"] {
        if dependencies[&format!("kabuki-{name}")].contains("ractor") {
            wrong.push(format!("{name} imports ractor"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_crates_take_time_and_entropy_as_arguments() {
    let mut wrong = Vec::new();
    for name in PURE {
        sources(
            &root().join("actors").join(name).join("src"),
            &mut |path, text| {
                for (number, line) in text.lines().enumerate() {
                    let code = line.split("//").next().unwrap_or_default();
                    for effect in EFFECTS.iter().filter(|e| says(code, e)) {
                        // Tests may read what they hold the code against.
                        if *effect == "std::fs" && path.iter().any(|p| p == "tests") {
                            continue;
                        }
                        wrong.push(format!("{}:{}: {effect}", path.display(), number + 1));
                    }
                }
            },
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pure places in crates that are not: what decides about names.
const PURE_PLACES: &[&str] = &[
    "dns/src/forward/cache.rs",
    "dns/src/forward/stored.rs",
    "dns/src/plain.rs",
    "dns/src/resolv_conf.rs",
    "dns/src/respond.rs",
    "dns/src/server/flood.rs",
    "dns/src/wire",
    "dns/src/wire.rs",
    "dns/src/zone",
    "dns/src/zone.rs",
];

#[test]
fn pure_places_know_no_effects() {
    let mut wrong = Vec::new();
    let effects = EFFECTS.iter().chain(&["tokio::", "std::time"]);
    for place in PURE_PLACES {
        let mut check = |path: &Path, text: &str| {
            let found = effects.clone().filter(|e| says(text, e));
            wrong.extend(found.map(|effect| format!("{}: {effect}", path.display())));
        };
        let path = root().join(place);
        match path.is_dir() {
            true => sources(&path, &mut check),
            false => check(&path, &std::fs::read_to_string(&path).expect("text")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_source_file_is_a_room_that_nobody_finds_a_thing_in() {
    let mut wrong = Vec::new();
    sources(root(), &mut |path, _| {
        let stem = path
            .file_stem()
            .and_then(|s| s.to_str())
            .unwrap_or_default();
        if ["mod", "util", "utils", "common", "misc", "helpers"].contains(&stem) {
            wrong.push(path.display().to_string());
        }
    });
    assert!(wrong.is_empty(), "say what these files are for: {wrong:?}");
}

/// Whether code uses a path, and not merely one whose last letters are the same.
fn says(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn sources(dir: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(dir).expect("a folder of the workspace") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, visit);
        } else if path.extension().is_some_and(|e| e == "rs") {
            visit(&path, &std::fs::read_to_string(&path).expect("text"));
        }
    }
}
