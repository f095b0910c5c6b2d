//! The `kabuki` binary: the node's daemon and the command line.
//!
//! Three programs in one file. `kabuki shim`, which nobody types, owns the containers of a pod
//! and must begin before any thread exists. `kabuki node` is the daemon. Everything else is the
//! command line, a client of any node.

mod cli;
mod daemon;

use clap::{Args, Command, FromArgMatches};
use std::process::ExitCode;

/// The hidden verb of a pod's shim.
const SHIM: &str = "shim";
/// The verb of the daemon.
const NODE: &str = "node";

fn main() -> ExitCode {
    // First of all, while this is the only thread: see the runtime's shim.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == SHIM) {
        return kabuki_runtime::shim_main(std::env::args_os().skip(2));
    }
    let node = Command::new(NODE).about("Run a node of the cluster on this machine");
    let command = cli::command().subcommand(daemon::NodeArgs::augment_args(node));
    match command.clone().try_get_matches() {
        Ok(matches) => match matches.subcommand_matches(NODE) {
            Some(args) => {
                let args = daemon::NodeArgs::from_arg_matches(args);
                // The daemon lives long, and has no use for the whole command line's tree.
                drop((matches, command));
                node_outcome(args)
            }
            None => cli::run(&matches, command),
        },
        Err(error) => {
            // As `kubectl`: whatever is wrong with the arguments is an ordinary error.
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()))
        }
    }
}

fn node_outcome(args: Result<daemon::NodeArgs, clap::Error>) -> ExitCode {
    match args.map_err(anyhow::Error::from).and_then(daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", cli::chain(&error));
            ExitCode::FAILURE
        }
    }
}
