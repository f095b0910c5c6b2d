//! `rollout`: how a deployment comes to a new template, and back.

mod revisions;
mod status;

use super::change::ChangeArgs;
use super::failure::{Failure, Outcome, fail};
use super::resolver::{self, Found};
use super::session::Session;
use jiff::Timestamp;
use kabuki_model::object::Resource;
use kabuki_model::request::PatchType;
use serde_json::{Value, json};

/// Arguments of `rollout`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki rollout status deploy/web\n  \
    kabuki rollout history deploy/web --revision=2\n  \
    kabuki rollout undo deploy/web\n  \
    kabuki rollout restart deploy/web")]
pub struct RolloutArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Tell how far it is, until it is done
    #[command(after_help = "Example:\n  kabuki rollout status deploy/web --timeout=1m")]
    Status(status::StatusArgs),
    /// Show the revisions
    #[command(after_help = "Example:\n  kabuki rollout history deploy/web --revision=2")]
    History(revisions::HistoryArgs),
    /// Go back to an earlier revision
    #[command(after_help = "Example:\n  kabuki rollout undo deploy/web --to-revision=2")]
    Undo(revisions::UndoArgs),
    /// Replace all pods, in order
    #[command(after_help = "Example:\n  kabuki rollout restart deploy/web")]
    Restart(SimpleArgs),
    /// Let changes of the template wait
    #[command(after_help = "Example:\n  kabuki rollout pause deploy/web")]
    Pause(SimpleArgs),
    /// Roll out what waited
    #[command(after_help = "Example:\n  kabuki rollout resume deploy/web")]
    Resume(SimpleArgs),
}

/// Arguments of the verbs that only need to know which.
#[derive(Debug, clap::Args)]
struct SimpleArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// When the pods were last replaced on request.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Runs `rollout`.
pub async fn run(session: &Session, args: RolloutArgs) -> Outcome {
    match args.what {
        What::Status(args) => status::run(session, args).await,
        What::History(args) => revisions::history(session, args).await,
        What::Undo(args) => revisions::undo(session, args).await,
        What::Restart(args) => restart(session, args).await,
        What::Pause(args) => pause(session, args, true).await,
        What::Resume(args) => pause(session, args, false).await,
    }
}

/// Only deployments roll out.
fn check_kind(found: &Found, verb: &str) -> Outcome {
    match found.kind.resource == Resource::DEPLOYMENTS {
        true => Ok(()),
        false => fail!("{}: {verb} is only supported on deployments", found.label()),
    }
}

async fn restart(session: &Session, args: SimpleArgs) -> Outcome {
    let now = Timestamp::from_second(Timestamp::now().as_second());
    let now = now.unwrap_or(Timestamp::UNIX_EPOCH).to_string();
    let edit = |found: &Found, value: &mut Value| {
        check_kind(found, "restarting")?;
        if value["spec"]["paused"] == true {
            fail!(
                "{} can't restart paused deployment (run rollout resume first)",
                named(found)
            );
        }
        let template = &mut value["spec"]["template"];
        if !template["metadata"]["annotations"].is_object() {
            template["metadata"]["annotations"] = json!({});
        }
        template["metadata"]["annotations"][RESTARTED_AT] = now.as_str().into();
        Ok("restarted")
    };
    args.change.each(session, &args.what, edit).await
}

async fn pause(session: &Session, args: SimpleArgs, pause: bool) -> Outcome {
    let edit = |found: &Found, value: &mut Value| {
        check_kind(found, if pause { "pausing" } else { "resuming" })?;
        let paused = value["spec"]["paused"] == true;
        match (pause, paused) {
            (true, true) => fail!("{} is already paused", named(found)),
            (false, false) => fail!("{} is not paused", named(found)),
            (true, false) => value["spec"]["paused"] = true.into(),
            (false, true) => {
                if let Some(spec) = value["spec"].as_object_mut() {
                    spec.remove("paused");
                }
            }
        }
        Ok(if pause { "paused" } else { "resumed" })
    };
    args.change.each(session, &args.what, edit).await
}

/// `deployments.apps "web"`
fn named(found: &Found) -> String {
    format!("{} {:?}", found.kind.resource, &*found.key().name)
}

/// Replaces the template of a deployment, unless it changed meanwhile.
async fn replace_template(
    session: &Session,
    found: &Found,
    template: &Value,
    args: &ChangeArgs,
) -> Outcome<Value> {
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
    let options = args.write.options();
    let changed = session
        .patch(found.key(), PatchType::Json, &patch, options)
        .await?;
    Ok(changed.to_value()?)
}

/// The deployments that are meant.
async fn deployments(
    session: &Session,
    what: &[String],
    args: &ChangeArgs,
    verb: &str,
) -> Outcome<Vec<Found>> {
    // A lone type means every deployment of the namespace.
    let findings = match args.files.is_empty() {
        true => resolver::find(session, &resolver::parse(what)?, &args.select).await?,
        false => args.find(session, what).await?,
    };
    Failure::gather(findings.failures)?;
    for found in &findings.found {
        check_kind(found, verb)?;
    }
    if findings.found.is_empty() {
        fail!("no deployments found");
    }
    Ok(findings.found)
}
