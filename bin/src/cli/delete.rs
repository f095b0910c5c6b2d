//! `delete`: marks objects for deletion and waits until they are gone.

use super::failure::{Failure, Outcome, fail};
use super::printer::DryRunArgs;
use super::resolver::{self, FileArgs, Found, SelectArgs};
use super::session::Session;
use super::waiting::{self, Limit};
use kabuki_model::request::{DeleteOptions, Propagation};

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # One pod; everything of a manifest; everything with a label\n  \
    kabuki delete pod web-1\n  \
    kabuki delete -f web.yaml\n  \
    kabuki delete pods,deployments -l app=web\n\n  \
    # Without grace, and without waiting\n  \
    kabuki delete pod web-1 --now --wait=false")]
pub struct DeleteArgs {
    /// TYPE[,TYPE] NAME.., or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    dry_run: DryRunArgs,
    /// All objects of the types
    #[arg(long)]
    all: bool,
    /// Seconds to end in order; -1 is the object's own
    #[arg(
        long,
        default_value_t = -1,
        hide_default_value = true,
        allow_negative_numbers = true,
        value_name = "SECONDS"
    )]
    grace_period: i64,
    /// Remove at once, without waiting for the node to confirm
    #[arg(long)]
    force: bool,
    /// One second of grace
    #[arg(long)]
    now: bool,
    /// Wait until the objects are gone
    #[arg(
        long,
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "true|false"
    )]
    wait: bool,
    /// How long to wait, for example 30s; 0 is as long as it takes
    #[arg(
        long,
        default_value = "0s",
        hide_default_value = true,
        value_name = "DURATION"
    )]
    timeout: String,
    /// What happens with the objects that belong to these
    #[arg(
        long,
        value_enum,
        default_value = "background",
        default_missing_value = "background",
        num_args = 0..=1,
        require_equals = true,
        value_name = "background|foreground|orphan"
    )]
    cascade: Cascade,
    /// No error when an object does not exist
    #[arg(long)]
    ignore_not_found: bool,
    /// Print only names
    #[arg(short, long, value_name = "name")]
    output: Option<String>,
}

/// `--cascade`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Cascade {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl From<Cascade> for Propagation {
    fn from(cascade: Cascade) -> Self {
        match cascade {
            Cascade::Background => Self::Background,
            Cascade::Foreground => Self::Foreground,
            Cascade::Orphan => Self::Orphan,
        }
    }
}

/// Runs `delete`.
pub async fn run(session: &Session, args: DeleteArgs) -> Outcome {
    let grace = grace(&args)?;
    let limit = Limit::parse("--timeout", &args.timeout)?;
    let name_only = match args.output.as_deref() {
        None => false,
        Some("name") => true,
        Some(_) => fail!("unexpected -o output mode. Only '-o name' is supported"),
    };
    let by_name = check_scope(&args)?;
    let mut findings =
        resolver::find_either(session, &args.what, &args.select, &args.files).await?;
    if args.ignore_not_found || args.all {
        findings.failures.retain(|f| !f.is_not_found());
    }
    if findings.found.is_empty() && findings.failures.is_empty() {
        if !by_name {
            session.out.line("No resources found")?;
        }
        return Ok(());
    }
    if grace == Some(0) && args.force {
        session.out.note(
            "Warning: Immediate deletion does not wait for confirmation that the running resource \
             has been terminated. The resource may continue to run on the cluster indefinitely.",
        );
    }
    let mut gone = Vec::new();
    let mut failures = findings.failures;
    for found in findings.found {
        match delete(session, &args, &found, grace, name_only).await {
            Ok(()) => gone.push(found),
            Err(failure) if args.ignore_not_found && failure.is_not_found() => {}
            Err(failure @ Failure::Server(_)) => failures.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    let dry = args.dry_run.dry_run != super::printer::DryRun::None;
    if args.wait && !dry {
        for found in &gone {
            if let Err(failure) = waiting::until_gone(session, found, &limit).await {
                failures.push(failure);
            }
        }
    }
    Failure::gather(failures)
}

/// Whether objects are named; refuses to delete a whole type by accident.
fn check_scope(args: &DeleteArgs) -> Outcome<bool> {
    if !args.files.is_empty() {
        return Ok(true);
    }
    if args.all && !args.select.selector.is_empty() {
        fail!("cannot set --all and --selector at the same time");
    }
    let named = resolver::parse(&args.what)?
        .iter()
        .all(|w| !w.names.is_empty());
    if named && args.all {
        fail!("name cannot be provided when --all is specified");
    }
    if !named && !args.all && !args.select.selects() {
        fail!(
            "resource(s) were provided, but no name was specified: name them, select them with \
             -l, or give --all"
        );
    }
    Ok(named)
}

fn grace(args: &DeleteArgs) -> Outcome<Option<i64>> {
    if args.now && args.grace_period >= 0 {
        fail!("--now and --grace-period cannot be specified together");
    }
    if args.grace_period == 0 && !args.force {
        // As Kubernetes' own client: no grace is a second of it, unless forced.
        return Ok(Some(1));
    }
    if args.force && args.grace_period > 0 {
        fail!("--force and --grace-period greater than 0 cannot be specified together");
    }
    Ok(match (args.now, args.force, args.grace_period) {
        (true, _, _) => Some(1),
        (_, true, _) => Some(0),
        (_, _, given) if given >= 0 => Some(given),
        _ => None,
    })
}

async fn delete(
    session: &Session,
    args: &DeleteArgs,
    found: &Found,
    grace: Option<i64>,
    name_only: bool,
) -> Outcome {
    let dry_run = args.dry_run.dry_run;
    if !dry_run.on_client() {
        let options = DeleteOptions {
            grace_period_s: grace,
            propagation: Some(args.cascade.into()),
            dry_run: dry_run.on_server(),
            ..DeleteOptions::default()
        };
        session.delete(found.key(), options).await?;
    }
    if name_only {
        return session.out.line(found.label());
    }
    let forced = if grace == Some(0) && args.force {
        " force"
    } else {
        ""
    };
    let note = match dry_run {
        super::printer::DryRun::None => "",
        super::printer::DryRun::Client => " (dry run)",
        super::printer::DryRun::Server => " (server dry run)",
    };
    let (kind, name) = (resolver::label(found.kind, ""), &found.key().name);
    let namespace = match &*found.key().namespace {
        "" => String::new(),
        namespace => format!(" from {namespace} namespace"),
    };
    session.out.line(format!(
        "{} {name:?}{forced} deleted{namespace}{note}",
        kind.trim_end_matches('/')
    ))
}
