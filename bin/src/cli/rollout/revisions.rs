//! `rollout history` and `rollout undo`: a deployment's revisions are its replica sets.

use super::{ChangeArgs, deployments, replace_template};
use crate::cli::describe;
use crate::cli::failure::{Outcome, fail};
use crate::cli::pods::selector_of;
use crate::cli::printer::{list_of, shown};
use crate::cli::resolver::{self, Found};
use crate::cli::session::Session;
use kabuki_model::object::Resource;
use kabuki_model::request::ListRequest;
use serde_json::Value;
use std::collections::BTreeMap;

/// The annotation in which a replica set keeps its revision.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The annotation in which people keep why they changed something.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// The label that tells the pods of replica sets apart; no part of what was asked for.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Arguments of `rollout history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// Show one revision in full
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "NUMBER"
    )]
    revision: u64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Arguments of `rollout undo`.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// To which revision; 0 is the one before the present one
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "NUMBER"
    )]
    to_revision: u64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// The replica sets of a deployment by their revisions.
async fn revisions(session: &Session, found: &Found) -> Outcome<BTreeMap<u64, Value>> {
    let key = found.key();
    let mut request = ListRequest::all(Resource::REPLICA_SETS, Some(&key.namespace));
    request.labels = selector_of(found.kind, &found.object.to_value()?)?;
    let mut revisions = BTreeMap::new();
    for set in resolver::list(session, request).await?.1 {
        let mut owners = set.meta().owner_references.iter().flatten();
        if !owners.any(|o| *o.uid == *found.object.uid) {
            continue;
        }
        let value = set.to_value()?;
        let revision = value["metadata"]["annotations"][REVISION].as_str();
        if let Some(number) = revision.and_then(|r| r.parse().ok()) {
            revisions.insert(number, value);
        }
    }
    Ok(revisions)
}

/// The template that a replica set was made from.
fn template_of(set: &Value) -> Value {
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

/// Runs `rollout history`.
pub async fn history(session: &Session, args: HistoryArgs) -> Outcome {
    let format = args.change.write.format()?;
    for found in deployments(session, &args.what, &args.change, "history").await? {
        let revisions = revisions(session, &found).await?;
        if args.revision > 0 {
            let Some(set) = revisions.get(&args.revision) else {
                fail!("unable to find the specified revision {}", args.revision);
            };
            if !format.is_human() {
                format.value(&session.out, &shown(set.clone(), false), false)?;
                continue;
            }
            session.out.line(format!(
                "{} with revision #{}",
                found.label(),
                args.revision
            ))?;
            session
                .out
                .text(&describe::template(&set["spec"]["template"]))?;
            continue;
        }
        if !format.is_human() {
            let sets = revisions.into_values().map(|set| shown(set, false));
            format.value(&session.out, &list_of(sets.collect()), false)?;
            continue;
        }
        session.out.line(format!("{} ", found.label()))?;
        let mut text = "REVISION\tCHANGE-CAUSE\n".to_string();
        for (number, set) in &revisions {
            let cause = set["metadata"]["annotations"][CHANGE_CAUSE].as_str();
            text.push_str(&format!("{number}\t{}\n", cause.unwrap_or("<none>")));
        }
        session.out.line(crate::cli::align::tabs(&text, 2))?;
    }
    Ok(())
}

/// Runs `rollout undo`.
pub async fn undo(session: &Session, args: UndoArgs) -> Outcome {
    for found in deployments(session, &args.what, &args.change, "undoing").await? {
        let value = found.object.to_value()?;
        let name = &found.key().name;
        if value["spec"]["paused"] == true {
            fail!(
                "you cannot rollback a paused deployment; resume it first with 'kabuki rollout \
                 resume deployment/{name}' and try again"
            );
        }
        let revisions = revisions(session, &found).await?;
        let wanted = match args.to_revision {
            0 => match revisions.keys().rev().nth(1) {
                Some(number) => *number,
                None => fail!("no rollout history found for deployment {name:?}"),
            },
            number => number,
        };
        let Some(set) = revisions.get(&wanted) else {
            fail!("unable to find specified revision {wanted} in history");
        };
        let template = template_of(set);
        if template == value["spec"]["template"] {
            let why =
                format!("skipped rollback (current template already matches revision {wanted})");
            args.change.write.done(session, found.kind, &value, &why)?;
            continue;
        }
        let mut after = value;
        if args.change.write.dry_run().on_client() {
            after["spec"]["template"] = template;
        } else {
            after = replace_template(session, &found, &template, &args.change).await?;
        }
        args.change
            .write
            .done(session, found.kind, &after, "rolled back")?;
    }
    Ok(())
}
