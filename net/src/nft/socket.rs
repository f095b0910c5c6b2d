//! A blocking netfilter socket in one network namespace.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::decode::{Message, u32_at};
use super::{Batch, FAMILY_INET, NFTABLES, encode};
use crate::Netns;

/// A transaction is one datagram, which the kernel takes only when it fits the socket: this is
/// beyond what ever is sent at once. Only what is sent is allocated.
const SEND_BYTES: usize = 64 << 20;
/// Answers and notices that wait.
const RECEIVE_BYTES: usize = 8 << 20;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
/// A dump was disturbed by a change, and is to be repeated.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// The socket.
pub(crate) struct NetfilterSocket {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl NetfilterSocket {
    /// Opens it in a namespace. Blocks for the life of a short thread.
    pub fn open(netns: &Netns) -> io::Result<Self> {
        let opened = netns.run_blocking(|| {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            let address = socket.bind_auto()?;
            Ok::<_, io::Error>((socket, address.port_number()))
        });
        let (socket, port) = opened.map_err(io::Error::other)??;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors come without the request that they answer.
        socket.set_cap_ack(true)?;
        setsockopt(&socket, sockopt::SndBufForce, &SEND_BYTES)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BYTES)?;
        Ok(Self {
            socket,
            port,
            sequence: 0,
            buffer: Vec::new(),
        })
    }

    /// Its number, which the kernel's notices of its changes carry.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Has the kernel tell of every change of nf_tables.
    pub fn listen(&mut self) -> io::Result<()> {
        /// `NFNLGRP_NFTABLES`
        const GROUP: u32 = 7;
        self.socket.add_membership(GROUP)
    }

    /// Lets waiting end after a second, with `EAGAIN`.
    pub fn wake_every_second(&self) -> io::Result<()> {
        let second = nix::sys::time::TimeVal::new(1, 0);
        Ok(setsockopt(&self.socket, sockopt::ReceiveTimeout, &second)?)
    }

    /// Waits for notices, and says whether `concerns` says so of one of them.
    pub fn hear(&mut self, concerns: impl Fn(Message<'_>) -> bool) -> io::Result<bool> {
        let heard = self.receive(|message| concerns(message).then_some(()))?;
        Ok(heard.is_some())
    }

    /// Performs a transaction: all of it or nothing.
    pub fn commit(&mut self, batch: Batch) -> io::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = batch.finish(self.sequence);
        self.send(&bytes)?;
        // Refusals of single messages come first; the last message's answer ends it.
        let last = u32::MAX;
        let mut refused = None;
        loop {
            let ended = self.receive(|message| {
                if message.kind != NLMSG_ERROR {
                    return None;
                }
                match code(message.body) {
                    0 if message.sequence == last => Some(()),
                    0 => None,
                    error => {
                        refused.get_or_insert(error);
                        Some(())
                    }
                }
            })?;
            if ended.is_some() {
                break;
            }
        }
        match refused {
            None => Ok(()),
            Some(error) => {
                self.drain();
                Err(io::Error::from_raw_os_error(error))
            }
        }
    }

