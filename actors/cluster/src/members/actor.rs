//! Keeps the sessions: dials, accepts, plays the part of ractor's `NodeServer`, and gives and
//! watches for signs of life.

use super::dial::{Attempts, is_mine};
use super::lines::LineState;
use super::table::SessionState;
use super::{HEARTBEAT, MembersHandle, SILENCE, name};
use crate::seams::Visitor;
use kabuki_protocol::cluster::{self, Body};
use kabuki_protocol::join::{Role, ServerAddress};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::node::SessionCheckReply;
use ractor_cluster::{
    NetworkStream, NodeServerMessage, NodeSession, NodeSessionMessage, RactorMessage,
};
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// ractor's own check of its peers; here mutual TLS has done it, with certificates that name the
/// peer.
const COOKIE: &str = "kabuki";
/// The largest frame that is taken in: a body with its seal.
const MAX_FRAME_BYTES: u64 = 8 << 20;
/// A session that is not ready by then never will be.
const READY_LIMIT: Duration = Duration::from_secs(5);

#[derive(RactorMessage)]
pub(crate) enum SessionsMessage {
    /// The servers may have changed.
    Look,
    /// Say that we live, look who is silent.
    Beat,
    /// One who dialled us.
    Accepted(Box<Visitor>),
    /// One whom we dialled.
    Dialled {
        server: ServerAddress,
        result: io::Result<Box<TlsStream<TcpStream>>>,
    },
    /// A server that dialled us for the line of our session.
    LineAccepted(Box<Visitor>),
    /// One whom we dialled for the line of a session.
    LineDialled {
        session: ActorId,
        result: io::Result<Box<TlsStream<TcpStream>>>,
    },
    /// A line has broken.
    LineBroken {
        session: ActorId,
        line: u64,
        why: String,
    },
    /// A session speaks to its node server.
    OfSession(NodeServerMessage),
}

pub(super) struct Sessions;

pub(super) struct SessionsState {
    pub(super) members: MembersHandle,
    /// The address at which sessions find their node server.
    node_server: ActorRef<NodeServerMessage>,
    next_node_id: u64,
    pub(super) next_line: u64,
    pub(super) sessions: HashMap<ActorId, Open>,
    attempts: Attempts,
}

pub(super) struct Open {
    pub(super) member: String,
    pub(super) node_id: u64,
    since: Instant,
    actor: ActorRef<NodeSessionMessage>,
    pub(super) line: LineState,
}

/// Sessions want an actor of ractor's own message type for their node server: this one passes
/// all on.
struct NodeServerPart;

impl Actor for NodeServerPart {
    type Msg = NodeServerMessage;
    type State = ActorRef<SessionsMessage>;
    type Arguments = ActorRef<SessionsMessage>;

    async fn pre_start(
        &self,
        _myself: ActorRef<NodeServerMessage>,
        sessions: ActorRef<SessionsMessage>,
    ) -> Result<ActorRef<SessionsMessage>, ActorProcessingErr> {
        Ok(sessions)
    }

    async fn handle(
        &self,
        _myself: ActorRef<NodeServerMessage>,
        message: NodeServerMessage,
        sessions: &mut ActorRef<SessionsMessage>,
    ) -> Result<(), ActorProcessingErr> {
        Ok(sessions.cast(SessionsMessage::OfSession(message))?)
    }
}

impl Actor for Sessions {
    type Msg = SessionsMessage;
    type State = SessionsState;
    type Arguments = MembersHandle;

