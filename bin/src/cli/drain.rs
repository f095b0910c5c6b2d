//! `drain`: closes nodes to new pods and has those that are there leave, as far as they may.

mod filter;
mod leave;

use super::cordon::{self, NodesArgs};
use super::failure::{Failure, Outcome, fail};
use super::resolver::{self, Found};
use super::session::Session;
use super::waiting::{Limit, duration};
use filter::{Sorted, sort};
use kabuki_model::LabelSelector;
use kabuki_model::object::Resource;
use kabuki_model::request::ListRequest;

/// Arguments of `drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Empty a node; pods of DaemonSets stay\n  \
    kabuki drain a --ignore-daemonsets\n\n  \
    # Even pods that nobody will start again, and those with local data\n  \
    kabuki drain a --force --delete-emptydir-data\n\n  \
    # With 15 minutes for every pod to end, and half an hour for all of it\n  \
    kabuki drain a --grace-period=900 --timeout=30m\n\n  \
    # Only see what would happen\n  \
    kabuki drain -l rack=7 --dry-run")]
pub struct DrainArgs {
    #[command(flatten)]
    nodes: NodesArgs,
    /// Leave pods of DaemonSets alone; without it such pods are an error
    #[arg(long)]
    ignore_daemonsets: bool,
    /// Take pods away whose emptyDir volumes are lost with them
    #[arg(long)]
    delete_emptydir_data: bool,
    /// Take pods away that no controller will start elsewhere
    #[arg(long)]
    force: bool,
    /// Seconds that each pod has to end; -1 is the pod's own
    #[arg(
        long,
        default_value_t = -1,
        hide_default_value = true,
        allow_negative_numbers = true,
        value_name = "SECONDS"
    )]
    grace_period: i64,
    /// How long to wait, for example 30s; 0 is as long as it takes
    #[arg(
        long,
        default_value = "0s",
        hide_default_value = true,
        value_name = "DURATION"
    )]
    timeout: String,
    /// Only pods with these labels
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "LABELS"
    )]
    pod_selector: String,
    /// Delete pods instead of evicting them, past disruption budgets
    #[arg(long)]
    disable_eviction: bool,
    /// Do not wait for pods that were deleted more than so many seconds ago; 0 waits for all
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "SECONDS"
    )]
    skip_wait_for_delete_timeout: u32,
}

/// Runs `drain`.
pub async fn run(session: &Session, args: DrainArgs) -> Outcome {
    if args.pod_selector.parse::<LabelSelector>().is_err() {
        fail!("--pod-selector=<pod_selector> must be a valid label selector");
    }
    // Of each pod's wait the end is told with what was asked for.
    let timeout = duration("--timeout", &args.timeout)?;
    let limit = Limit::of(timeout);
    let nodes = args.nodes.find(session, "drain").await?;
    let dry_run = args.nodes.dry_run();
    for node in &nodes {
        cordon::set(session, node, true, dry_run).await?;
    }
    let mut drained: Vec<&str> = Vec::new();
    let mut failures = Vec::new();
    for node in &nodes {
        let leaving = leave::Leaving {
            session,
            args: &args,
            limit,
            timeout,
        };
        match drain(&leaving, node).await {
            Ok(()) => {
                drained.push(&node.key().name);
                let value = node.object.to_value()?;
                cordon::said(session, node, &value, "drained", dry_run)?;
            }
            Err(failure) => {
                tell(session, node, &failure);
                let left = nodes.iter().map(|n| &*n.key().name);
                let left: Vec<&str> = left.filter(|n| !drained.contains(n)).collect();
                session.out.note("There are pending nodes to be drained:");
                left.iter().for_each(|n| session.out.note(format!(" {n}")));
                failures.push(failure);
            }
        }
    }
    Failure::gather(failures)
}

fn tell(session: &Session, node: &Found, failure: &Failure) {
    let text = failure.text().replace("error: ", "").replace('\n', ", ");
    let name = &node.key().name;
    session.out.note(format!(
        "error: unable to drain node {name:?} due to error: {text}, continuing command..."
    ));
}

/// Empties one node.
async fn drain(leaving: &leave::Leaving<'_>, node: &Found) -> Outcome {
    let (session, args) = (leaving.session, leaving.args);
    let sorted = pods(session, args, &node.key().name).await?;
    if !sorted.refusals.is_empty() {
        let refusals = sorted.refusals.iter().cloned().map(Failure::new);
        return Failure::gather(refusals.collect());
    }
    if !sorted.warnings.is_empty() {
        let warnings = sorted.warnings.join("; ");
        session.out.note(format!("Warning: {warnings}"));
    }
    let outcome = leaving.all(&node.key().name, &sorted.leaving).await;
    if let Err(failure) = &outcome {
        let text = failure.text().replace("error: ", "");
        let left = pods(session, args, &node.key().name).await?;
        if !left.leaving.is_empty() {
            let name = &node.key().name;
            session.out.note(format!(
                "There are pending pods in node {name:?} when an error occurred: {text}"
            ));
            for pod in &left.leaving {
                session.out.note(format!("pod/{}", pod.key().name));
            }
        }
    }
    outcome
}

/// The pods of a node, by what becomes of them.
async fn pods(session: &Session, args: &DrainArgs, node: &str) -> Outcome<Sorted> {
    let mut request = ListRequest::all(Resource::PODS, None);
    request.fields = format!("spec.nodeName={node}");
    request.labels.clone_from(&args.pod_selector);
    let kind = resolver::kind_named("pod")?;
    let (_, objects) = resolver::list(session, request).await?;
    let pods = objects.into_iter().map(|object| Found { kind, object });
    sort(args, pods.collect(), jiff::Timestamp::now())
}

#[cfg(test)]
mod tests;
