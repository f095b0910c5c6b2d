//! `get`: shows objects.

mod sort;
mod watching;

pub use sort::SortKey;

use super::failure::{Failure, Outcome, fail};
use super::printer::{self, Format, OutputArgs, TableArgs, Tables};
use super::resolver::{self, FileArgs, Findings, SelectArgs};
use super::session::Session;
use super::waiting::duration;
use jiff::Timestamp;

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Pods of the namespace, then one as YAML\n  \
    kabuki get pods\n  \
    kabuki get pod web-1 -o yaml\n\n  \
    # Everything with a label, in all namespaces, as it changes\n  \
    kabuki get all -l app=web -A\n  \
    kabuki get pods -w\n\n  \
    # What the server knows by itself, at most five seconds old\n  \
    kabuki get pods --stale=5s\n\n  \
    # The addresses of all pods\n  \
    kabuki get pods -o jsonpath='{range .items[*]}{.status.podIP}{\"\\n\"}{end}'")]
pub struct GetArgs {
    /// TYPE[,TYPE] [NAME..], or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    table: TableArgs,
    /// After showing the objects, show every change of them
    #[arg(short, long)]
    watch: bool,
    /// Show changes only
    #[arg(long)]
    watch_only: bool,
    /// With --watch, a first column with the kind of each event
    #[arg(long)]
    output_watch_events: bool,
    /// Sort by a field: `.metadata.creationTimestamp`
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,
    /// No error when an object does not exist
    #[arg(long)]
    ignore_not_found: bool,
    /// Let the server that is asked answer from what it has, without its leader; with a duration,
    /// only if it had news of the leader within that
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_name = "DURATION"
    )]
    stale: Option<String>,
    /// Not supported
    #[arg(long, value_name = "NAME", hide = true)]
    subresource: Option<String>,
}

/// Runs `get`.
pub async fn run(session: &Session, args: GetArgs) -> Outcome {
    if args.subresource.is_some() {
        fail!("--subresource is not supported by get; status is part of the object");
    }
    if args.stale.is_some() && (args.watch || args.watch_only) {
        fail!(
            "--stale cannot be given with --watch: a watch is always of the server that is asked"
        );
    }
    let format = args.output.format()?;
    let sort = args.sort_by.as_deref().map(SortKey::parse).transpose()?;
    if args.watch || args.watch_only {
        if sort.is_some() {
            session.out.note(
                "warning: --watch requested, --sort-by will be ignored for watch events received",
            );
        }
        return watching::run(session, &args, &format, sort.as_ref()).await;
    }
    let stale = match &args.stale {
        Some(limit) => Some(session.stale(staleness(limit)?).await?),
        None => None,
    };
    let mut findings = find(stale.as_ref().unwrap_or(session), &args).await?;
    if let Some(sort) = &sort {
        sort.sort(&mut findings.found)?;
    }
    if args.ignore_not_found {
        findings.failures.retain(|f| !f.is_not_found());
    }
    print(session, &args, &format, &findings)?;
    Failure::gather(findings.failures)
}

/// The limit of `--stale`, in milliseconds.
fn staleness(text: &str) -> Outcome<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let limit = duration("--stale", text)?.as_millis();
    Ok(Some(u64::try_from(limit).unwrap_or(u64::MAX)))
}

async fn find(session: &Session, args: &GetArgs) -> Outcome<Findings> {
    resolver::find_either(session, &args.what, &args.select, &args.files).await
}

fn print(session: &Session, args: &GetArgs, format: &Format, findings: &Findings) -> Outcome {
    let out = &session.out;
    match format {
        Format::Human { wide } => {
            if findings.found.is_empty() {
                if findings.failures.is_empty() && !(args.ignore_not_found && findings.single) {
                    out.note(nothing(session, &args.select)?);
                }
                return Ok(());
            }
            let mut tables = tables(args, *wide, kinds_shown(args, findings));
            out.text(&tables.text(&findings.found, None, Timestamp::now())?)
        }
        Format::Name => {
            let names: String = findings
                .found
                .iter()
                .map(|f| format!("{}\n", f.label()))
                .collect();
            out.text(&names)
        }
        _ => {
            if findings.found.is_empty() && (findings.single || !findings.failures.is_empty()) {
                return Ok(());
            }
            let fields = args.output.show_managed_fields;
            let value = printer::combined(&findings.found, findings.single, fields)?;
            format.value(out, &value, args.table.no_headers)
        }
    }
}

fn tables(args: &GetArgs, wide: bool, kinds: bool) -> Tables {
    Tables::new(&args.table, wide, args.select.all_namespaces, kinds)
}

/// Names are written with their type when several types were asked for.
fn kinds_shown(args: &GetArgs, findings: &Findings) -> bool {
    let asked = match args.what.first() {
        Some(first) if !first.contains('/') => {
            resolver::kinds_named(first).is_ok_and(|kinds| kinds.len() > 1)
        }
        _ => false,
    };
    let first = findings.found.first().map(|f| &f.kind.resource);
    asked
        || findings
            .found
            .iter()
            .any(|f| Some(&f.kind.resource) != first)
}

/// What is said when a list is empty.
fn nothing(session: &Session, select: &SelectArgs) -> Outcome<String> {
    Ok(match select.all_namespaces {
        true => "No resources found".to_string(),
        false => format!("No resources found in {} namespace.", session.namespace()?),
    })
}
