//! `get -w`: the objects, then every change of them. A watch that the server can no longer
//! continue begins anew from a fresh list.

use super::{GetArgs, SortKey, find, kinds_shown, tables};
use crate::cli::failure::{Failure, Outcome, fail};
use crate::cli::printer::{Format, Tables, shown};
use crate::cli::resolver::{self, Found};
use crate::cli::session::Session;
use jiff::Timestamp;
use kabuki_model::kind::Kind;
use kabuki_model::request::ListRequest;
use kabuki_model::status::Reason;
use kabuki_model::watch::{WatchEvent, WatchStart};
use serde_json::json;

/// Runs `get --watch`.
pub async fn run(
    session: &Session,
    args: &GetArgs,
    format: &Format,
    sort: Option<&SortKey>,
) -> Outcome {
    let (kind, selection) = selection(session, args)?;
    let mut findings = find(session, args).await?;
    if args.ignore_not_found {
        findings.failures.retain(|f| !f.is_not_found());
    }
    if let Some(failure) = findings.failures.pop() {
        return Err(failure);
    }
    if let Some(sort) = sort {
        sort.sort(&mut findings.found)?;
    }
    let wide = matches!(format, Format::Human { wide: true });
    let mut shown = Shown {
        session,
        args,
        format,
        tables: tables(args, wide, kinds_shown(args, &findings)),
    };
    if !args.watch_only {
        shown.show(&findings.found, "ADDED")?;
    }
    // A get by name says at which revision the object is, a list at which the list was.
    let after = match findings.found.as_slice() {
        [one] if findings.revision == 0 => one.object.revision,
        _ => findings.revision,
    };
    shown.follow(kind, selection, after).await
}

/// A watch is on one kind: of a selection or of one name.
fn selection(session: &Session, args: &GetArgs) -> Outcome<(&'static Kind, ListRequest)> {
    if !args.files.is_empty() {
        fail!("--watch works on types and names, not on files");
    }
    let wanted = resolver::parse(&args.what)?;
    let [wanted] = wanted.as_slice() else {
        fail!("you may only specify a single resource type with --watch");
    };
    let mut selection = args.select.request(session, wanted.kind)?;
    selection.limit = 0;
    match wanted.names.as_slice() {
        [] => {}
        [name] => selection.fields = format!("metadata.name={name}"),
        _ => fail!("watch is only supported on individual resources and resource collections"),
    }
    Ok((wanted.kind, selection))
}

struct Shown<'a> {
    session: &'a Session,
    args: &'a GetArgs,
    format: &'a Format,
    tables: Tables,
}

impl Shown<'_> {
    fn show(&mut self, found: &[Found], event: &str) -> Outcome {
        let out = &self.session.out;
        let events = self.args.output_watch_events;
        match self.format {
            Format::Human { .. } => {
                let event = events.then_some(event);
                out.text(&self.tables.text(found, event, Timestamp::now())?)
            }
            Format::Name => {
                let names: String = found.iter().map(|f| format!("{}\n", f.label())).collect();
                out.text(&names)
            }
            format => {
                for entry in found {
                    let managed = self.args.output.show_managed_fields;
                    let mut value = shown(entry.object.to_value()?, managed);
                    if events {
                        value = json!({"type": event, "object": value});
                    }
                    if matches!(format, Format::Yaml) {
                        out.line("---")?;
                    }
                    format.value(out, &value, true)?;
                }
                Ok(())
            }
        }
    }

    async fn follow(
        &mut self,
        kind: &'static Kind,
        selection: ListRequest,
        mut after: u64,
    ) -> Outcome {
        loop {
            let start = WatchStart::After(after);
            let mut watch = self.session.watch(selection.clone(), start).await?;
            loop {
                match watch.next().await {
                    Some(Ok(event)) => {
                        after = after.max(event.revision());
                        let word = match &event {
                            WatchEvent::Added(_) => "ADDED",
                            WatchEvent::Modified(_) => "MODIFIED",
                            WatchEvent::Deleted(_) => "DELETED",
                            WatchEvent::Bookmark { .. } => continue,
                        };
                        let object = event.object().cloned();
                        let found: Vec<Found> = object
                            .into_iter()
                            .map(|object| Found { kind, object })
                            .collect();
                        self.show(&found, word)?;
                    }
                    Some(Err(error)) if error.reason == Reason::Expired => {
                        let (revision, objects) =
                            resolver::list(self.session, selection.clone()).await?;
                        let found: Vec<Found> = objects
                            .into_iter()
                            .map(|object| Found { kind, object })
                            .collect();
                        self.show(&found, "MODIFIED")?;
                        after = revision;
                        break;
                    }
                    Some(Err(error)) => return Err(Failure::Server(error)),
                    None => break,
                }
            }
        }
    }
}
