//! `taint`: gives taints to nodes, changes and removes them.

use super::failure::{Failure, Outcome, fail};
use super::resolver::{self, Findings, Found, SelectArgs};
use super::session::Session;
use super::write::WriteArgs;
use kabuki_model::k8s_openapi::api::core::v1::{Node, Taint};
use kabuki_model::request::PatchType;
use kabuki_model::status::Reason;
use kabuki_model::taint::{self, is_same, written};
use serde_json::{Value, json};

/// Nodes change by themselves all the time; so often it is tried again on a newer form.
const ATTEMPTS: u32 = 8;

/// Arguments of `taint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Keep pods away that do not tolerate it; with NoExecute also those that are there\n  \
    kabuki taint nodes a dedicated=db:NoSchedule\n  \
    kabuki taint nodes a maintenance:NoExecute\n\n  \
    # Another value; remove one; remove all of a key\n  \
    kabuki taint nodes a dedicated=web:NoSchedule --overwrite\n  \
    kabuki taint nodes a dedicated:NoSchedule-\n  \
    kabuki taint nodes a dedicated-\n\n  \
    # Of all nodes with a label\n  \
    kabuki taint nodes -l disk=hdd slow=yes:PreferNoSchedule")]
pub struct TaintArgs {
    /// nodes NAME.., then KEY=VALUE:EFFECT, KEY:EFFECT, or one of KEY:EFFECT- and KEY- to remove
    #[arg(value_name = "NODES")]
    what: Vec<String>,
    /// The nodes with these labels
    #[arg(
        short = 'l',
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "LABELS"
    )]
    selector: String,
    /// All nodes
    #[arg(long)]
    all: bool,
    /// Change taints that have another value
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    write: WriteArgs,
}

/// What is to become of the taints of a node.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    add: Vec<Taint>,
    /// Without an effect: all taints of the key.
    remove: Vec<Taint>,
}

