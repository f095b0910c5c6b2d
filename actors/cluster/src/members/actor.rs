//! Keeps the sessions: dials, accepts, plays the part of ractor's `NodeServer`, and gives and
//! watches for signs of life.

use super::dial::{Attempts, is_mine};
use super::line::OpenLine;
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
use tokio::io::{AsyncRead, AsyncWrite};
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
    members: MembersHandle,
    /// The address at which sessions find their node server.
    node_server: ActorRef<NodeServerMessage>,
    next_node_id: u64,
    next_line: u64,
    sessions: HashMap<ActorId, Open>,
    attempts: Attempts,
}

struct Open {
    member: String,
    node_id: u64,
    since: Instant,
    actor: ActorRef<NodeSessionMessage>,
    line: LineState,
}

/// The line of a session.
enum LineState {
    /// There is none: it is the other's to dial, or to be dialled again.
    Missing,
    Dialling,
    Open {
        number: u64,
        _open: OpenLine,
    },
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

    fn dial(
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

    /// Dials the lines of ready sessions that are ours to dial.
    fn dial_lines(&mut self, myself: &ActorRef<SessionsMessage>) {
        let (table, sealer) = (&self.members.table, &self.members.args.sealer);
        if sealer.role() != Role::Server {
            return;
        }
        let wanted = self.sessions.iter().filter(|(_, open)| {
            matches!(open.line, LineState::Missing)
                && is_mine(Role::Server, sealer.name(), &open.member)
                && table.role_of(&open.member) == Some(Role::Server)
                && table.current(&open.member) == Some((open.node_id, SessionState::Connected))
        });
        let wanted: Vec<_> = wanted
            .map(|(id, open)| (*id, open.member.clone()))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let servers = self.members.args.directory.servers();
        for (session, member) in wanted {
            let Some(server) = servers.iter().find(|server| server.name == member) else {
                continue;
            };
            let (dialling, myself) = (self.dial(server, cluster::RAFT_ALPN), myself.clone());
            tokio::spawn(async move {
                let result = dialling.await;
                let _ = myself.cast(SessionsMessage::LineDialled { session, result });
            });
            if let Some(open) = self.sessions.get_mut(&session) {
                open.line = LineState::Dialling;
            }
        }
    }

    fn line_dialled(
        &mut self,
        myself: &ActorRef<SessionsMessage>,
        session: ActorId,
        result: io::Result<Box<TlsStream<TcpStream>>>,
    ) {
        match result {
            Ok(stream) => self.open_line(myself, session, *stream),
            // The next sign of life tries it again.
            Err(error) => {
                if let Some(open) = self.sessions.get_mut(&session) {
                    tracing::debug!(member = open.member, %error, "no line to a server");
                    open.line = LineState::Missing;
                }
            }
        }
    }

    fn line_accepted(&mut self, myself: &ActorRef<SessionsMessage>, visitor: Visitor) {
        let who = visitor.who.as_ref();
        let Some(member) = who.and_then(|who| who.node_name()) else {
            return;
        };
        // Its session came before it. Without one it is closed, and dialled again with the next.
        let current = self.members.table.current(member).map(|(id, _)| id);
        let of_member = self.sessions.iter();
        let mut of_member = of_member.filter(|(_, open)| Some(open.node_id) == current);
        if let Some((session, _)) = of_member.next() {
            self.open_line(myself, *session, visitor.stream);
        }
    }

    fn open_line(
        &mut self,
        myself: &ActorRef<SessionsMessage>,
        session: ActorId,
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
    ) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        let (myself, line) = (myself.clone(), self.next_line);
        self.next_line += 1;
        let listener = self.members.args.listener.clone();
        let opened = OpenLine::new(stream, listener, move |why| {
            let _ = myself.cast(SessionsMessage::LineBroken { session, line, why });
        });
        let table = &self.members.table;
        table.line(&open.member, open.node_id, Some(opened.line.clone()));
        open.line = LineState::Open {
            number: line,
            _open: opened,
        };
    }

    fn line_broken(
        &mut self,
        myself: &ActorRef<SessionsMessage>,
        session: ActorId,
        line: u64,
        why: &str,
    ) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        if matches!(&open.line, LineState::Open { number, .. } if *number == line) {
            tracing::info!(member = open.member, why, "the line to a server broke");
            open.line = LineState::Missing;
            self.members.table.line(&open.member, open.node_id, None);
            self.dial_lines(myself);
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
