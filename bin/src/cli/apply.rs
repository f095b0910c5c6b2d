//! `apply`: makes objects be as manifests say. What a manifest no longer says is removed, what it
//! never said is left alone: a patch of three ways, from what was last applied, what the manifest
//! says now, and what the object is.

use super::failure::{Failure, Outcome, fail};
use super::printer::{DryRun, list_of, shown};
use super::resolver::{FileArgs, Found, Locate, Manifest, read_manifests};
use super::session::Session;
use super::waiting::{Limit, until_gone};
use super::write::{WriteArgs, place, select_labels};
use futures::StreamExt;
use kabuki_model::kind::Kind;
use kabuki_model::object::{ObjectKey, Resource, Stored};
use kabuki_model::patch::{self, LAST_APPLIED};
use kabuki_model::request::{DeleteOptions, PatchType, WriteOptions};
use kabuki_model::status::Reason;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # One manifest, a folder of them, standard input\n  \
    kabuki apply -f web.yaml\n  \
    kabuki apply -f manifests/ -R\n  \
    generate | kabuki apply -f -\n\n  \
    # Have the server check it, without storing anything\n  \
    kabuki apply -f web.yaml --dry-run=server")]
pub struct ApplyArgs {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// Only manifests with these labels
    #[arg(
        short = 'l',
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "LABELS"
    )]
    selector: String,
    /// Delete and create anew what cannot be changed in place
    #[arg(long)]
    force: bool,
    /// Not supported
    #[arg(long, hide = true)]
    server_side: bool,
    /// Not supported
    #[arg(long, hide = true)]
    prune: bool,
}

/// How many objects are applied at once.
const CONCURRENCY: usize = 32;
/// How often a patch is made anew when the object changed meanwhile.
const CONFLICT_RETRIES: usize = 5;
/// How long `--force` waits for the old object to go.
const FORCE_LIMIT: Duration = Duration::from_secs(300);

/// One object that is to be applied.
struct Job {
    kind: &'static Kind,
    key: ObjectKey,
    manifest: Manifest,
}

/// Runs `apply`.
pub async fn run(session: &Session, args: ApplyArgs) -> Outcome {
    if args.server_side {
        fail!("--server-side is not supported: apply without it merges on this side");
    }
    if args.prune {
        fail!("--prune is not supported: delete what is no longer wanted by name or with -l");
    }
    let format = args.write.format()?;
    let mut failures = Vec::new();
    let mut applied = Vec::new();
    for batch in batches(jobs(session, &args, &mut failures)?) {
        let mut outcomes = futures::stream::iter(batch)
            .map(|job| async { (apply(session, &args, &job).await, job) })
            .buffered(CONCURRENCY);
        while let Some((outcome, job)) = outcomes.next().await {
            match outcome {
                Ok((value, _)) if !format.is_human() => applied.push((job.kind, value)),
                Ok((value, did)) => args.write.done(session, job.kind, &value, did)?,
                Err(failure @ Failure::Server(_)) => failures.push(failure),
                Err(failure) => return Err(failure),
            }
        }
    }
    match format {
        super::printer::Format::Name => {
            for (kind, value) in &applied {
                format.did(&session.out, kind, value, "", DryRun::None)?;
            }
        }
        _ if applied.is_empty() => {}
        _ => {
            let mut values: Vec<Value> = applied
                .into_iter()
                .map(|(_, value)| shown(value, false))
                .collect();
            let whole = if values.len() == 1 {
                values.remove(0)
            } else {
                list_of(values)
            };
            format.value(&session.out, &whole, false)?;
        }
    }
    Failure::gather(failures)
}

fn jobs(session: &Session, args: &ApplyArgs, failures: &mut Vec<Failure>) -> Outcome<Vec<Job>> {
    let mut jobs = Vec::new();
    for mut manifest in read_manifests(&args.files, failures)? {
        if manifest.name.is_empty() {
            failures.push(Failure::new(format!(
                "from {}: cannot use generate name with apply; give metadata.name, or use create",
                manifest.source
            )));
            continue;
        }
        if !select_labels(&args.selector, &manifest.value)? {
            continue;
        }
        match manifest.locate(session) {
            Ok((kind, key)) => {
                place(&mut manifest.value, kind, &key.namespace);
                jobs.push(Job {
                    kind,
                    key,
                    manifest,
                });
            }
            Err(failure) => failures.push(failure),
        }
    }
    Ok(jobs)
}

/// Objects that may be applied at once: what comes after a namespace waits for it, and an object
/// that is there twice is applied twice, in order.
fn batches(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut batches: Vec<Vec<Job>> = Vec::new();
    let mut keys: HashSet<ObjectKey> = HashSet::new();
    let mut namespaces = false;
    for job in jobs {
        let is_namespace = job.kind.resource == Resource::NAMESPACES;
        if batches.is_empty() || namespaces != is_namespace || keys.contains(&job.key) {
            batches.push(Vec::new());
            keys.clear();
        }
        namespaces = is_namespace;
        keys.insert(job.key.clone());
        if let Some(batch) = batches.last_mut() {
            batch.push(job);
        }
    }
    batches
}