/// Runs `taint`.
pub async fn run(session: &Session, args: TaintArgs) -> Outcome {
    let (nodes, changes) = split(&args.what)?;
    args.write.format()?;
    let findings = find(session, &args, nodes).await?;
    let mut failures = findings.failures;
    for found in findings.found {
        match one(session, &args, &changes, found).await {
            Ok(()) => {}
            Err(failure @ (Failure::Server(_) | Failure::Local(_) | Failure::Many(_))) => {
                failures.push(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    Failure::gather(failures)
}

/// Nodes first, then what becomes of their taints.
fn split(what: &[String]) -> Outcome<(&[String], Changes)> {
    let is_taint = |a: &String| a.contains(['=', ':']) || a.ends_with('-');
    let at = what.iter().position(is_taint).unwrap_or(what.len());
    let (nodes, taints) = what.split_at(at);
    if let Some(late) = taints.iter().find(|a| !is_taint(a)) {
        fail!("all resources must be specified before taint changes: {late}");
    }
    if nodes.is_empty() {
        fail!("one or more resources must be specified as <resource> <name>");
    }
    if taints.is_empty() {
        fail!("at least one taint update is required");
    }
    Ok((nodes, Changes::parse(taints)?))
}

impl Changes {
    fn parse(texts: &[String]) -> Outcome<Self> {
        let mut changes = Self::default();
        let wrong = |error: taint::TaintError| Failure::new(error.to_string());
        for text in texts {
            if let Some(text) = text.strip_suffix('-') {
                changes.remove.push(taint::parse(text).map_err(wrong)?);
                continue;
            }
            let taint = taint::parse(text).map_err(wrong)?;
            if taint.effect.is_empty() {
                fail!("invalid taint spec: {text}");
            }
            if changes.add.iter().any(|t| is_same(t, &taint)) {
                let taint = written(&taint);
                fail!("duplicated taints with the same key and effect: {taint}");
            }
            changes.add.push(taint);
        }
        let removed = |taint: &Taint| changes.remove.iter().any(|r| covers(r, taint));
        let both: Vec<String> = changes
            .add
            .iter()
            .filter(|t| removed(t))
            .map(written)
            .collect();
        if !both.is_empty() {
            fail!(
                "can not both modify and remove the following taint(s) in the same command: {}",
                both.join(", ")
            );
        }
        Ok(changes)
    }
}

/// Whether what is to be removed is this taint.
fn covers(removal: &Taint, taint: &Taint) -> bool {
    removal.key == taint.key && (removal.effect.is_empty() || removal.effect == taint.effect)
}

async fn find(session: &Session, args: &TaintArgs, nodes: &[String]) -> Outcome<Findings> {
    if args.all && !args.selector.is_empty() {
        fail!("setting 'all' parameter with a non empty selector is prohibited");
    }
    let wanted = resolver::parse(nodes)?;
    for wanted in &wanted {
        if wanted.kind.names.kind != "Node" {
            let kind = wanted.kind.names.plural;
            fail!("invalid resource type {kind}, only node types are supported");
        }
        if wanted.names.is_empty() && !args.all && args.selector.is_empty() {
            fail!("at least one resource name must be specified since 'all' parameter is not set");
        }
        if !wanted.names.is_empty() && args.all {
            fail!("name cannot be provided when --all is specified");
        }
    }
    let select = SelectArgs {
        selector: args.selector.clone(),
        ..SelectArgs::default()
    };
    resolver::find(session, &wanted, &select).await
}

/// Changes one node, again on a newer form when it changed meanwhile.
async fn one(session: &Session, args: &TaintArgs, changes: &Changes, mut found: Found) -> Outcome {
    for attempt in 1.. {
        let node = found.object.typed::<Node>();
        let node = node.map_err(|e| Failure::new(format!("{e}: {}", e.source)))?;
        let held = node.spec.as_ref().and_then(|s| s.taints.as_deref());
        let name = &found.key().name;
        let (did, taints) = changed(name, held.unwrap_or_default(), changes, args.overwrite)?;
        let mut value = found.object.to_value()?;
        if !args.write.dry_run().on_client() {
            let patch = json!({
                "metadata": {"resourceVersion": found.object.revision.to_string()},
                "spec": {"taints": taints},
            });
            let options = args.write.options();
            match session
                .patch(found.key(), PatchType::Merge, &patch, options)
                .await
            {
                Ok(changed) => value = changed.to_value()?,
                Err(Failure::Server(error))
                    if error.reason == Reason::Conflict && attempt < ATTEMPTS =>
                {
                    found.object = session.get(found.key()).await?;
                    continue;
                }
                Err(failure) => return Err(failure),
            }
        } else {
            value["spec"]["taints"] = taints;
        }
        return args.write.done(session, found.kind, &value, did);
    }
    Ok(())
}

/// The taints that a node is to have, and the word for it.
fn changed(
    node: &str,
    held: &[Taint],
    changes: &Changes,
    overwrite: bool,
) -> Outcome<(&'static str, Value)> {
    let has = |t: &&Taint| held.iter().any(|h| is_same(h, t));
    if !overwrite && changes.add.iter().any(|t| has(&t)) {
        let keys = changes.add.iter().filter(has).map(|t| t.key.as_str());
        let keys = keys.collect::<Vec<&str>>().join(",");
        fail!(
            "node {node} already has {keys} taint(s) with same effect(s) and --overwrite is false"
        );
    }
    let missing = |r: &&Taint| !held.iter().any(|h| covers(r, h));
    let missing = changes.remove.iter().filter(missing);
    let missing = missing.map(|r| Failure::new(format!("taint {:?} not found", written(r))));
    Failure::gather(missing.collect())?;
    let mut taints = changes.add.clone();
    let added = changes.add.iter().any(|t| !has(&t));
    for taint in held {
        let replaced = changes.add.iter().any(|t| is_same(t, taint));
        let removed = changes.remove.iter().any(|r| covers(r, taint));
        if !replaced && !removed {
            taints.push(taint.clone());
        }
    }
    let did = match (added, !changes.remove.is_empty()) {
        _ if overwrite => "modified",
        (true, true) => "modified",
        (true, false) => "tainted",
        (false, _) => "untainted",
    };
    let taints = match taints.is_empty() {
        true => Value::Null,
        false => json!(taints),
    };
    Ok((did, taints))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_string()).collect()
    }

    fn outcome(held: &[&str], changes: &[&str], overwrite: bool) -> Outcome<(String, Vec<String>)> {
        let changes = Changes::parse(&texts(changes))?;
        let held: Vec<Taint> = held
            .iter()
            .map(|t| taint::parse(t).expect("a taint"))
            .collect();
        let (did, taints) = changed("a", &held, &changes, overwrite)?;
        let taints: Option<Vec<Taint>> = serde_json::from_value(taints).expect("taints");
        let shown = taints.unwrap_or_default().iter().map(written).collect();
        Ok((did.to_string(), shown))
    }

    fn refused(held: &[&str], changes: &[&str]) -> String {
        outcome(held, changes, false).expect_err("refused").text()
    }

    #[test]
    fn taints_are_added_replaced_and_removed() {
        let done = |did: &str, taints: &[&str]| Ok((did.to_string(), texts(taints)));
        assert_eq!(
            outcome(&["b:NoExecute"], &["a=1:NoSchedule"], false),
            done("tainted", &["a=1:NoSchedule", "b:NoExecute"])
        );
        assert_eq!(
            outcome(&["a=1:NoSchedule"], &["a=2:NoSchedule"], true),
            done("modified", &["a=2:NoSchedule"])
        );
        assert_eq!(
            outcome(
                &["a:NoSchedule", "a:NoExecute", "b:NoExecute"],
                &["a-"],
                false
            ),
            done("untainted", &["b:NoExecute"])
        );
        assert_eq!(
            outcome(&["a:NoSchedule", "a:NoExecute"], &["a:NoExecute-"], false),
            done("untainted", &["a:NoSchedule"])
        );
        assert_eq!(
            outcome(&["a:NoSchedule"], &["a-", "b:NoSchedule"], false),
            done("modified", &["b:NoSchedule"])
        );
        assert_eq!(
            outcome(&["a:NoSchedule"], &["a:NoSchedule-"], false),
            done("untainted", &[])
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_kubectls_words() {
        assert_eq!(
            refused(&["a=1:NoSchedule"], &["a=2:NoSchedule", "b:NoExecute"]),
            "error: node a already has a taint(s) with same effect(s) and --overwrite is false"
        );
        assert_eq!(
            refused(&[], &["a:NoSchedule-"]),
            "error: taint \"a:NoSchedule\" not found"
        );
        assert_eq!(
            refused(&[], &["a=1"]),
            "error: invalid taint spec: a=1, ".to_string()
                + &{
                    let why = kabuki_model::syntax::qualified_name("a=1");
                    why.expect("wrong")
                }
        );
        assert_eq!(
            refused(&[], &["a:NoSchedule", "a=2:NoSchedule"]),
            "error: duplicated taints with the same key and effect: a=2:NoSchedule"
        );
        let both = refused(&["a:NoSchedule"], &["a:NoSchedule", "a-"]);
        assert!(
            both.starts_with("error: can not both modify and remove"),
            "{both}"
        );
        assert!(split(&texts(&["nodes", "a:NoSchedule", "a"])).is_err());
        assert!(split(&texts(&["a:NoSchedule"])).is_err());
        assert!(split(&texts(&["nodes", "a"])).is_err());
    }
}