    /// Asks for all objects of a kind and hands each answer to `see`. Repeats it when changes
    /// came in between; then `restart` is called first.
    pub fn dump<S>(
        &mut self,
        subsystem: u16,
        kind: u16,
        state: &mut S,
        fill: impl Fn(&mut Vec<u8>),
        restart: impl Fn(&mut S),
        see: impl Fn(&mut S, Message<'_>),
    ) -> io::Result<()> {
        /// Beyond this, something changes all the time, and what was read is as good as ever.
        const ATTEMPTS: usize = 5;
        for _ in 0..ATTEMPTS {
            restart(state);
            if self.dump_once(subsystem, kind, state, &fill, &see)? {
                break;
            }
        }
        Ok(())
    }

    fn dump_once<S>(
        &mut self,
        subsystem: u16,
        kind: u16,
        state: &mut S,
        fill: &impl Fn(&mut Vec<u8>),
        see: &impl Fn(&mut S, Message<'_>),
    ) -> io::Result<bool> {
        self.request(subsystem, kind, NLM_F_DUMP, fill)?;
        let (sequence, mut whole) = (self.sequence, true);
        loop {
            let ended = self.receive_flags(|message, flags| {
                if message.sequence != sequence {
                    return None;
                }
                whole &= flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => Some(Ok(())),
                    NLMSG_ERROR => Some(match code(message.body) {
                        0 => Ok(()),
                        error => Err(error),
                    }),
                    _ => {
                        see(state, message);
                        None
                    }
                }
            })?;
            match ended {
                None => {}
                Some(Ok(())) => return Ok(whole),
                Some(Err(error)) => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    /// Sends one request and waits for its acknowledgement, or for one object, which goes to
    /// `see`.
    pub fn ask(
        &mut self,
        subsystem: u16,
        kind: u16,
        acknowledge: bool,
        fill: impl Fn(&mut Vec<u8>),
        mut see: impl FnMut(Message<'_>),
    ) -> io::Result<()> {
        let flags = if acknowledge { NLM_F_ACK } else { 0 };
        self.request(subsystem, kind, flags, &fill)?;
        let sequence = self.sequence;
        loop {
            let ended = self.receive(|message| {
                if message.sequence != sequence {
                    return None;
                }
                if message.kind == NLMSG_ERROR {
                    return Some(code(message.body));
                }
                see(message);
                (!acknowledge).then_some(0)
            })?;
            match ended {
                None => {}
                Some(0) => return Ok(()),
                Some(error) => return Err(io::Error::from_raw_os_error(error)),
            }
        }
    }

    fn request(
        &mut self,
        subsystem: u16,
        kind: u16,
        flags: u16,
        fill: &impl Fn(&mut Vec<u8>),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut out = Vec::with_capacity(256);
        let family = if subsystem == NFTABLES {
            FAMILY_INET
        } else {
            super::FAMILY_IPV4
        };
        let kind = (subsystem << 8) | kind;
        let at = encode::begin(&mut out, kind, NLM_F_REQUEST | flags, self.sequence, family);
        fill(&mut out);
        encode::end(&mut out, at);
        self.send(&out)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }

    fn receive<T>(
        &mut self,
        mut each: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.receive_flags(|message, _| each(message))
    }

    /// Waits for one datagram and goes through its messages, until one gives a result.
    fn receive_flags<T>(
        &mut self,
        mut each: impl FnMut(Message<'_>, u16) -> Option<T>,
    ) -> io::Result<Option<T>> {
        /// What the kernel puts into one datagram of a dump at most.
        const DATAGRAM: usize = 64 << 10;
        self.buffer.clear();
        self.buffer.reserve(DATAGRAM);
        loop {
            match self.socket.recv(&mut self.buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => {
                    received?;
                    break;
                }
            }
        }
        let mut at = 0;
        for message in Message::all(&self.buffer) {
            let flags = u32_at(&self.buffer, at + 4).map_or(0, |word| {
                let [_, _, low, high] = word.to_ne_bytes();
                u16::from_ne_bytes([low, high])
            });
            let length = u32_at(&self.buffer, at).unwrap_or(0) as usize;
            at += length.next_multiple_of(4);
            if let Some(result) = each(message, flags) {
                return Ok(Some(result));
            }
        }
        Ok(None)
    }

    /// Throws away what is left of the answers to a refused transaction.
    fn drain(&mut self) {
        self.buffer.clear();
        self.buffer.reserve(4096);
        while self
            .socket
            .recv(&mut self.buffer, libc::MSG_DONTWAIT)
            .is_ok()
        {
            self.buffer.clear();
        }
    }
}

/// The number of an error; 0 for an acknowledgement.
fn code(body: &[u8]) -> i32 {
    let code = u32_at(body, 0).map_or(-libc::EINVAL, u32::cast_signed);
    code.wrapping_neg()
}
