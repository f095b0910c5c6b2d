//! `events`: what happened lately.

use super::align::Table;
use super::describe;
use super::failure::{Failure, Outcome, fail};
use super::printer::{self, Format, OutputArgs, TableArgs, Tables};
use super::resolver::{self, Found};
use super::session::Session;
use jiff::Timestamp;
use kabuki_model::kind::Kind;
use kabuki_model::object::{Resource, Stored};
use kabuki_model::request::ListRequest;
use kabuki_model::watch::{WatchEvent, WatchStart};
use serde_json::Value;
use std::sync::Arc;

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki events\n  \
    kabuki events --for pod/web-1 --watch\n  \
    kabuki events -A --types=Warning")]
pub struct EventsArgs {
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only of one object: TYPE/NAME
    #[arg(long = "for", value_name = "TYPE/NAME")]
    of: Option<String>,
    /// Only of these types
    #[arg(long, value_name = "Normal|Warning", value_delimiter = ',')]
    types: Vec<String>,
    /// Then show what happens
    #[arg(short, long)]
    watch: bool,
    /// Leave out the headings
    #[arg(long)]
    no_headers: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// The usual table: beside when something was last seen stands how often, for what happens again
/// and again is one event.
#[derive(Default)]
struct Short {
    table: Table,
    begun: bool,
}

impl Short {
    fn rows(&mut self, args: &EventsArgs, found: &[Found]) -> Outcome<String> {
        let mut rows = Vec::new();
        if !self.begun && !args.no_headers {
            let namespace = args.all_namespaces.then_some("NAMESPACE");
            let names = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
            let names = namespace.into_iter().chain(names);
            rows.push(names.map(str::to_string).collect());
        }
        self.begun = true;
        let now = Timestamp::now();
        for event in found {
            let value = event.object.to_value()?;
            let text = |value: &Value| value.as_str().unwrap_or_default().trim().to_string();
            let about = &value["involvedObject"];
            let namespace = args
                .all_namespaces
                .then(|| text(&value["metadata"]["namespace"]));
            let cells = [
                describe::event_seen(&value, now),
                text(&value["type"]),
                text(&value["reason"]),
                format!(
                    "{}/{}",
                    text(&about["kind"]).to_lowercase(),
                    text(&about["name"])
                ),
                text(&value["message"]),
            ];
            rows.push(namespace.into_iter().chain(cells).collect::<Vec<_>>());
        }
        Ok(self.table.rows(&rows))
    }
}

/// Runs `events`.
pub async fn run(session: &Session, args: EventsArgs) -> Outcome {
    let format = args.output.format()?;
    if let Some(wrong) = args
        .types
        .iter()
        .find(|t| !matches!(t.as_str(), "Normal" | "Warning"))
    {
        fail!("valid --types are Normal or Warning, not {wrong:?}");
    }
    let kind = resolver::kind_named("events")?;
    let selection = selection(session, &args)?;
    let (revision, mut events) = resolver::list(session, selection.clone()).await?;
    events.retain(|event| wanted(&args, event));
    describe::sort_events(&mut events)?;
    let table = TableArgs {
        no_headers: args.no_headers,
        ..TableArgs::default()
    };
    let wide = matches!(format, Format::Human { wide: true });
    let mut tables = Tables::new(&table, wide, args.all_namespaces, false);
    if events.is_empty() && !args.watch {
        session.out.note(match args.all_namespaces {
            true => "No events found.".to_string(),
            false => format!("No events found in {} namespace.", session.namespace()?),
        });
        return Ok(());
    }
    let mut short = Short::default();
    let tables = &mut tables;
    show(session, &args, &format, (tables, &mut short), kind, events)?;
    if !args.watch {
        return Ok(());
    }
    let mut watch = session
        .watch(selection, WatchStart::After(revision))
        .await?;
    while let Some(event) = watch.next().await {
        if let WatchEvent::Added(event) | WatchEvent::Modified(event) =
            event.map_err(Failure::Server)?
            && wanted(&args, &event)
        {
            let both = (&mut *tables, &mut short);
            show(session, &args, &format, both, kind, vec![event])?;
        }
    }
    fail!("the server ended the watch")
}

fn selection(session: &Session, args: &EventsArgs) -> Outcome<ListRequest> {
    let namespace = if args.all_namespaces {
        None
    } else {
        Some(session.namespace()?)
    };
    let mut selection = ListRequest::all(Resource::EVENTS, namespace.as_deref());
    if let Some(of) = &args.of {
        let (kind, name) = resolver::one(std::slice::from_ref(of), "pods")?;
        selection.fields = format!(
            "involvedObject.kind={},involvedObject.name={name}",
            kind.names.kind
        );
    }
    Ok(selection)
}

fn wanted(args: &EventsArgs, event: &Stored) -> bool {
    let kind = |value: Value| value["type"].as_str().unwrap_or_default().to_string();
    args.types.is_empty()
        || event
            .to_value()
            .is_ok_and(|v| args.types.contains(&kind(v)))
}

fn show(
    session: &Session,
    args: &EventsArgs,
    format: &Format,
    (tables, short): (&mut Tables, &mut Short),
    kind: &'static Kind,
    events: Vec<Arc<Stored>>,
) -> Outcome {
    let found: Vec<Found> = events
        .into_iter()
        .map(|object| Found { kind, object })
        .collect();
    match format {
        Format::Human { wide: true } => {
            session
                .out
                .text(&tables.text(&found, None, Timestamp::now())?)
        }
        Format::Human { wide: false } => session.out.text(&short.rows(args, &found)?),
        format => {
            let value = printer::combined(&found, false, args.output.show_managed_fields)?;
            format.value(&session.out, &value, args.no_headers)
        }
    }
}
