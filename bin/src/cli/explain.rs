//! `explain`, `completion` and `top`.

use super::failure::{Failure, Outcome, fail};
use super::resolver::kind_named;
use super::session::Session;
use clap::Command;
use clap_complete::Shell;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki explain pod\n  \
    kabuki explain deployment.spec.strategy --recursive")]
pub struct ExplainArgs {
    /// TYPE[.FIELD.FIELD..]
    what: String,
    /// Only the names and types of all fields below
    #[arg(long)]
    recursive: bool,
    /// The version of the API
    #[arg(long, value_name = "GROUP/VERSION")]
    api_version: Option<String>,
}

/// Runs `explain`.
pub fn explain(session: &Session, args: &ExplainArgs) -> Outcome {
    let (name, path) = args.what.split_once('.').unwrap_or((&args.what, ""));
    let kind = kind_named(name)?;
    if let Some(version) = &args.api_version
        && *version != kind.api_version()
    {
        fail!(
            "couldn't find resource for {version:?}: {} is in {}",
            name,
            kind.api_version()
        );
    }
    let text = kabuki_model::explain::explain(kind, path, args.recursive);
    let text = text.map_err(|error| {
        Failure::new(format!("{error}; `kabuki explain {name}` lists the fields"))
    })?;
    session.out.text(&text)
}

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # For this shell, and for every one\n  \
    source <(kabuki completion bash)\n  \
    kabuki completion bash > /etc/bash_completion.d/kabuki")]
pub struct CompletionArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs `completion`.
pub fn completion(session: &Session, args: &CompletionArgs, mut command: Command) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kabuki", &mut script);
    session.out.bytes(&script)
}

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "`top` comes with node metrics, which this version does not have yet.")]
pub struct TopArgs {
    /// nodes or pods
    what: Vec<String>,
}

/// Runs `top`, which there is not yet.
pub fn top(args: &TopArgs) -> Outcome {
    let what = args.what.first().map_or("nodes", String::as_str);
    fail!("`top {what}` comes with node metrics, which this version does not have")
}
