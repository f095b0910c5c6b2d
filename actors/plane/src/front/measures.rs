//! What a server measures of itself.

use crate::raft::RaftStatus;
use kabuki_kit::{ActorInfo, Tree};
use kabuki_protocol::front::Measure;
use std::collections::BTreeMap;

/// The measures of this moment.
pub(super) fn measure(status: &RaftStatus, tree: &Tree) -> Vec<Measure> {
    let mut measures = consensus(status);
    measures.extend(actors(&tree.snapshot()));
    measures
}

fn consensus(status: &RaftStatus) -> Vec<Measure> {
    let leading = f64::from(u8::from(status.leadership.leading));
    let counters = [
        (
            "kabuki_store_revision",
            "The revision of the newest state: one for each change.",
            status.revision as f64,
        ),
        (
            "kabuki_raft_applied_index",
            "The last entry of the log that the state includes.",
            status.applied.index as f64,
        ),
        (
            "kabuki_raft_snapshot_index",
            "The last entry of the log that is in a snapshot file.",
            status.snapshot_index as f64,
        ),
        (
            "kabuki_raft_term",
            "The term of the newest leadership known.",
            status.leadership.term as f64,
        ),
    ];
    let gauges = [
        (
            "kabuki_raft_is_leader",
            "Whether this server leads.",
            leading,
        ),
        (
            "kabuki_raft_commands_in_flight",
            "Commands that wait for their commit.",
            status.commands_in_flight as f64,
        ),
        (
            "kabuki_raft_bytes_in_flight",
            "The bytes of the commands that wait for their commit.",
            status.bytes_in_flight as f64,
        ),
    ];
    let counters = counters.map(|(name, help, value)| plain(name, help, true, value));
    let gauges = gauges.map(|(name, help, value)| plain(name, help, false, value));
    counters.into_iter().chain(gauges).collect()
}

fn actors(actors: &[ActorInfo]) -> Vec<Measure> {
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let (mut restarts, mut handled, mut waiting) = (0, 0, 0);
    for actor in actors {
        *states.entry(actor.state.to_string()).or_default() += 1;
        restarts += actor.starts.saturating_sub(1);
        handled += actor.handled;
        waiting += actor.mailbox;
    }
    let by_state = states
        .into_iter()
        .map(|(state, count)| (vec![("state", state)], count as f64));
    vec![
        Measure {
            name: "kabuki_actors",
            help: "Actors of this node, by what they are doing.",
            counter: false,
            values: by_state.collect(),
        },
        plain(
            "kabuki_actor_restarts_total",
            "How often supervisors restarted an actor.",
            true,
            restarts as f64,
        ),
        plain(
            "kabuki_actor_messages_total",
            "Messages that actors handled.",
            true,
            handled as f64,
        ),
        plain(
            "kabuki_actor_mailbox_messages",
            "Messages that wait in mailboxes.",
            false,
            waiting as f64,
        ),
    ]
}

fn plain(name: &'static str, help: &'static str, counter: bool, value: f64) -> Measure {
    Measure {
        name,
        help,
        counter,
        values: vec![(Vec::new(), value)],
    }
}
