//! `diff`: what apply would change. The server answers a dry run, so what it defaults and refuses
//! is part of the comparison; the `diff` program tells it.

use super::apply;
use super::failure::{Failure, Outcome, fail};
use super::printer::shown;
use super::resolver::{FileArgs, Locate, Manifest, read_manifests};
use super::session::Session;
use super::write::{place, select_labels};
use anyhow::Context;
use kabuki_model::kind::Kind;
use kabuki_model::manifest::to_yaml;
use kabuki_model::object::{ObjectKey, Resource};
use kabuki_model::patch::LAST_APPLIED;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki diff -f web.yaml\n  \
    generate | kabuki diff -f -\n  \
    KUBECTL_EXTERNAL_DIFF='colordiff -N -u' kabuki diff -f manifests/ -R\n\n\
The exit code is 0 when nothing would change, 1 when something would, and more than 1 when \
comparing failed.")]
pub struct DiffArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Only manifests with these labels
    #[arg(
        short = 'l',
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "LABELS"
    )]
    selector: String,
    /// Keep `metadata.managedFields` in what is compared
    #[arg(long)]
    show_managed_fields: bool,
    /// Not supported
    #[arg(long, hide = true)]
    server_side: bool,
    /// Not supported
    #[arg(long, hide = true)]
    prune: bool,
}

/// The exit code when something differs, as of `diff` itself.
const DIFFERENT: u8 = 1;
/// The exit code when comparing failed: 1 has a meaning of its own.
const FAILED: u8 = 2;
/// Which program compares, and how, unless `$KUBECTL_EXTERNAL_DIFF` says another.
const PROGRAM: &str = "diff -u -N";

/// Runs `diff`.
pub async fn run(session: &Session, args: DiffArgs) -> Outcome {
    match compare(session, &args).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(Failure::Exit(DIFFERENT)),
        Err(failure @ Failure::Exit(_)) => Err(failure),
        Err(failure) => {
            session.out.note(failure.text());
            Err(Failure::Exit(FAILED))
        }
    }
}

