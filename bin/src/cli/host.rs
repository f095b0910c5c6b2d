//! `check` and `reset`: this machine, with or without a running node.

use super::align::Table;
use super::failure::{Failure, Outcome, fail};
use super::kubeconfig::data_dir;
use super::printer::ReportArgs;
use super::session::Session;
use super::terminal::is_interactive;
use anyhow::Context;
use kabuki_protocol::node::{FromNode, HostCheck, NodeRequest};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # This machine\n  \
    kabuki check\n\n  \
    # The machine of a node of the cluster\n  \
    kabuki check --node web-1")]
pub struct CheckArgs {
    /// Ask this node of the cluster instead of looking at this machine
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    output: ReportArgs,
}

/// Runs `check`. Fails when something is missing without which nothing works.
pub async fn check(session: &Session, args: CheckArgs) -> Outcome {
    args.output.format()?;
    let checks = match args.node {
        None => kabuki_agent::host_checks(&data_dir()).await,
        Some(node) => {
            session.check_node(&node).await?;
            let mut stream = session.stream(Some(&node), NodeRequest::Check).await?;
            let mut checks = Vec::new();
            loop {
                match stream.output.recv().await {
                    Some(FromNode::Checks(found)) => checks = found,
                    Some(FromNode::Done(end)) => {
                        end?;
                        break checks;
                    }
                    Some(_) => {}
                    None => fail!("node {node} went away"),
                }
            }
        }
    };
    let items = checks.iter().map(value).collect();
    args.output
        .print(&session.out, "CheckList", items, || table(&checks))?;
    let missing: Vec<&str> = checks
        .iter()
        .filter(|c| c.required && !c.ok)
        .map(|c| c.name.as_str())
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => fail!(
            "containers cannot run here: this machine lacks {} (run as root, on a kernel that \
             offers it)",
            missing.join(", ")
        ),
    }
}

fn value(check: &HostCheck) -> Value {
    json!({
        "name": check.name, "ok": check.ok, "required": check.required, "found": check.found,
        "cost": check.cost,
    })
}

fn table(checks: &[HostCheck]) -> String {
    let mut rows = vec![
        ["NAME", "STATUS", "FOUND", "COST"]
            .map(str::to_string)
            .to_vec(),
    ];
    for check in checks {
        let status = match (check.ok, check.required) {
            (true, _) => "ok",
            (false, true) => "MISSING",
            (false, false) => "missing",
        };
        rows.push(vec![
            check.name.clone(),
            status.to_string(),
            check.found.clone(),
            check.cost.clone(),
        ]);
    }
    Table::default().rows(&rows)
}

/// Arguments of `reset`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki reset\n  \
    kabuki reset --yes --data-dir /tmp/kabuki")]
pub struct ResetArgs {
    /// The node's data directory [default: $KABUKI_DATA_DIR, else /var/lib/kabuki]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Runs `reset`.
pub async fn reset(session: &Session, args: ResetArgs) -> Outcome {
    let given = args.data_dir.unwrap_or_else(data_dir);
    let dir = std::path::absolute(&given).with_context(|| given.display().to_string())?;
    if !dir.exists() {
        fail!("there is no node at {}: nothing to remove", dir.display());
    }
    // Whatever else is in a wrong directory must not be removed with it.
    let lock = dir.join("daemon.pid");
    if !lock.exists() {
        fail!(
            "{} is no node's data directory (it has no daemon.pid): give --data-dir",
            dir.display()
        );
    }
    let _held = refuse_running(&lock)?;
    if !args.yes {
        ask(session, &dir)?;
    }
    match kabuki_agent::reset(&dir).await {
        Ok(()) => session
            .out
            .line(format!("removed the node at {}", dir.display())),
        Err(errors) => Err(Failure::Many(
            errors.into_iter().map(Failure::Local).collect(),
        )),
    }
}

/// Holds the data directory, which a running daemon does.
fn refuse_running(lock: &Path) -> Outcome<Flock<std::fs::File>> {
    let file =
        std::fs::File::open(lock).with_context(|| format!("cannot open {}", lock.display()))?;
    let holder = std::fs::read_to_string(lock).unwrap_or_default();
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
        Failure::new(format!(
            "the node still runs (process {0}): stop it first, for example with `kill {0}`",
            holder.trim()
        ))
    })
}

fn ask(session: &Session, dir: &Path) -> Outcome {
    if !is_interactive() {
        fail!(
            "this removes the node at {} with all its pods: confirm with --yes",
            dir.display()
        );
    }
    session.out.text(&format!(
        "This removes the node at {} with its pods, images and stored objects. Go on? [y/N] ",
        dir.display()
    ))?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => fail!("nothing was removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_and_missing_stands_out() {
        let check = |name: &str, ok: bool, required: bool| HostCheck {
            name: name.to_string(),
            ok,
            required,
            found: "x".to_string(),
            cost: String::new(),
        };
        let text = table(&[
            check("a", true, true),
            check("b", false, true),
            check("c", false, false),
        ]);
        let words: Vec<&str> = text
            .lines()
            .map(|l| l.split_whitespace().nth(1).unwrap_or(""))
            .collect();
        assert_eq!(words, ["STATUS", "ok", "MISSING", "missing"]);
    }

    #[test]
    fn a_running_node_is_not_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("daemon.pid");
        std::fs::write(&path, "42\n").expect("writes");
        let held = Flock::lock(
            std::fs::File::open(&path).expect("opens"),
            FlockArg::LockExclusiveNonblock,
        );
        let failure = refuse_running(&path).expect_err("refused");
        assert!(failure.text().contains("process 42"));
        drop(held);
        assert!(refuse_running(&path).is_ok());
    }
}
