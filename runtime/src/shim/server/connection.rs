//! The daemon's connections: reading requests, and writing replies without waiting.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use serde::Serialize;

use super::{Outcome, Shim};
use crate::memory::give_back_freed;
use crate::shim::wire::{self, Inbox, Request, Say};
use crate::spec::Event;

/// Bytes kept for a client that does not read; then its connection ends.
const BACKLOG_LIMIT: usize = 4 << 20;

#[derive(Default)]
pub(super) struct Connections {
    open: Vec<Connection>,
    next: u64,
}

pub(super) struct Connection {
    pub token: u64,
    stream: UnixStream,
    inbox: Inbox,
    unsent: VecDeque<Frame>,
    broken: bool,
}

struct Frame {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Connections {
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.open.iter()
    }

    pub fn accept(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            self.add(stream);
        }
    }

    pub fn add(&mut self, stream: UnixStream) {
        self.next += 1;
        let token = self.next;
        let mut connection = Connection {
            token,
            stream,
            inbox: Inbox::default(),
            unsent: VecDeque::new(),
            broken: false,
        };
        let pid = std::process::id() as i32;
        connection.say(
            &Say::Hello {
                version: wire::VERSION,
                pid,
            },
            Vec::new(),
        );
        self.open.push(connection);
    }

    pub fn find(&mut self, token: u64) -> Option<&mut Connection> {
        self.open
            .iter_mut()
            .find(|connection| connection.token == token)
    }

    pub fn broadcast(&mut self, event: &Event) {
        for connection in &mut self.open {
            connection.say(&Say::Event(event.clone()), Vec::new());
        }
    }

    /// Gives what is unsent a last chance.
    pub fn flush_all(&mut self) {
        self.open.iter_mut().for_each(Connection::flush);
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Connection {
    pub fn interest(&self) -> i16 {
        if self.unsent.is_empty() {
            libc::POLLIN
        } else {
            libc::POLLIN | libc::POLLOUT
        }
    }

    pub fn say(&mut self, say: &impl Serialize, fds: Vec<OwnedFd>) {
        match wire::encode(say) {
            Ok(bytes) => self.unsent.push_back(Frame {
                bytes,
                sent: 0,
                fds,
            }),
            Err(_) => self.broken = true,
        }
        self.flush();
        let waiting: usize = self.unsent.iter().map(|frame| frame.bytes.len()).sum();
        self.broken |= waiting > BACKLOG_LIMIT;
    }

    fn flush(&mut self) {
        while let Some(frame) = self.unsent.front_mut() {
            match wire::send(self.stream.as_fd(), &frame.bytes[frame.sent..], &frame.fds) {
                Ok(count) => {
                    frame.sent += count;
                    frame.fds.clear();
                    if frame.sent == frame.bytes.len() {
                        self.unsent.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
    }

    /// Requests that have arrived completely.
    fn requests(&mut self) -> Vec<Request> {
        match self.inbox.fill(self.stream.as_raw_fd()) {
            Ok(0) => self.broken = true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.broken = true,
        }
        let mut requests = Vec::new();
        loop {
            match self.inbox.next() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => return requests,
                Err(_) => {
                    self.broken = true;
                    return requests;
                }
            }
        }
    }
}

impl Shim {
    /// Does what a connection is ready for, and ends it if it is over.
    pub(super) fn serve(&mut self, token: u64, events: i16) {
        let Some(connection) = self.connections.find(token) else {
            return;
        };
        if events & libc::POLLOUT != 0 {
            connection.flush();
        }
        let mut requests = Vec::new();
        if events & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0 {
            requests = connection.requests();
        }
        for request in requests {
            let (answer, fds) = match self.answer(token, request.call) {
                Outcome::Ok((answer, fds)) => (Ok(answer), fds),
                Err(refusal) => (Err(refusal.0), Vec::new()),
            };
            let count = fds.len() as u8;
            let say = Say::Reply {
                id: request.id,
                fds: count,
                result: answer,
            };
            if let Some(connection) = self.connections.find(token) {
                connection.say(&say, fds);
            }
        }
        let over: Vec<u64> = self
            .connections
            .iter()
            .filter(|c| c.broken)
            .map(|c| c.token)
            .collect();
        for token in over {
            self.connections
                .open
                .retain(|connection| connection.token != token);
            self.kill_execs_of(token);
        }
        // Decoding and libcontainer leave freed memory behind that the pod pays for.
        give_back_freed();
    }
}
