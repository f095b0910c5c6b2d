//! The `kabuki` binary: the node's daemon and the command line.
//!
//! Three programs in one file. `kabuki shim`, which nobody types, owns the containers of a pod
//! and must begin before any thread exists. `kabuki node` is the daemon. Everything else is the
//! command line, a client of any node.

mod cli;
mod daemon;

use clap::{Args, FromArgMatches};
use std::process::ExitCode;

/// The hidden verb of a pod's shim.
const SHIM: &str = "shim";
/// The daemon's verb.
const NODE: &str = "node";

fn main() -> ExitCode {
    // First of all, while this is the only thread: see the runtime's shim.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == SHIM) {
        return kabuki_runtime::shim_main(std::env::args_os().skip(2));
    }
    let node = daemon::NodeArgs::augment_args(clap::Command::new(NODE).about("Run a node"));
    match cli::command().subcommand(node).try_get_matches() {
        Ok(matches) => match matches.subcommand_matches(NODE) {
            Some(node) => run_node(node),
            None => cli::run(&matches),
        },
        Err(error) => {
            // As `kubectl`: whatever is wrong with the arguments is an ordinary error.
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()))
        }
    }
}

fn run_node(matches: &clap::ArgMatches) -> ExitCode {
    let args = daemon::NodeArgs::from_arg_matches(matches).map_err(anyhow::Error::from);
    match args.and_then(daemon::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