async fn apply(session: &Session, args: &ApplyArgs, job: &Job) -> Outcome<(Value, &'static str)> {
    let source = &job.manifest.source;
    let mut modified = job.manifest.value.clone();
    patch::set_last_applied(&mut modified);
    for _ in 0..CONFLICT_RETRIES {
        let current = session.find(&job.key).await;
        let current =
            current.map_err(|f| f.during("retrieving current configuration of", source))?;
        let Some(current) = current else {
            return create(session, args, job, modified).await;
        };
        match change(session, args, job, &modified, &current).await {
            Err(Failure::Server(error)) if error.reason == Reason::Conflict => continue,
            Err(Failure::Server(error)) if error.reason == Reason::NotFound => continue,
            Err(Failure::Server(error)) if args.force && error.reason == Reason::Invalid => {
                return recreate(session, args, job, modified, current).await;
            }
            Err(failure) => return Err(failure.during("applying patch to", source)),
            Ok(done) => return Ok(done),
        }
    }
    fail!("{source}: {} keeps changing; try again", job.key)
}

/// What an object would be if its manifest were applied, as the server says.
pub async fn rehearse(
    session: &Session,
    kind: &'static Kind,
    key: &ObjectKey,
    manifest: &Manifest,
) -> Outcome<Value> {
    let options = WriteOptions {
        dry_run: true,
        ..WriteArgs::default().options()
    };
    let mut modified = manifest.value.clone();
    let Some(current) = session.find(key).await? else {
        let created = session
            .create(kind, &key.namespace, &modified, options)
            .await;
        return Ok(created
            .map_err(|f| f.during("creating", &manifest.source))?
            .to_value()?);
    };
    let value = current.to_value()?;
    let last = patch::last_applied(&value);
    // What was last applied always has annotations: without any here, all of them would go.
    if modified["metadata"]["annotations"].is_null() {
        modified["metadata"]["annotations"] = json!({});
    }
    let patch = patch::create_three_way_patch(last.as_ref(), &modified, &value);
    if patch == json!({}) {
        return Ok(value);
    }
    let changed = session
        .patch(key, PatchType::Strategic, &patch, options)
        .await;
    Ok(changed
        .map_err(|f| f.during("applying patch to", &manifest.source))?
        .to_value()?)
}

async fn create(
    session: &Session,
    args: &ApplyArgs,
    job: &Job,
    modified: Value,
) -> Outcome<(Value, &'static str)> {
    if args.write.dry_run().on_client() {
        return Ok((modified, "created"));
    }
    let options = args.write.options();
    let created = session
        .create(job.kind, &job.key.namespace, &modified, options)
        .await;
    let created = created.map_err(|f| f.during("creating", &job.manifest.source))?;
    Ok((created.to_value()?, "created"))
}

async fn change(
    session: &Session,
    args: &ApplyArgs,
    job: &Job,
    modified: &Value,
    current: &Stored,
) -> Outcome<(Value, &'static str)> {
    let value = current.to_value()?;
    let label = super::resolver::label(job.kind, &job.key.name);
    if value["metadata"]["annotations"][LAST_APPLIED].is_null() {
        session.out.note(format!(
            "Warning: resource {label} is missing the {LAST_APPLIED} annotation, which apply \
             needs to know what to remove. It was made in another way; the annotation is added \
             now."
        ));
    }
    if !value["metadata"]["deletionTimestamp"].is_null() {
        session.out.note(format!(
            "Warning: Detected changes to resource {label} which is currently being deleted."
        ));
    }
    let last = patch::last_applied(&value);
    let patch = patch::create_three_way_patch(last.as_ref(), modified, &value);
    if patch == json!({}) {
        return Ok((value, "unchanged"));
    }
    if args.write.dry_run().on_client() {
        return Ok((modified.clone(), "configured"));
    }
    let options = args.write.options();
    let changed = session
        .patch(&job.key, PatchType::Strategic, &patch, options)
        .await?;
    Ok((changed.to_value()?, "configured"))
}

async fn recreate(
    session: &Session,
    args: &ApplyArgs,
    job: &Job,
    modified: Value,
    current: Arc<Stored>,
) -> Outcome<(Value, &'static str)> {
    let dry_run = args.write.dry_run().on_server();
    let options = DeleteOptions {
        dry_run,
        ..DeleteOptions::default()
    };
    session.delete(&job.key, options).await?;
    if !dry_run {
        let found = Found {
            kind: job.kind,
            object: current,
        };
        until_gone(session, &found, &Limit::after(FORCE_LIMIT)).await?;
        create(session, args, job, modified.clone()).await?;
    }
    Ok((modified, "configured"))
}
