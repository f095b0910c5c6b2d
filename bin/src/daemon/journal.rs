//! Logs: for people on a terminal, JSON otherwise.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Begins logging to standard error. `KABUKI_LOG` chooses what, as `RUST_LOG` would
/// (`info`, `debug`, `kabuki_agent=debug,warn`).
pub fn begin() {
    // The libraries below say at `info` what is of use only to their own authors.
    let quiet = "info,libcontainer=warn,libcgroups=warn,raft=warn,raft_engine=error,ractor=warn";
    let filter = EnvFilter::try_from_env("KABUKI_LOG").unwrap_or_else(|_| EnvFilter::new(quiet));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match std::io::stderr().is_terminal() {
        true => logs.with_target(false).compact().init(),
        false => logs.json().flatten_event(true).init(),
    }
}
