//! Which test shows which field of the manifest.

use super::read;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const RUNS: &str = "the_widest_deployment_of_the_lessons_runs";
const LATER: &str = "what_belongs_to_later_kinds_is_refused_by_name";
const LABEL: &str = "a_pod_of_the_deployment_waits_for_the_label_that_it_wants";
const SECRET: &str = "images_come_from_a_registry_that_wants_the_secret_of_the_manifest";

/// Fields, with all that is below them, and the test that shows them.
const SHOWN: &[(&str, &str)] = &[
    ("apiVersion", RUNS),
    ("kind", RUNS),
    ("metadata.name", RUNS),
    ("metadata.namespace", RUNS),
    ("metadata.labels", RUNS),
    ("metadata.annotations", RUNS),
    ("spec.replicas", RUNS),
    ("spec.selector", RUNS),
    (
        "spec.revisionHistoryLimit",
        "old_replica_sets_beyond_the_limit_go",
    ),
    (
        "spec.progressDeadlineSeconds",
        "a_rollout_that_does_not_move_is_called_stuck_after_its_deadline",
    ),
    (
        "spec.paused",
        "a_paused_deployment_scales_but_does_not_roll",
    ),
    (
        "spec.minReadySeconds",
        "a_pod_is_available_when_it_was_ready_long_enough",
    ),
    ("spec.strategy", "a_rolling_update_never_leaves_its_bounds"),
    ("spec.template.metadata.labels", RUNS),
    ("spec.template.metadata.annotations", RUNS),
    ("spec.template.spec.serviceAccountName", RUNS),
    ("spec.template.spec.automountServiceAccountToken", RUNS),
    ("spec.template.spec.hostNetwork", RUNS),
    ("spec.template.spec.hostPID", RUNS),
    ("spec.template.spec.hostIPC", RUNS),
    ("spec.template.spec.nodeSelector", LABEL),
    ("spec.template.spec.schedulerName", RUNS),
    ("spec.template.spec.priorityClassName", RUNS),
    ("spec.template.spec.dnsPolicy", RUNS),
    ("spec.template.spec.dnsConfig", RUNS),
    ("spec.template.spec.restartPolicy", RUNS),
    ("spec.template.spec.hostAliases", RUNS),
    ("spec.template.spec.imagePullSecrets", SECRET),
    ("spec.template.spec.securityContext.runAsUser", RUNS),
    ("spec.template.spec.securityContext.runAsGroup", RUNS),
    ("spec.template.spec.securityContext.fsGroup", RUNS),
    (
        "spec.template.spec.securityContext.runAsNonRoot",
        "root_is_kept_out_of_a_pod_that_forbids_it",
    ),
    ("spec.template.spec.securityContext.seccompProfile", RUNS),
    ("spec.template.spec.terminationGracePeriodSeconds", RUNS),
    ("spec.template.spec.affinity.nodeAffinity", LABEL),
    ("spec.template.spec.affinity.podAffinity", LATER),
    ("spec.template.spec.affinity.podAntiAffinity", LATER),
    ("spec.template.spec.tolerations", RUNS),
    ("spec.template.spec.topologySpreadConstraints", LATER),
    ("spec.template.spec.initContainers.name", RUNS),
    ("spec.template.spec.initContainers.image", SECRET),
    ("spec.template.spec.initContainers.command", RUNS),
    ("spec.template.spec.initContainers.volumeMounts", RUNS),
    ("spec.template.spec.containers.name", RUNS),
    ("spec.template.spec.containers.image", SECRET),
    ("spec.template.spec.containers.imagePullPolicy", SECRET),
    ("spec.template.spec.containers.command", RUNS),
    ("spec.template.spec.containers.args", RUNS),
    ("spec.template.spec.containers.workingDir", RUNS),
    ("spec.template.spec.containers.ports", RUNS),
    ("spec.template.spec.containers.env", RUNS),
    ("spec.template.spec.containers.envFrom", RUNS),
    ("spec.template.spec.containers.resources", RUNS),
    ("spec.template.spec.containers.securityContext", RUNS),
    ("spec.template.spec.containers.livenessProbe", RUNS),
    ("spec.template.spec.containers.readinessProbe", RUNS),
    ("spec.template.spec.containers.startupProbe", RUNS),
    ("spec.template.spec.containers.lifecycle", RUNS),
    ("spec.template.spec.containers.volumeMounts", RUNS),
    ("spec.template.spec.volumes", RUNS),
];

/// The paths of all values; those in a list have the path of the list.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                paths(value, &format!("{path}{dot}{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, path, found)),
        _ => {
            found.insert(path.to_string());
        }
    }
}

fn is_below(path: &str, field: &str) -> bool {
    let rest = path.strip_prefix(field);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// All test sources that the table may name.
fn sources() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![
        root.join("tests/end_to_end"),
        root.join("../actors/reconcile/src"),
    ];
    let mut all = String::new();
    while let Some(path) = open.pop() {
        let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
        let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
            entries.map(|e| e.path()).partition(|p| p.is_dir());
        open.extend(folders);
        for file in files {
            all.push_str(&std::fs::read_to_string(file).unwrap_or_default());
        }
    }
    all
}

#[test]
fn every_field_of_the_acceptance_manifest_is_shown_by_a_test() {
    let mut found = BTreeSet::new();
    paths(&read(), "", &mut found);
    assert!(found.len() > 80, "{found:?}");
    let is_shown = |path: &String| SHOWN.iter().any(|(field, _)| is_below(path, field));
    let missing: Vec<_> = found.iter().filter(|path| !is_shown(path)).collect();
    assert!(missing.is_empty(), "no test shows {missing:?}");
    let sources = sources();
    for (field, test) in SHOWN {
        assert!(
            found.iter().any(|path| is_below(path, field)),
            "there is no {field}"
        );
        assert!(
            sources.contains(&format!("fn {test}()")),
            "there is no test {test}"
        );
    }
}
