//! The gate: the one actor of a node that other nodes reach. It opens what it is told and hands it
//! on; it decides nothing.

use super::MembersHandle;
use kabuki_protocol::cluster::Body;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorClusterMessage;

/// The process group in which the gates of all members are found.
pub(super) const GROUP: &str = "kabuki.gates";

/// Messages of a gate.
#[derive(RactorClusterMessage)]
pub(crate) enum GateMessage {
    /// A sealed message of a member.
    Tell(Vec<u8>),
}

pub(super) struct Gate;

impl Actor for Gate {
    type Msg = GateMessage;
    type State = MembersHandle;
    type Arguments = MembersHandle;

    async fn pre_start(
        &self,
        _myself: ActorRef<GateMessage>,
        members: MembersHandle,
    ) -> Result<MembersHandle, ActorProcessingErr> {
        Ok(members)
    }

    async fn post_start(
        &self,
        myself: ActorRef<GateMessage>,
        _members: &mut MembersHandle,
    ) -> Result<(), ActorProcessingErr> {
        // ractor takes it out again when the actor ends.
        ractor::pg::join(GROUP.to_string(), vec![myself.get_cell()]);
        Ok(())
    }

    async fn handle(
        &self,
        _myself: ActorRef<GateMessage>,
        GateMessage::Tell(message): GateMessage,
        members: &mut MembersHandle,
    ) -> Result<(), ActorProcessingErr> {
        let table = &members.table;
        let (from, boot, body) = match members.args.sealer.open(&message, |n| table.role_of(n)) {
            Ok(opened) => opened,
            Err(error) => {
                // Of a removed member, or an attack; neither is worth a restart.
                tracing::warn!(error = %error, "a member's message was refused");
                return Ok(());
            }
        };
        if !table.heard(from, boot) {
            return Ok(());
        }
        let listener = &members.args.listener;
        match body {
            Body::Heartbeat(heartbeat) => {
                table.note(from, &heartbeat);
                let (leader, revision) = listener.heard(from, &heartbeat);
                let answer = Body::Heard {
                    sent_us: heartbeat.sent_us,
                    leader,
                    revision,
                };
                // The next sign of life is answered in its place.
                let _ = table.tell(from, &answer);
            }
            Body::Heard {
                sent_us,
                leader,
                revision,
            } => {
                table.round_trip(from, sent_us);
                listener.answered(from, leader, revision);
            }
        }
        Ok(())
    }
}
