//! raft-rs logs through slog; here it goes on to `tracing`.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record};

struct Tracing;

impl Drain for Tracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), Never> {
        let text = record.msg();
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(target: "raft", "{text}"),
            Level::Warning => tracing::warn!(target: "raft", "{text}"),
            // Elections and votes: of interest only to those who look for them.
            Level::Info | Level::Debug => tracing::debug!(target: "raft", "{text}"),
            Level::Trace => tracing::trace!(target: "raft", "{text}"),
        }
        Ok(())
    }
}

pub(super) fn logger() -> Logger {
    Logger::root(Tracing, slog::o!())
}
