//! `cordon` and `uncordon`: whether a node takes new pods. `drain` begins with the same.

use super::failure::{Failure, Outcome, fail};
use super::printer::{DryRun, DryRunArgs, Format};
use super::resolver::{self, Found, SelectArgs};
use super::session::Session;
use kabuki_model::object::Resource;
use kabuki_model::request::{ListRequest, PatchType, WriteOptions};
use serde_json::json;

/// Arguments of `cordon`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Take no new pods on a node, or on all nodes with a label\n  \
    kabuki cordon a\n  \
    kabuki cordon -l disk=hdd")]
pub struct CordonArgs {
    #[command(flatten)]
    nodes: NodesArgs,
}

/// Arguments of `uncordon`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Take new pods again\n  \
    kabuki uncordon a")]
pub struct UncordonArgs {
    #[command(flatten)]
    nodes: NodesArgs,
}

/// Which nodes.
#[derive(Debug, clap::Args)]
pub struct NodesArgs {
    /// The nodes' names
    #[arg(value_name = "NODE")]
    names: Vec<String>,
    /// The nodes with these labels
    #[arg(
        short = 'l',
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "LABELS"
    )]
    selector: String,
    #[command(flatten)]
    dry_run: DryRunArgs,
}

/// Runs `cordon`.
pub async fn cordon(session: &Session, args: CordonArgs) -> Outcome {
    set_all(session, &args.nodes, "cordon", true).await
}

/// Runs `uncordon`.
pub async fn uncordon(session: &Session, args: UncordonArgs) -> Outcome {
    set_all(session, &args.nodes, "uncordon", false).await
}

async fn set_all(session: &Session, args: &NodesArgs, verb: &str, closed: bool) -> Outcome {
    let nodes = args.find(session, verb).await?;
    let mut failures = Vec::new();
    for node in &nodes {
        if let Err(failure) = set(session, node, closed, args.dry_run()).await {
            failures.push(unable(verb, node, failure));
        }
    }
    Failure::gather(failures)
}

/// A failure, with what it kept from happening.
fn unable(verb: &str, node: &Found, failure: Failure) -> Failure {
    let doing = format!("unable to {verb} node {:?}", node.key().name);
    match failure {
        Failure::Server(mut error) => {
            error.message = format!("{doing}: {}", error.message);
            Failure::Server(error)
        }
        Failure::Local(message) => Failure::Local(format!("{doing}: {message}")),
        other => other,
    }
}

impl NodesArgs {
    /// `--dry-run`.
    pub fn dry_run(&self) -> DryRun {
        self.dry_run.dry_run
    }

    /// The nodes that are meant.
    pub async fn find(&self, session: &Session, verb: &str) -> Outcome<Vec<Found>> {
        if self.names.is_empty() && self.selector.is_empty() {
            fail!("USAGE: {verb} NODE [flags]: name a node, or select nodes with -l");
        }
        if !self.names.is_empty() && !self.selector.is_empty() {
            fail!("cannot specify both a node name and a --selector option");
        }
        let kind = resolver::kind_named("node")?;
        if !self.selector.is_empty() {
            let mut request = ListRequest::all(Resource::NODES, None);
            request.labels.clone_from(&self.selector);
            let (_, objects) = resolver::list(session, request).await?;
            if objects.is_empty() {
                session.out.note("No resources found");
            }
            let found = objects.into_iter().map(|object| Found { kind, object });
            return Ok(found.collect());
        }
        let mut names = vec!["node".to_string()];
        for name in &self.names {
            // `node/a` names the same as `a`.
            match name.split_once('/') {
                None => names.push(name.clone()),
                Some((kind, name)) if resolver::kind_named(kind)?.names.kind == "Node" => {
                    names.push(name.to_string());
                }
                Some((kind, _)) => fail!("expected resource of type node, got {kind:?}"),
            }
        }
        let wanted = resolver::parse(&names)?;
        let findings = resolver::find(session, &wanted, &SelectArgs::default()).await?;
        Failure::gather(findings.failures)?;
        Ok(findings.found)
    }
}

/// Closes a node to new pods, or opens it, and says so.
pub async fn set(session: &Session, node: &Found, closed: bool, dry_run: DryRun) -> Outcome {
    let value = node.object.to_value()?;
    let verb = if closed { "cordoned" } else { "uncordoned" };
    let is_closed = value["spec"]["unschedulable"].as_bool().unwrap_or(false);
    let did = match is_closed == closed {
        true => format!("already {verb}"),
        false => verb.to_string(),
    };
    if is_closed != closed && !dry_run.on_client() {
        let wanted = if closed { json!(true) } else { json!(null) };
        let patch = json!({"spec": {"unschedulable": wanted}});
        let options = WriteOptions {
            dry_run: dry_run.on_server(),
            field_manager: "kabuki".to_string(),
            ..WriteOptions::default()
        };
        session
            .patch(node.key(), PatchType::Merge, &patch, options)
            .await?;
    }
    said(session, node, &value, &did, dry_run)
}

/// Says what became of an object.
pub fn said(
    session: &Session,
    found: &Found,
    value: &serde_json::Value,
    did: &str,
    dry_run: DryRun,
) -> Outcome {
    let human = Format::Human { wide: false };
    human.did(&session.out, found.kind, value, did, dry_run)
}
