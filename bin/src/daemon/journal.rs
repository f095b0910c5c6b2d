//! Logs: for people on a terminal, JSON otherwise.

use std::io::IsTerminal;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// What is logged unless somebody chooses: the libraries below say at `info` what is of use only to
/// their own authors.
const QUIET: &str =
    "info,libcontainer=warn,libcgroups=warn,raft=warn,raft_engine=error,ractor=warn";

/// Begins logging to standard error. `KABUKI_LOG` chooses what: levels, each for all or for the
/// modules below one (`debug`, `kabuki_agent=debug,warn`).
pub fn begin() {
    let (chosen, misread) = match std::env::var("KABUKI_LOG") {
        Ok(text) => match text.parse::<Targets>() {
            Ok(chosen) => (chosen, None),
            Err(error) => (quiet(), Some(error)),
        },
        Err(_) => (quiet(), None),
    };
    let to = fmt::layer().with_writer(std::io::stderr);
    let layer = match std::io::stderr().is_terminal() {
        true => to.with_target(false).compact().boxed(),
        false => to.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(chosen))
        .init();
    if let Some(error) = misread {
        tracing::warn!(%error, "KABUKI_LOG is not understood; levels are like info,kabuki_agent=debug");
    }
}

fn quiet() -> Targets {
    QUIET.parse().unwrap_or_default()
}
