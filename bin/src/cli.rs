//! The command line: an actor client of any node. `main` builds the arguments and calls [`run`];
//! everything else is below. It knows the API and the node streams of the protocol, and nothing
//! of the daemon.
//!
//! | module | what |
//! |---|---|
//! | `session` | the connection, the namespace and the output that every verb works with |
//! | `kubeconfig`, `connect` | which server, as whom; TLS |
//! | `resolver` | from arguments, selectors and files to objects |
//! | `printer`, `align` | every form of output |
//! | `waiting` | waiting for an object by watching it |
//! | `failure` | what is said when a command fails, and the exit code |
//! | the others | one verb each |

mod align;
mod connect;
mod delete;
mod failure;
mod get;
mod kubeconfig;
mod out;
mod printer;
mod resolver;
mod session;
mod waiting;

use clap::builder::{BoolishValueParser, Styles, ValueParser};
use clap::{ArgAction, ArgMatches, Args, Command, FromArgMatches, Subcommand};
use failure::Outcome;
use session::{Globals, Session};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show objects
    Get(get::GetArgs),
    /// Delete objects
    Delete(delete::DeleteArgs),
}

/// The whole command line, without the verbs of the daemon.
pub fn command() -> Command {
    let base = Command::new("kabuki")
        .about("Runs containers on a cluster of machines")
        .version(env!("CARGO_PKG_VERSION"))
        .styles(Styles::plain())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("`kabuki VERB --help` explains a verb with examples.");
    like_kubectl(Verb::augment_subcommands(Globals::augment_args(base)))
}

/// Lets every switch be given as `--switch=false` too, as `kubectl` has it.
fn like_kubectl(command: Command) -> Command {
    let command = command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .value_parser(ValueParser::new(BoolishValueParser::new()))
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .hide_default_value(true)
            .hide_possible_values(true)
            .value_name("BOOL"),
        _ => arg,
    });
    command.mut_subcommands(like_kubectl)
}

/// Runs a parsed verb.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(dispatch(matches));
            // A read of standard input cannot be interrupted: leave its thread behind.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.text();
            if !text.is_empty() {
                out::Out::Standard.note(text);
            }
            ExitCode::from(failure.code())
        }
    }
}

async fn dispatch(matches: &ArgMatches) -> Outcome {
    let refused = |error: clap::Error| failure::Failure::new(error.to_string());
    let globals = Globals::from_arg_matches(matches).map_err(refused)?;
    let verb = Verb::from_arg_matches(matches).map_err(refused)?;
    let session = Session::new(globals);
    match verb {
        Verb::Get(args) => get::run(&session, args).await,
        Verb::Delete(args) => delete::run(&session, args).await,
    }
}
