//! `label` and `annotate`.

use super::change::ChangeArgs;
use super::failure::{Outcome, fail};
use super::resolver::Found;
use super::session::Session;
use kabuki_model::syntax;
use serde_json::{Value, json};

/// Arguments of `label`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Set, change and remove a label\n  \
    kabuki label pod web-1 tier=front\n  \
    kabuki label pod web-1 tier=back --overwrite\n  \
    kabuki label pod web-1 tier-\n\n  \
    # Of all nodes, and as a list\n  \
    kabuki label nodes --all disk=ssd\n  \
    kabuki label node a --list")]
pub struct LabelArgs {
    /// TYPE NAME.. or TYPE/NAME.., then KEY=VALUE or KEY-
    #[arg(value_name = "TYPE", allow_hyphen_values = false)]
    what: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
    /// Change entries that have another value
    #[arg(long)]
    overwrite: bool,
    /// Show what there is
    #[arg(long)]
    list: bool,
    /// Only if the object has this revision
    #[arg(long, value_name = "REVISION")]
    resource_version: Option<String>,
}

/// Arguments of `annotate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Set, change and remove an annotation\n  \
    kabuki annotate pod web-1 note='looks fine'\n  \
    kabuki annotate pod web-1 note=hm --overwrite\n  \
    kabuki annotate pod web-1 note-")]
pub struct AnnotateArgs {
    #[command(flatten)]
    args: LabelArgs,
}

/// Which map of the metadata is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Map {
    Labels,
    Annotations,
}

/// What becomes of one entry: its new value, or `None` when it goes.
type Change = (String, Option<String>);

/// Runs `label`.
pub async fn label(session: &Session, args: LabelArgs) -> Outcome {
    run(session, args, Map::Labels).await
}

/// Runs `annotate`.
pub async fn annotate(session: &Session, args: AnnotateArgs) -> Outcome {
    run(session, args.args, Map::Annotations).await
}

impl Map {
    fn field(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }
}

async fn run(session: &Session, args: LabelArgs, map: Map) -> Outcome {
    let split = args
        .what
        .iter()
        .position(|a| a.contains('=') || a.ends_with('-'));
    let (what, pairs) = args.what.split_at(split.unwrap_or(args.what.len()));
    let changes = changes(pairs, map)?;
    if changes.is_empty() && !args.list {
        fail!(
            "at least one {} update is required: KEY=VALUE, or KEY- to remove it",
            map.field().trim_end_matches('s')
        );
    }
    if args.list {
        let findings = args.change.find(session, what).await?;
        for found in &findings.found {
            let value = found.object.to_value()?;
            for (key, value) in value["metadata"][map.field()]
                .as_object()
                .into_iter()
                .flatten()
            {
                session
                    .out
                    .line(format!("{key}={}", value.as_str().unwrap_or_default()))?;
            }
        }
        return super::failure::Failure::gather(findings.failures);
    }
    let edit = |found: &Found, value: &mut Value| change(&args, &changes, map, found, value);
    args.change.each(session, what, edit).await
}

fn changes(pairs: &[String], map: Map) -> Outcome<Vec<Change>> {
    let mut changes: Vec<Change> = Vec::new();
    for pair in pairs {
        let change = match (pair.split_once('='), pair.strip_suffix('-')) {
            (Some((key, value)), _) => (key.to_string(), Some(value.to_string())),
            (None, Some(key)) => (key.to_string(), None),
            (None, None) => fail!("{pair:?} is neither KEY=VALUE nor KEY-"),
        };
        let value = change.1.as_deref().unwrap_or_default();
        let wrong = syntax::qualified_name(&change.0).or_else(|| {
            (map == Map::Labels)
                .then(|| syntax::label_value(value))
                .flatten()
        });
        if let Some(why) = wrong {
            fail!(
                "invalid {} {pair:?}: {why}",
                map.field().trim_end_matches('s')
            );
        }
        if let Some((key, _)) = changes.iter().find(|(key, _)| *key == change.0) {
            fail!("can not both modify and remove, or modify twice, {key:?} in the same command");
        }
        changes.push(change);
    }
    Ok(changes)
}

fn change(
    args: &LabelArgs,
    changes: &[Change],
    map: Map,
    found: &Found,
    value: &mut Value,
) -> Outcome<&'static str> {
    let metadata = &mut value["metadata"];
    if let Some(wanted) = &args.resource_version
        && metadata["resourceVersion"] != **wanted
    {
        fail!(
            "{} has revision {}, not {wanted}",
            found.label(),
            found.object.revision
        );
    }
    if !metadata[map.field()].is_object() {
        metadata[map.field()] = json!({});
    }
    let (mut set, mut removed) = (false, false);
    for (key, new) in changes {
        let entry = metadata[map.field()]
            .get(key)
            .and_then(Value::as_str)
            .map(str::to_string);
        match (entry, new) {
            (Some(old), Some(new)) if old != *new && !args.overwrite => {
                fail!("'{key}' already has a value ({old}), and --overwrite is false")
            }
            (old, Some(new)) => {
                set |= old.as_deref() != Some(new);
                metadata[map.field()][key] = new.as_str().into();
            }
            (old, None) => {
                removed |= old.is_some();
                if let Some(entries) = metadata[map.field()].as_object_mut() {
                    entries.remove(key);
                }
            }
        }
    }
    if metadata[map.field()]
        .as_object()
        .is_some_and(serde_json::Map::is_empty)
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.remove(map.field());
    }
    Ok(match (map, set, removed) {
        (Map::Annotations, _, _) => "annotated",
        (Map::Labels, true, _) => "labeled",
        (Map::Labels, false, true) => "unlabeled",
        (Map::Labels, false, false) => "not labeled",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_string()).collect()
    }

    #[test]
    fn changes_are_read_as_pairs_and_removals() {
        assert_eq!(
            changes(&texts(&["a=b=c", "d-"]), Map::Annotations),
            Ok(vec![
                ("a".to_string(), Some("b=c".to_string())),
                ("d".to_string(), None)
            ])
        );
        for wrong in [&["a=b c"][..], &["a b=c"], &["a=b", "a-"]] {
            assert!(changes(&texts(wrong), Map::Labels).is_err(), "{wrong:?}");
        }
    }
}
