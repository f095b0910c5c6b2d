//! `patch` and `scale`.

use super::change::ChangeArgs;
use super::failure::{Failure, Outcome, fail};
use super::resolver::{self, Found};
use super::session::Session;
use anyhow::Context;
use kabuki_model::request::{PatchType, Request, Subresource};
use serde_json::Value;
use std::path::PathBuf;

/// Arguments of `patch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Strategic merge: lists are merged by their keys\n  \
    kabuki patch deploy web -p '{\"spec\":{\"replicas\":2}}'\n\n  \
    # More processor time for a running container\n  \
    kabuki patch pod web-1 --subresource=resize -p \
    '{\"spec\":{\"containers\":[{\"name\":\"web\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]}}'\n\n  \
    # JSON patch\n  \
    kabuki patch pod web-1 --type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/labels/a\"}]'")]
pub struct PatchArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// The patch, as JSON or YAML
    #[arg(
        short,
        long,
        required_unless_present = "patch_file",
        value_name = "PATCH"
    )]
    patch: Option<String>,
    /// A file with the patch
    #[arg(long, conflicts_with = "patch", value_name = "FILE")]
    patch_file: Option<PathBuf>,
    /// How the patch is to be read
    #[arg(long = "type", value_enum, default_value = "strategic")]
    patch_type: Form,
    /// Which part of the object is patched
    #[arg(long, value_enum, value_name = "status|scale|resize")]
    subresource: Option<Part>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    Json,
    Merge,
    Strategic,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Part {
    Status,
    Scale,
    Resize,
}

/// Runs `patch`.
pub async fn patch(session: &Session, args: PatchArgs) -> Outcome {
    let text = match (&args.patch, &args.patch_file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?,
        (None, None) => fail!("must specify --patch or --patch-file"),
    };
    let patch: Value = serde_yaml_ng::from_str(&text).context("unable to parse the patch")?;
    let patch_type = match args.patch_type {
        Form::Json => PatchType::Json,
        Form::Merge => PatchType::Merge,
        Form::Strategic => PatchType::Strategic,
    };
    let subresource = args.subresource.map(|part| match part {
        Part::Status => Subresource::Status,
        Part::Scale => Subresource::Scale,
        Part::Resize => Subresource::Resize,
    });
    let findings = args.change.find(session, &args.what).await?;
    let mut failures = findings.failures;
    for found in findings.found {
        let before = found.object.to_value()?;
        let after = if args.change.local || args.change.write.dry_run().on_client() {
            let patched = kabuki_model::patch::apply(patch_type, &before, &patch);
            patched.map_err(|error| Failure::new(error.to_string()))?
        } else {
            let answer = session
                .request(Request::Patch {
                    key: found.key().clone(),
                    subresource,
                    patch_type,
                    patch: patch.to_string().into(),
                    options: args.change.write.options(),
                })
                .await;
            match answer.map(kabuki_model::request::Answer::into_object) {
                Ok(Some(object)) => object.to_value()?,
                Ok(None) => fail!("the server answered no object"),
                Err(failure @ Failure::Server(_)) => {
                    failures.push(failure);
                    continue;
                }
                Err(failure) => return Err(failure),
            }
        };
        let did = if changed(&before, &after) {
            "patched"
        } else {
            "patched (no change)"
        };
        args.change.write.done(session, found.kind, &after, did)?;
    }
    Failure::gather(failures)
}

fn changed(before: &Value, after: &Value) -> bool {
    before != after
}

/// Arguments of `scale`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki scale deployment web --replicas=5\n\n  \
    # Only if it has three now\n  \
    kabuki scale deploy/web --current-replicas=3 --replicas=5")]
pub struct ScaleArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// How many pods are wanted
    #[arg(long, value_name = "COUNT")]
    replicas: u32,
    /// Only objects that want so many now; -1 is any
    #[arg(long, default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
    current_replicas: i64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `scale`.
pub async fn scale(session: &Session, args: ScaleArgs) -> Outcome {
    let edit = |found: &Found, value: &mut Value| {
        let Some(current) = value["spec"]["replicas"].as_i64() else {
            fail!("cannot scale {}: its kind has no replicas", found.label());
        };
        if args.current_replicas >= 0 && current != args.current_replicas {
            fail!(
                "{}: Expected replicas to be {}, was {current}",
                resolver::label(found.kind, &found.key().name),
                args.current_replicas
            );
        }
        value["spec"]["replicas"] = args.replicas.into();
        Ok("scaled")
    };
    args.change.each(session, &args.what, edit).await
}
