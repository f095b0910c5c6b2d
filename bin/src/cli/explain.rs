//! `explain` and `completion`.

use super::failure::{Failure, Outcome, fail};
use super::resolver::kind_named;
use super::session::Session;
use clap::Command;
use clap_complete::Shell;
use kabuki_model::kind::{self, Kind};

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
    let (kind, name, path) = named(&args.what)?;
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

/// The kind that a path begins with, its name as given, and the fields. A kind may be given with
/// its group, which has dots too: `deployments.apps.spec`.
fn named(what: &str) -> Outcome<(&'static Kind, &str, &str)> {
    let dots = what.match_indices('.').map(|(at, _)| at);
    let ends: Vec<usize> = dots.chain([what.len()]).collect();
    for end in ends.iter().rev() {
        let (name, path) = what.split_at(*end);
        if let Some(kind) = kind::by_name(name) {
            return Ok((kind, name, path.trim_start_matches('.')));
        }
    }
    let (name, path) = what.split_once('.').unwrap_or((what, ""));
    Ok((kind_named(name)?, name, path))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_explained_by_its_name_with_or_without_its_group() {
        let read = |what| named(what).map(|(kind, _, path)| (kind.names.plural, path));
        assert_eq!(read("po"), Ok(("pods", "")));
        assert_eq!(read("pod.spec.containers"), Ok(("pods", "spec.containers")));
        assert_eq!(read("deploy.spec"), Ok(("deployments", "spec")));
        assert_eq!(read("deployments.apps.spec"), Ok(("deployments", "spec")));
        assert_eq!(
            read("deployments.v1.apps.spec"),
            Ok(("deployments", "spec"))
        );
        assert!(read("nothing.spec").is_err());
    }
}
