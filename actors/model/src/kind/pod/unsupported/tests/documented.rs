//! `POD_FIELDS.md` says of every field of a pod whether it is honoured, and by which test that
//! shows, or refused, and how. The fields come from the schema, so a new one fails here first.

use super::super::*;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path as FilePath, PathBuf};

/// What the table says of a field.
struct Row {
    verdict: String,
    detail: String,
}

/// What Kubernetes itself forbids in a container that is added to a running pod, and
/// `volumeDevices`, which no container has.
const FORBIDDEN: &[&str] = &[
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "startupProbe",
    "volumeDevices",
];

fn names<T>(table: Table<T>) -> BTreeSet<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

/// The refused fields by the name of their type. Types that are not here refuse nothing.
fn refused() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let port = names(PORT)
        .union(&names(HOST_NETWORK_PORT))
        .copied()
        .collect();
    BTreeMap::from([
        ("PodSpec", names(POD_SPEC)),
        ("Affinity", names(AFFINITY)),
        ("Toleration", names(TOLERATION)),
        ("PodSecurityContext", names(POD_SECURITY)),
        ("Container", names(CONTAINER)),
        ("SecurityContext", names(SECURITY)),
        ("ResourceRequirements", names(RESOURCES)),
        ("EnvVarSource", names(ENV_SOURCE)),
        ("VolumeMount", names(MOUNT)),
        ("Volume", names(VOLUME)),
        ("EmptyDirVolumeSource", names(EMPTY_DIR)),
        ("ConfigMapVolumeSource", names(CONFIG_MAP)),
        ("SecretVolumeSource", names(SECRET)),
        ("KeyToPath", names(ITEM)),
        ("ContainerPort", port),
        ("VolumeProjection", names(PROJECTION)),
        ("ProjectedVolumeSource", names(PROJECTED)),
        ("DownwardAPIVolumeSource", names(DOWNWARD)),
        ("DownwardAPIVolumeFile", names(DOWNWARD_FILE)),
        ("ServiceAccountTokenProjection", names(TOKEN)),
        ("LifecycleHandler", names(HOOK)),
        ("HTTPGetAction", names(HTTP_GET)),
        ("EphemeralContainer", FORBIDDEN.iter().copied().collect()),
    ])
}

fn actors() -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn table() -> BTreeMap<String, Row> {
    let text = std::fs::read_to_string(actors().join("model/POD_FIELDS.md")).expect("the table");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, field, verdict, detail, _] = cells[..] else {
            return None;
        };
        let field = field.strip_prefix('`')?.strip_suffix('`')?;
        let row = Row {
            verdict: verdict.to_string(),
            detail: detail.to_string(),
        };
        Some((field.to_string(), row))
    });
    rows.collect()
}

fn short(reference: &str) -> &str {
    reference.rsplit(['/', '.']).next().unwrap_or(reference)
}

/// The types that a field leads to.
fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                found.push(reference.trim_start_matches("#/$defs/").to_string());
            }
            fields.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

/// Every field of the spec and of what it is made of, as `TYPE.FIELD`; what is below a refused one
/// is refused with it.
fn fields() -> BTreeSet<(String, String)> {
    let schema = schemars::schema_for!(PodSpec).to_value();
    let refused = refused();
    let (mut all, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut open = vec![("PodSpec".to_string(), schema.clone())];
    while let Some((name, schema_of_type)) = open.pop() {
        let properties = schema_of_type["properties"].as_object();
        for (field, schema_of_field) in properties.into_iter().flatten() {
            all.insert((name.clone(), field.clone()));
            if refused.get(&*name).is_some_and(|r| r.contains(&**field)) {
                continue;
            }
            let mut found = Vec::new();
            references(schema_of_field, &mut found);
            for reference in found {
                let of_type = schema["$defs"][&reference].clone();
                if seen.insert(reference.clone()) {
                    open.push((short(&reference).to_string(), of_type));
                }
            }
        }
    }
    all
}

/// The names of all functions below the folders with tests.
fn functions() -> BTreeSet<String> {
    let root = actors().join("..");
    let mut open: Vec<PathBuf> = ["actors", "runtime", "net", "dns", "bin", "tests"]
        .iter()
        .map(|folder| root.join(folder))
        .collect();
    let mut all = BTreeSet::new();
    while let Some(path) = open.pop() {
        let Ok(kind) = std::fs::symlink_metadata(&path).map(|m| m.file_type()) else {
            continue;
        };
        if kind.is_dir() && !path.ends_with("target") {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            open.extend(entries.map(|e| e.path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let named = text
                .split("fn ")
                .skip(1)
                .filter_map(|rest| rest.split('(').next());
            all.extend(named.map(str::to_string));
        }
    }
    all
}

#[test]
fn every_field_of_a_pod_is_in_the_table_as_it_is() {
    let (table, refused, fields) = (table(), refused(), fields());
    assert!(fields.len() > 100, "the schema was not walked: {fields:?}");
    let mut faults = Vec::new();
    let mut known = BTreeSet::new();
    for (of_type, field) in &fields {
        let name = format!("{of_type}.{field}");
        let is_refused = refused
            .get(&**of_type)
            .is_some_and(|r| r.contains(&**field));
        let wanted = if is_refused { "refused" } else { "honoured" };
        match table.get(&name) {
            None => faults.push(format!("{name} is missing: it is {wanted}")),
            Some(row) if row.verdict != wanted => {
                faults.push(format!("{name} is {wanted}, not {}", row.verdict));
            }
            Some(_) => {}
        }
        known.insert(name);
    }
    let gone = table.keys().filter(|name| !known.contains(*name));
    faults.extend(
        gone.map(|name| format!("there is no field {name}, or what it belongs to is refused")),
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_tests_that_the_table_names_are_there() {
    let functions = functions();
    let mut faults = Vec::new();
    for (name, row) in table() {
        if row.verdict == "refused" {
            let words = ["is not supported", "cannot be set"];
            if !words.iter().any(|w| row.detail.contains(w)) {
                faults.push(format!("{name}: how is it refused?"));
            }
            continue;
        }
        // Behind the names may stand a remark in parentheses.
        let named = row.detail.split(" (").next().unwrap_or_default();
        let tests: Vec<&str> = named
            .split(',')
            .map(|t| t.trim().trim_matches('`'))
            .collect();
        for test in tests {
            if !functions.contains(test) {
                faults.push(format!("{name}: there is no test {test:?}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
