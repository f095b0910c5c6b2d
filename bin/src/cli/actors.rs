//! `actors`: the live supervision tree of a node.

use super::align::Table;
use super::failure::{Outcome, fail};
use super::printer::ReportArgs;
use super::session::Session;
use jiff::SignedDuration;
use kabuki_protocol::node::{ActorInfo, FromNode, NodeRequest};
use serde_json::{Value, json};

/// Arguments of `actors`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Of the node that you are connected to, and of another\n  \
    kabuki actors\n  \
    kabuki actors --node web-1\n  \
    kabuki actors -o custom-columns=ACTOR:.path,RESTARTS:.restarts\n\n  \
    # Kill one, and see its supervisor start it again\n  \
    kabuki actors --kill node/plane/scheduler")]
pub struct ActorsArgs {
    /// Which node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Kill the actor at this path as if it had crashed
    #[arg(long, value_name = "PATH")]
    kill: Option<String>,
    #[command(flatten)]
    output: ReportArgs,
}

/// Runs `actors`.
pub async fn run(session: &Session, args: ActorsArgs) -> Outcome {
    let node = args.node.as_deref();
    args.output.format()?;
    if let Some(node) = node {
        session.check_node(node).await?;
    }
    let request = match &args.kill {
        Some(path) => NodeRequest::KillActor { path: path.clone() },
        None => NodeRequest::Actors,
    };
    let mut stream = session.stream(node, request).await?;
    loop {
        match stream.output.recv().await {
            Some(FromNode::Actors(actors)) => {
                let items = actors.iter().map(value).collect();
                let (out, kind) = (&session.out, "ActorList");
                args.output.print(out, kind, items, || tree(actors))?;
            }
            Some(FromNode::Done(end)) => {
                end?;
                break;
            }
            Some(_) => {}
            None => fail!("the node went away"),
        }
    }
    match args.kill {
        Some(path) => session.out.line(format!("killed {path}")),
        None => Ok(()),
    }
}

fn value(actor: &ActorInfo) -> Value {
    json!({
        "path": actor.path, "state": actor.state, "mailbox": actor.mailbox,
        "handled": actor.handled, "restarts": actor.restarts,
        "longestMicroseconds": actor.longest_us, "lastFailure": actor.last_failure,
    })
}

/// The actors as a tree, each below its supervisor.
fn tree(mut actors: Vec<ActorInfo>) -> String {
    actors.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
    let headings = [
        "NAME",
        "STATE",
        "MAILBOX",
        "HANDLED",
        "RESTARTS",
        "LONGEST",
        "LAST FAILURE",
    ];
    let mut rows = vec![headings.map(str::to_string).to_vec()];
    for (index, actor) in actors.iter().enumerate() {
        rows.push(vec![
            format!("{}{}", branches(&actors, index), last_part(&actor.path)),
            actor.state.clone(),
            actor.mailbox.to_string(),
            actor.handled.to_string(),
            actor.restarts.to_string(),
            longest(actor.longest_us),
            actor.last_failure.clone(),
        ]);
    }
    Table::default().rows(&rows)
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The lines that lead from the root to an actor.
fn branches(actors: &[ActorInfo], index: usize) -> String {
    let parts: Vec<&str> = actors[index].path.split('/').collect();
    let mut out = String::new();
    // The root's own level has no line.
    for level in 1..parts.len() {
        let parent = &parts[..level];
        let child = &parts[..=level];
        let below = |path: &str, prefix: &[&str]| {
            path.split('/')
                .take(prefix.len())
                .eq(prefix.iter().copied())
                && path.split('/').count() >= prefix.len()
        };
        let more = actors[index + 1..].iter().any(|a| {
            below(&a.path, parent) && a.path.split('/').count() > level && !below(&a.path, child)
        });
        out.push_str(match (level + 1 == parts.len(), more) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        });
    }
    out
}

/// A span in its most readable unit.
fn longest(us: u64) -> String {
    let span = SignedDuration::from_micros(i64::try_from(us).unwrap_or(i64::MAX));
    match us {
        0 => "-".to_string(),
        1..1000 => format!("{us}us"),
        1000..1_000_000 => format!("{:.1}ms", us as f64 / 1000.0),
        _ => format!("{:.1}s", span.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(path: &str) -> ActorInfo {
        ActorInfo {
            path: path.to_string(),
            state: "idle".to_string(),
            mailbox: 0,
            handled: 7,
            restarts: 1,
            longest_us: 1500,
            last_failure: String::new(),
        }
    }

    #[test]
    fn actors_are_drawn_below_their_supervisors() {
        let paths = [
            "node",
            "node/plane/raft",
            "node/agent",
            "node/plane",
            "node/agent/pods",
            "node/plane/wal",
        ];
        let text = tree(paths.iter().map(|p| actor(p)).collect());
        let names: Vec<&str> = text
            .lines()
            .map(|line| line.split("   idle").next().unwrap_or(line).trim_end())
            .skip(1)
            .collect();
        assert_eq!(
            names,
            [
                "node",
                "├─ agent",
                "│  └─ pods",
                "└─ plane",
                "   ├─ raft",
                "   └─ wal"
            ]
        );
        assert!(text.lines().nth(1).is_some_and(|l| l.contains("1.5ms")));
    }

    #[test]
    fn spans_have_readable_units() {
        let spans = [0, 12, 1500, 2_500_000].map(longest);
        assert_eq!(spans, ["-", "12us", "1.5ms", "2.5s"]);
    }
}