/// Whether anything differs.
async fn compare(session: &Session, args: &DiffArgs) -> Outcome<bool> {
    if args.server_side || args.prune {
        fail!("--server-side and --prune are not supported: diff compares what apply would do");
    }
    let folders = tempfile::tempdir().context("cannot make a folder for what is compared")?;
    let (live, merged) = (folders.path().join("LIVE"), folders.path().join("MERGED"));
    for folder in [&live, &merged] {
        std::fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut failures = Vec::new();
    for mut manifest in read_manifests(&args.files, &mut failures)? {
        if !select_labels(&args.selector, &manifest.value)? {
            continue;
        }
        let outcome = async {
            let (kind, key) = manifest.locate(session)?;
            place(&mut manifest.value, kind, &key.namespace);
            sides(session, kind, &key, &manifest)
                .await
                .map(|sides| (kind, key, sides))
        };
        match outcome.await {
            Ok((kind, key, (mut before, mut after))) => {
                if kind.resource == Resource::SECRETS {
                    mask(before.as_mut(), &mut after);
                }
                let name = file_name(kind, &key);
                let text = |value| to_yaml(&shown(value, args.show_managed_fields));
                if let Some(before) = before {
                    write(&live.join(&name), &text(before))?;
                }
                write(&merged.join(&name), &text(after))?;
            }
            Err(failure @ (Failure::Server(_) | Failure::Local(_))) => failures.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    let different = show(session, &live, &merged)?;
    Failure::gather(failures)?;
    Ok(different)
}

/// What there is, and what there would be.
async fn sides(
    session: &Session,
    kind: &'static Kind,
    key: &ObjectKey,
    manifest: &Manifest,
) -> Outcome<(Option<Value>, Value)> {
    if manifest.name.is_empty() {
        fail!(
            "from {}: cannot compare an object with a generated name; give metadata.name",
            manifest.source
        );
    }
    let before = match session.find(key).await? {
        Some(stored) => Some(stored.to_value()?),
        None => None,
    };
    let mut after = apply::rehearse(session, kind, key, manifest).await?;
    // A dry run has its own idea of what does not exist yet, and no two of them agree.
    if before.is_none()
        && let Some(metadata) = after["metadata"].as_object_mut()
    {
        for field in ["uid", "resourceVersion"] {
            metadata.remove(field);
        }
    }
    if let Some(before) = &before {
        // Nothing was stored, so there is no newer version either.
        after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
    }
    Ok((before, after))
}

/// `apps.v1.Deployment.default.web`
fn file_name(kind: &Kind, key: &ObjectKey) -> String {
    let names = &kind.names;
    let parts = [
        names.group,
        names.version,
        names.kind,
        &key.namespace,
        &key.name,
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join(".")
}

/// Hides the values of a secret, but not whether they differ.
fn mask(mut before: Option<&mut Value>, after: &mut Value) {
    let keys = |value: &Value| -> Vec<String> {
        let data = value["data"].as_object();
        data.into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    };
    for key in keys(after) {
        let there = before
            .as_deref_mut()
            .and_then(|b| b.get_mut("data")?.get_mut(&key));
        match there {
            Some(value) if *value != after["data"][&key] => {
                *value = "*** (before)".into();
                after["data"][&key] = "*** (after)".into();
            }
            _ => after["data"][&key] = "***".into(),
        }
    }
    if let Some(before) = before.as_deref_mut() {
        for key in keys(before) {
            if before["data"][&key] != "*** (before)" {
                before["data"][&key] = "***".into();
            }
        }
    }
    // What was last applied holds the values too.
    for value in before.into_iter().chain([after]) {
        if let Some(annotations) = value
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(LAST_APPLIED);
        }
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    Ok(std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?)
}

/// Runs the program that compares, and says whether it found differences.
fn show(session: &Session, live: &Path, merged: &Path) -> Outcome<bool> {
    let given = std::env::var("KUBECTL_EXTERNAL_DIFF")
        .ok()
        .filter(|p| !p.trim().is_empty());
    let given = given.unwrap_or_else(|| PROGRAM.to_string());
    let mut words = given.split_whitespace();
    let program = words.next().unwrap_or("diff");
    let mut command = Command::new(program);
    command.args(words);
    let output = command.arg(live).arg(merged).output().with_context(|| {
        format!("cannot run {program:?}: install it, or name another in $KUBECTL_EXTERNAL_DIFF")
    })?;
    session.out.bytes(&output.stdout)?;
    session.out.error_bytes(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => fail!("{given:?} failed ({})", output.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::resolver::kind_named;
    use serde_json::json;

    #[test]
    fn the_values_of_secrets_are_hidden_but_not_their_differences() {
        let mut before = json!({"data": {"a": "1", "b": "2", "gone": "3"}});
        let mut after = json!({"data": {"a": "1", "b": "9", "new": "4"}});
        mask(Some(&mut before), &mut after);
        assert_eq!(
            before["data"],
            json!({"a": "***", "b": "*** (before)", "gone": "***"})
        );
        assert_eq!(
            after["data"],
            json!({"a": "***", "b": "*** (after)", "new": "***"})
        );
        let mut alone =
            json!({"data": {"a": "1"}, "metadata": {"annotations": {LAST_APPLIED: "1"}}});
        mask(None, &mut alone);
        assert_eq!(
            alone,
            json!({"data": {"a": "***"}, "metadata": {"annotations": {}}})
        );
    }

    #[test]
    fn files_are_named_after_their_objects() {
        let name = |kind: &str, namespace: &str| {
            let kind = kind_named(kind).expect("a kind");
            file_name(
                kind,
                &ObjectKey::new(kind.resource.clone(), namespace, "web"),
            )
        };
        assert_eq!(name("deploy", "shop"), "apps.v1.Deployment.shop.web");
        assert_eq!(name("namespace", ""), "v1.Namespace.web");
    }
}
