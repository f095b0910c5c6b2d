//! The members as the leader sees them, for `kabuki members`.

use super::StateDirectory;
use crate::raft::RaftHandle;
use crate::raft::core::Members;
use kabuki_cluster::facts::MemberNode;
use kabuki_cluster::members::{MembersHandle, SessionInfo, SessionState};
use kabuki_model::StatusError;
use kabuki_protocol::session::MemberInfo;

/// Every member, by name.
pub async fn members(
    raft: &RaftHandle,
    directory: &StateDirectory,
    sessions: &MembersHandle,
    own_certificate_ends_s: i64,
) -> Result<Vec<MemberInfo>, StatusError> {
    let (status, servers) = (raft.status(), raft.members().await?);
    let sessions = sessions.sessions();
    let known = directory.members();
    let shown = known.values().map(|member| {
        let session = sessions.iter().find(|s| s.member == member.name);
        let mut shown = show(
            member,
            session,
            &servers,
            status.id,
            status.leadership.leader,
        );
        if member.server_id == Some(status.id) {
            shown.certificate_ends_s = Some(own_certificate_ends_s);
        }
        shown
    });
    Ok(shown.collect())
}

fn show(
    member: &MemberNode,
    session: Option<&SessionInfo>,
    servers: &Members,
    own_id: u64,
    leader: Option<u64>,
) -> MemberInfo {
    let own = member.server_id == Some(own_id);
    let vote = match member.server_id {
        Some(id) if leader == Some(id) => "leader",
        Some(id) if servers.voters.contains(&id) => "voter",
        Some(id) if servers.learners.contains(&id) => "learner",
        _ => "",
    };
    let progress = servers
        .progress
        .iter()
        .find(|p| Some(p.id) == member.server_id);
    let heartbeat = session.and_then(|s| s.heartbeat.as_ref());
    MemberInfo {
        name: member.name.clone(),
        role: member.role,
        address: member.address.clone(),
        vote: vote.to_string(),
        lag: match progress {
            _ if own => Some(0),
            Some(p) => Some(servers.last_index.saturating_sub(p.match_index)),
            None => None,
        },
        session: match session.map(|s| s.state) {
            _ if own => "self",
            Some(SessionState::Connected) => "connected",
            Some(SessionState::Connecting) => "connecting",
            Some(SessionState::Lost) | None => "lost",
        }
        .to_string(),
        heard_ms: session
            .and_then(|s| s.heard)
            .and_then(|h| u64::try_from(h.as_millis()).ok()),
        certificate_ends_s: heartbeat.map(|h| h.certificate_ends_s),
        program: heartbeat.map_or_else(|| member.program.clone(), |h| h.program.clone()),
    }
}
