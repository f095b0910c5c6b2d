//! Performs what a replica wants done.

use super::World;
use crate::raft::core::Effect;
use crate::raft::core::eraftpb::{Message, MessageType};
use kabuki_model::view::View as _;

impl World {
    pub(super) fn perform(&mut self, id: u64, effects: Vec<Effect>) {
        for effect in effects {
            let server = self.servers.get_mut(&id).expect("it is known");
            match effect {
                Effect::Append(append) => server.appends.push_back(append),
                Effect::Send(messages) => self.send(messages),
                Effect::SendSnapshot(message) => {
                    self.snapshots_sent += 1;
                    self.snapshots.push(message);
                }
                Effect::Applied(applied) => {
                    for (token, outcome) in applied.answers {
                        let kabuki_model::command::Applied::Committed(changes) = outcome else {
                            continue;
                        };
                        self.acknowledged.insert(token, changes[0].revision());
                    }
                }
                Effect::Read { tokens, outcome } => self.read_ends(id, &tokens, outcome.is_ok()),
                Effect::Reconfigured { token, outcome } => {
                    self.reconfigured.insert(token, outcome);
                }
                Effect::Leadership(now) if now.leading => {
                    let before = *self.leaders.entry(now.term).or_insert(id);
                    assert_eq!(before, id, "two leaders in term {}", now.term);
                }
                Effect::SaveSnapshot(save) => server.saving = Some(save),
                Effect::Fetch(fetch) => server.fetches.push_back(fetch),
                Effect::Wake { ticket, .. } => server.wakes.push(ticket),
                Effect::Remind { .. } => server.to_be_reminded = true,
                Effect::KeepAwake(awake) => server.awake = awake,
                Effect::Refused { tokens, error } => {
                    let refused = tokens.into_iter().map(|token| (token, error.clone()));
                    self.refused.extend(refused);
                }
                Effect::Installed(_)
                | Effect::Configuration(_)
                | Effect::Leadership(_)
                | Effect::Compact(_) => {}
            }
        }
    }

    pub(super) fn send(&mut self, messages: Vec<Message>) {
        for message in &messages {
            match message.get_msg_type() {
                MessageType::MsgAppendResponse => self.appends_answered += 1,
                MessageType::MsgAppend if message.entries.is_empty() => self.notices += 1,
                _ => {}
            }
        }
        self.network.extend(messages);
    }

    fn read_ends(&mut self, id: u64, tokens: &[u64], served: bool) {
        let seen = self.servers[&id].replica.as_ref();
        // While it starts there is no replica yet, nor anybody who waits.
        let seen = seen.map_or(0, |replica| replica.snapshot().revision());
        for token in tokens {
            let least = self.reads.remove(token).expect("it was asked");
            if served {
                self.reads_served += 1;
                assert!(
                    seen >= least,
                    "{id} serves {seen}, {least} was acknowledged"
                );
            }
        }
    }
}
