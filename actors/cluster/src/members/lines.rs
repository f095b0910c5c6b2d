//! The lines of the sessions: whoever dialled a session dials its line, too, and again when it breaks.

use super::actor::{SessionsMessage, SessionsState};
use super::dial::is_mine;
use super::line::OpenLine;
use super::table::SessionState;
use crate::seams::Visitor;
use kabuki_protocol::cluster;
use kabuki_protocol::join::Role;
use ractor::{ActorId, ActorRef};
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The line of a session.
pub(super) enum LineState {
    /// There is none: it is the other's to dial, or to be dialled again.
    Missing,
    Dialling,
    Open {
        number: u64,
        _open: OpenLine,
    },
}

impl SessionsState {
    /// Dials the lines of ready sessions that are ours to dial.
    pub(super) fn dial_lines(&mut self, myself: &ActorRef<SessionsMessage>) {
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

    pub(super) fn line_dialled(
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

    pub(super) fn line_accepted(&mut self, myself: &ActorRef<SessionsMessage>, visitor: Visitor) {
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
        let opened = OpenLine::new(&self.members.args.bundle, stream, listener, move |why| {
            let _ = myself.cast(SessionsMessage::LineBroken { session, line, why });
        });
        let table = &self.members.table;
        table.line(&open.member, open.node_id, Some(opened.line.clone()));
        open.line = LineState::Open {
            number: line,
            _open: opened,
        };
    }

    pub(super) fn line_broken(
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
}