    async fn pre_start(
        &self,
        myself: ActorRef<SessionsMessage>,
        members: MembersHandle,
    ) -> Result<SessionsState, ActorProcessingErr> {
        let (node_server, _) =
            Actor::spawn_linked(None, NodeServerPart, myself.clone(), myself.get_cell()).await?;
        // What a former incarnation had is gone with it.
        for (member, _) in members.table.ready() {
            if let Some((node_id, _)) = members.table.current(&member)
                && members.table.lost(&member, node_id)
            {
                members.args.listener.lost(&member);
            }
        }
        Ok(SessionsState {
            members,
            node_server,
            // Numbers are not used again, also not after a restart: references to actors of an
            // old session must never mean those of a new one.
            next_node_id: rand::random::<u32>().into(),
            next_line: 0,
            sessions: HashMap::new(),
            attempts: Attempts::default(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<SessionsMessage>,
        state: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        myself.send_interval(HEARTBEAT, || SessionsMessage::Beat);
        state.look(&myself);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<SessionsMessage>,
        message: SessionsMessage,
        state: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SessionsMessage::Look => state.look(&myself),
            SessionsMessage::Beat => {
                state.beat();
                state.look(&myself);
            }
            SessionsMessage::Accepted(visitor) => state.accepted(&myself, *visitor).await,
            SessionsMessage::Dialled { server, result } => {
                state.dialled(&myself, server, result).await;
            }
            SessionsMessage::LineAccepted(visitor) => state.line_accepted(&myself, *visitor),
            SessionsMessage::LineDialled { session, result } => {
                state.line_dialled(&myself, session, result);
            }
            SessionsMessage::LineBroken { session, line, why } => {
                state.line_broken(&myself, session, line, &why);
            }
            SessionsMessage::OfSession(message) => state.of_session(&myself, message),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SessionsMessage>,
        event: SupervisionEvent,
        state: &mut SessionsState,
    ) -> Result<(), ActorProcessingErr> {
        let (who, why) = match event {
            SupervisionEvent::ActorTerminated(who, _, why) => (who, why.unwrap_or_default()),
            SupervisionEvent::ActorFailed(who, why) => (who, why.to_string()),
            _ => return Ok(()),
        };
        if who.get_id() == state.node_server.get_id() {
            return Err("the sessions' node server has ended".into());
        }
        state.ended(&myself, who.get_id(), &why);
        Ok(())
    }
}

impl SessionsState {
    /// Dials every server that is ours to dial and has no session.
    fn look(&mut self, myself: &ActorRef<SessionsMessage>) {
        let sealer = &self.members.args.sealer;
        for server in self.members.args.directory.servers() {
            if server.name == sealer.name()
                || !is_mine(sealer.role(), sealer.name(), &server.name)
                || self.has_session(&server.name)
                || !self.attempts.begin(&server.name, Instant::now())
            {
                continue;
            }
            let (dialling, myself) = (self.dial(&server, cluster::ALPN), myself.clone());
            tokio::spawn(async move {
                let result = dialling.await;
                let _ = myself.cast(SessionsMessage::Dialled { server, result });
            });
        }
        self.dial_lines(myself);
    }

    pub(super) fn dial(
        &self,
        server: &ServerAddress,
        alpn: &'static [u8],
    ) -> impl Future<Output = io::Result<Box<TlsStream<TcpStream>>>> + use<> {
        let dialling = self.members.args.dial.dial(server, alpn);
        async move {
            match tokio::time::timeout(READY_LIMIT, dialling).await {
                Ok(result) => result.map(Box::new),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            }
        }
    }

    fn has_session(&self, member: &str) -> bool {
        self.sessions.values().any(|s| s.member == member)
    }

    async fn dialled(
        &mut self,
        myself: &ActorRef<SessionsMessage>,
        server: ServerAddress,
        result: io::Result<Box<TlsStream<TcpStream>>>,
    ) {
        let stream = match result {
            Ok(stream) => *stream,
            Err(error) => {
                tracing::debug!(member = server.name, address = server.address, error = %error, "a server cannot be reached");
                self.again_later(myself, &server.name);
                return;
            }
        };
        let addresses = (
            stream.get_ref().0.peer_addr(),
            stream.get_ref().0.local_addr(),
        );
        let (Ok(peer_addr), Ok(local_addr)) = addresses else {
            self.again_later(myself, &server.name);
            return;
        };
        let stream = NetworkStream::TlsClient {
            peer_addr,
            local_addr,
            stream,
        };
        self.begin(myself, &server.name, Role::Server, stream, false)
            .await;
    }

    async fn accepted(&mut self, myself: &ActorRef<SessionsMessage>, visitor: Visitor) {
        let Some(who) = visitor.who else { return };
        let Some(member) = who.node_name().map(str::to_string) else {
            tracing::debug!(client.user = who.user, "no node, so no member");
            return;
        };
        let role = match who.is_server() {
            true => Role::Server,
            false => Role::Worker,
        };
        let Ok(local_addr) = visitor.stream.get_ref().0.local_addr() else {
            return;
        };
        let stream = NetworkStream::TlsServer {
            peer_addr: visitor.peer,
            local_addr,
            stream: visitor.stream,
        };
        self.begin(myself, &member, role, stream, true).await;
    }

    /// Begins a session; an older one with the same member gives way to it.
    async fn begin(
        &mut self,
        myself: &ActorRef<SessionsMessage>,
        member: &str,
        role: Role,
        stream: NetworkStream,
        is_server: bool,
    ) {
        self.disconnect(member);
        let node_id = self.next_node_id;
        self.next_node_id += 1;
        let sealer = &self.members.args.sealer;
        let Some(own_name) = name::message(sealer.name(), sealer.boot()) else {
            tracing::error!("ractor_cluster has changed its format of names");
            return;
        };
        let session = NodeSession::new(
            node_id,
            is_server,
            COOKIE.to_string(),
            self.node_server.clone(),
            own_name,
            NodeConnectionMode::Isolated,
        )
        .with_max_inbound_frame_size(MAX_FRAME_BYTES);
        match Actor::spawn_linked(None, session, stream, myself.get_cell()).await {
            Ok((actor, _)) => {
                self.members.table.connecting(member, role, node_id);
                let open = Open {
                    member: member.to_string(),
                    node_id,
                    since: Instant::now(),
                    actor: actor.clone(),
                    line: LineState::Missing,
                };
                self.sessions.insert(actor.get_id(), open);
            }
            Err(error) => {
                tracing::warn!(member, error = %error, "a session could not be begun");
                self.again_later(myself, member);
            }
        }
    }

    fn again_later(&mut self, myself: &ActorRef<SessionsMessage>, member: &str) {
        let wait = self
            .attempts
            .failed(member, Instant::now(), rand::random::<f64>());
        myself.send_after(wait, || SessionsMessage::Look);
    }

    fn disconnect(&mut self, member: &str) {
        let of_member = self.sessions.values().filter(|s| s.member == member);
        of_member.for_each(|s| s.actor.stop(Some("replaced".to_string())));
    }

    /// What a session asks of its node server, or tells it.
    fn of_session(&mut self, myself: &ActorRef<SessionsMessage>, message: NodeServerMessage) {
        match message {
            NodeServerMessage::UpdateSession { actor_id, name } => {
                let Some(open) = self.sessions.get(&actor_id) else {
                    return;
                };
                // The certificate has the last word on who this is.
                if name::node_of(&name.name) != Some(open.member.as_str()) {
                    tracing::warn!(
                        member = open.member,
                        claimed = name.name,
                        "a member claims another name than its certificate's"
                    );
                    open.actor.stop(Some("wrong name".to_string()));
                }
            }
            // Which session counts is decided where they begin.
            NodeServerMessage::CheckSession { reply, .. } => {
                let _ = reply.send(SessionCheckReply::NoOtherConnection);
            }
            NodeServerMessage::ConnectionReady(actor_id) => {
                self.ready(actor_id);
                self.dial_lines(myself);
            }
            NodeServerMessage::GetSessions(reply) => drop(reply.send(HashMap::new())),
            _ => {}
        }
    }

    fn ready(&mut self, actor_id: ActorId) {
        let Some(open) = self.sessions.get(&actor_id) else {
            return;
        };
        let members = &self.members;
        let counts = members.table.current(&open.member).map(|(id, _)| id) == Some(open.node_id);
        if !counts {
            return;
        }
        members.table.connected(&open.member, open.node_id);
        self.attempts.succeeded(&open.member);
        tracing::info!(member = open.member, "session with a member is ready");
        members.args.listener.connected(&open.member);
        self.beat_to(&open.member);
    }

    fn ended(&mut self, myself: &ActorRef<SessionsMessage>, actor_id: ActorId, why: &str) {
        let Some(open) = self.sessions.remove(&actor_id) else {
            return;
        };
        let was_ready = matches!(
            self.members.table.current(&open.member),
            Some((id, SessionState::Connected)) if id == open.node_id
        );
        let counted = self.members.table.lost(&open.member, open.node_id);
        if counted && was_ready {
            tracing::info!(member = open.member, why, "session with a member broke");
            self.members.args.listener.lost(&open.member);
        }
        let now = Instant::now();
        self.attempts
            .settle(&open.member, now, rand::random::<f64>());
        self.look(myself);
        // A wait may be under way.
        myself.send_after(Duration::from_millis(100), || SessionsMessage::Look);
    }

    /// A sign of life to every server, an end to every silent session.
    fn beat(&mut self) {
        self.part_from_removed();
        for (member, node_id) in self.members.table.silent(SILENCE) {
            tracing::info!(member, "a member has fallen silent");
            self.stop_session(node_id, "silent");
        }
        let overdue = self.sessions.values().filter(|s| {
            let state = self.members.table.current(&s.member);
            s.since.elapsed() > READY_LIMIT
                && !matches!(state, Some((id, SessionState::Connected)) if id == s.node_id)
        });
        overdue.for_each(|s| s.actor.stop(Some("never got ready".to_string())));
        for (member, role) in self.members.table.ready() {
            if role == Role::Server {
                self.beat_to(&member);
            }
        }
    }

    /// Ends the sessions of those who are members no more.
    fn part_from_removed(&self) {
        let directory = &self.members.args.directory;
        for (member, _) in self.members.table.ready() {
            if directory.address(&member).is_none() {
                tracing::info!(member, "a member was removed from the cluster");
                let of_member = self.sessions.values().filter(|s| s.member == member);
                of_member.for_each(|s| s.actor.stop(Some("removed".to_string())));
                self.members.table.forget(&member);
            }
        }
    }

    fn stop_session(&self, node_id: u64, why: &str) {
        let of_number = self.sessions.values().filter(|s| s.node_id == node_id);
        of_number.for_each(|s| s.actor.stop(Some(why.to_string())));
    }

    fn beat_to(&self, member: &str) {
        let members = &self.members;
        if members.table.role_of(member) != Some(Role::Server) {
            return;
        }
        let sent_us = members.table.clock_us();
        let heartbeat = members.args.listener.sign_of_life(sent_us);
        // Without a session there is nobody to tell.
        let _ = members.tell(member, &Body::Heartbeat(heartbeat));
    }
}
