//! `edit`: an object in an editor, and its changes back to the server.

use super::failure::{Failure, Outcome, fail};
use super::printer::{self, OutputArgs};
use super::resolver::{self, FileArgs, Found, SelectArgs};
use super::session::Session;
use anyhow::Context;
use kabuki_model::manifest::to_yaml;
use kabuki_model::patch::create_two_way_patch;
use kabuki_model::request::{PatchType, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Arguments of `edit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki edit deploy/web\n  \
    KUBE_EDITOR=nano kabuki edit configmap settings\n\n  \
    # Processor and memory of a running pod's containers\n  \
    kabuki edit pod web-1 --subresource=resize")]
pub struct EditArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// Which part of the object is edited
    #[arg(long, value_enum, value_name = "status|resize")]
    subresource: Option<Part>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Part {
    Status,
    Resize,
}

const HEADER: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// Runs `edit`.
pub async fn run(session: &Session, args: EditArgs) -> Outcome {
    let format = args.output.format()?;
    let findings = resolver::find_either(session, &args.what, &args.select, &args.files).await?;
    Failure::gather(findings.failures)?;
    if findings.found.is_empty() {
        fail!("no objects to edit");
    }
    let part = args.subresource.map(|part| match part {
        Part::Status => Subresource::Status,
        Part::Resize => Subresource::Resize,
    });
    for found in &findings.found {
        match edit(session, found, part).await? {
            Some(value) => {
                format.did(
                    &session.out,
                    found.kind,
                    &value,
                    "edited",
                    printer::DryRun::None,
                )?;
            }
            None => session.out.line("Edit cancelled, no changes made.")?,
        }
    }
    Ok(())
}

/// Opens the editor until the server takes the change, or nothing is changed any more.
async fn edit(
    session: &Session,
    found: &Found,
    part: Option<Subresource>,
) -> Outcome<Option<Value>> {
    let before = printer::shown(found.object.to_value()?, false);
    let original = to_yaml(&before);
    let (mut text, mut problem) = (original.clone(), String::new());
    loop {
        let shown = format!("{HEADER}{}{text}", commented(&problem));
        let edited = open_editor(&shown)?;
        let body = without_comments(&edited);
        if body.trim().is_empty() || body == original {
            return Ok(None);
        }
        if !problem.is_empty() && body == text {
            // The same again would fail again: keep what was typed, and stop.
            let kept = keep(&edited)?;
            session.out.note(problem);
            fail!("Edit cancelled, no valid changes were saved; a copy is in {kept}");
        }
        match save(session, found, part, &before, &body).await {
            Ok(value) => return Ok(value),
            Err(Failure::Server(error)) if error.reason == Reason::NotFound => {
                let kept = keep(&edited)?;
                fail!(
                    "{} is gone; a copy of your changes is in {kept}",
                    found.label()
                );
            }
            Err(failure @ (Failure::Server(_) | Failure::Local(_))) => {
                problem = failure.text();
                text = body;
            }
            Err(failure) => return Err(failure),
        }
    }
}

async fn save(
    session: &Session,
    found: &Found,
    part: Option<Subresource>,
    before: &Value,
    body: &str,
) -> Outcome<Option<Value>> {
    let after: Value = serde_yaml_ng::from_str(body).context("the file is no YAML")?;
    for field in [
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
    ] {
        if after.pointer(field) != before.pointer(field) {
            fail!(
                "{} may not be changed",
                field.trim_start_matches('/').replace('/', ".")
            );
        }
    }
    let mut patch = create_two_way_patch(before, &after);
    if patch == json!({}) {
        return Ok(None);
    }
    // Someone else's change meanwhile must not be overwritten unseen.
    patch["metadata"]["resourceVersion"] = found.object.revision.to_string().into();
    let options = WriteOptions {
        field_manager: "kabuki-edit".into(),
        ..WriteOptions::default()
    };
    let changed = session
        .patch_part(found.key(), part, PatchType::Strategic, &patch, options)
        .await?;
    Ok(Some(changed.to_value()?))
}

fn commented(problem: &str) -> String {
    let lines: String = problem.lines().map(|line| format!("# {line}\n")).collect();
    if lines.is_empty() {
        lines
    } else {
        format!("{lines}#\n")
    }
}

fn without_comments(text: &str) -> String {
    // Only the head: a line in the object that begins so may be part of a text.
    text.lines()
        .skip_while(|line| line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn open_editor(text: &str) -> Outcome<String> {
    let mut file = tempfile::Builder::new()
        .prefix("kabuki-edit-")
        .suffix(".yaml")
        .tempfile()
        .context("cannot make a file to edit")?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    let editor = ["KUBE_EDITOR", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|e| !e.is_empty()))
        .unwrap_or_else(|| "vi".to_string());
    // The variable may hold arguments too, so a shell takes it apart.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file.path())
        .status()
        .with_context(|| format!("cannot start the editor {editor:?}"))?;
    if !status.success() {
        fail!("the editor {editor:?} failed ({status}): set $KUBE_EDITOR to another");
    }
    read(file.path())
}

fn read(path: &Path) -> Outcome<String> {
    Ok(std::fs::read_to_string(path).context("cannot read what was edited")?)
}

fn keep(text: &str) -> Outcome<String> {
    let file = tempfile::Builder::new()
        .prefix("kabuki-edit-")
        .suffix(".yaml")
        .tempfile()?;
    let (mut file, path) = file.keep().context("cannot keep what was edited")?;
    file.write_all(text.as_bytes())?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_comments_at_the_head_are_taken_away() {
        let shown = format!(
            "{HEADER}{}a: |\n  x\n# part of it\n",
            commented("error: no\nwhy")
        );
        assert!(shown.contains("# error: no\n# why\n#\n"));
        assert_eq!(without_comments(&shown), "a: |\n  x\n# part of it\n");
    }
}
