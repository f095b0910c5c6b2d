//! One thread, one UDP socket: a batch of questions in, a batch of answers out. It waits in the
//! kernel, takes no lock for a name of the zone, and never waits for others.

use super::Shared;
use super::answer::{Now, Place};
use super::flood::Flood;
use super::share::QuestionTicket;
use crate::respond;
use crate::wire::{Query, UDP_MAX, rcode};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, recvmsg, sendmmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Questions of one batch.
const BATCH: usize = 64;
/// Nobody asks a longer question over UDP: what is longer is cut by the kernel, and malformed.
const PACKET: usize = 1500;
/// After so many full batches in a row the kernel is asked what it dropped.
const ASK_AFTER: u32 = 16;
/// An error of the socket that does not go away is met again after this time.
const PAUSE: Duration = Duration::from_millis(10);

/// Questions that come faster than this, on average, are gathered before they are taken: batches
/// of one or two are not worth the calls of the kernel and the change of threads, which those who
/// ask pay as well.
const FAST: Duration = Duration::from_micros(25);
/// For how long.
const GATHER: Duration = Duration::from_micros(100);

/// How fast questions come.
struct Pace {
    last: Instant,
    /// From one to the next, over the last few batches.
    each: Duration,
}

impl Pace {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            each: GATHER,
        }
    }

    /// A batch of so many came at this time: whether the next ones are to be gathered.
    fn is_fast(&mut self, count: usize, now: Instant) -> bool {
        // One pause is enough to find the usual pace again.
        let since = now.duration_since(self.last).min(FAST * 1000);
        let each = since / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        self.each = (self.each * 7 + each) / 8;
        self.last = now;
        self.each < FAST
    }
}

/// What a loop works with.
struct Batch {
    received: MultiHeaders<SockaddrStorage>,
    sent: MultiHeaders<SockaddrStorage>,
    packets: Vec<[u8; PACKET]>,
    answers: Vec<[u8; UDP_MAX]>,
    /// Whose packet is how long.
    from: Vec<Option<(SocketAddr, SockaddrStorage, usize)>>,
    /// To whom which answer goes.
    to: Vec<(usize, usize)>,
}

/// Answers until the server stops.
pub(super) fn run(shared: &Arc<Shared>, socket: &Arc<UdpSocket>, runtime: &Handle) {
    let mut batch = Batch::new();
    let mut desk = Desk {
        shared,
        socket,
        runtime,
        query: Query::default(),
        flood: Flood::default(),
        turn: 0,
    };
    let mut full = 0;
    let mut pace = Pace::new();
    while !shared.stop.load(Ordering::Acquire) {
        let count = match batch.receive(socket) {
            Ok(count) => count,
            // An error of an earlier answer, or a signal.
            Err(Errno::EINTR | Errno::ECONNREFUSED | Errno::EAGAIN) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot receive questions");
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        full = if count == BATCH { full + 1 } else { 0 };
        if full == ASK_AFTER {
            full = 0;
            if let Some(dropped) = batch.ask_dropped(socket) {
                desk.flood.seen(dropped);
            }
        }
        let dropped = desk.answer(&mut batch, count);
        batch.send(socket);
        let counters = &shared.counters;
        counters
            .questions
            .fetch_add(count as u64, Ordering::Relaxed);
        if dropped > 0 {
            counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        if pace.is_fast(count, Instant::now()) {
            std::thread::sleep(GATHER);
        }
    }
}

/// What answers the questions of a batch.
struct Desk<'a> {
    shared: &'a Arc<Shared>,
    socket: &'a Arc<UdpSocket>,
    runtime: &'a Handle,
    query: Query,
    flood: Flood,
    turn: u32,
}

impl Desk<'_> {
    /// Answers what can be answered at once, and hands the rest on. Says how many were passed
    /// over.
    fn answer(&mut self, batch: &mut Batch, count: usize) -> u64 {
        let published = self.shared.published.load();
        let mut dropped = 0;
        batch.to.clear();
        for index in 0..count {
            let Some((address, _, length)) = batch.from[index] else {
                continue;
            };
            let client = address.ip();
            if !self.flood.admits(client) {
                dropped += 1;
                continue;
            }
            self.turn = self.turn.wrapping_add(1);
            let place = Place {
                shared: self.shared,
                published: &published,
                client,
                turn: self.turn,
                tcp_limit: None,
            };
            let packet = &batch.packets[index][..length];
            let out = &mut batch.answers[index];
            match place.answer(packet, &mut self.query, out) {
                Now::Done(length) => batch.to.push((index, length)),
                Now::Silence => {}
                Now::Later(plain) => match self.shared.shares.questions.take(client) {
                    Some(ticket) => {
                        let packet = plain.unwrap_or_else(|| packet.to_vec());
                        self.hand_on(packet, address, ticket);
                    }
                    None => {
                        dropped += 1;
                        let length = respond::refuse(&self.query, packet, rcode::SERV_FAIL, out);
                        batch.to.push((index, length));
                    }
                },
            }
        }
        dropped
    }

    fn hand_on(&self, packet: Vec<u8>, client: SocketAddr, ticket: QuestionTicket) {
        let own = (self.shared.clone(), self.socket.clone());
        let (query, turn) = (self.query.clone(), self.turn);
        self.runtime
            .spawn(later(own, packet, query, client, turn, ticket));
    }
}

impl Batch {
    fn new() -> Self {
        Self {
            received: MultiHeaders::preallocate(BATCH, None),
            sent: MultiHeaders::preallocate(BATCH, None),
            packets: vec![[0; PACKET]; BATCH],
            answers: vec![[0; UDP_MAX]; BATCH],
            from: vec![None; BATCH],
            to: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for questions and takes what is there.
    fn receive(&mut self, socket: &UdpSocket) -> nix::Result<usize> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .packets
            .iter_mut()
            .map(|packet| [IoSliceMut::new(packet)])
            .collect();
        let flags = MsgFlags::MSG_WAITFORONE;
        let fd = socket.as_raw_fd();
        let received = recvmmsg(fd, &mut self.received, &mut slices, flags, None)?;
        let mut count = 0;
        for message in received {
            let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            let sender = message.address.and_then(|raw| Some((address(&raw)?, raw)));
            self.from[count] = sender
                .filter(|_| whole)
                .map(|(address, raw)| (address, raw, message.bytes));
            count += 1;
        }
        Ok(count)
    }

    /// How many packets the kernel dropped so far, as the next packet tells, which stays where it
    /// is.
    fn ask_dropped(&mut self, socket: &UdpSocket) -> Option<u32> {
        let mut space = nix::cmsg_space!(u32);
        let mut buffer = [0; PACKET];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        let fd = socket.as_raw_fd();
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut space), flags).ok()?;
        message.cmsgs().ok()?.find_map(|c| match c {
            ControlMessageOwned::RxqOvfl(dropped) => Some(dropped),
            _ => None,
        })
    }

    /// Sends the answers. One that cannot be sent is passed over.
    fn send(&mut self, socket: &UdpSocket) {
        let mut first = 0;
        while first < self.to.len() {
            let rest = &self.to[first..];
            let slices: Vec<[IoSlice<'_>; 1]> = rest
                .iter()
                .map(|(index, length)| [IoSlice::new(&self.answers[*index][..*length])])
                .collect();
            let addresses: Vec<Option<SockaddrStorage>> = rest
                .iter()
                .map(|(index, _)| self.from[*index].map(|(_, raw, _)| raw))
                .collect();
            let flags = MsgFlags::MSG_DONTWAIT;
            let fd = socket.as_raw_fd();
            let sent = sendmmsg(fd, &mut self.sent, &slices, &addresses, [], flags);
            first += match sent {
                Ok(sent) => sent.count().max(1),
                Err(Errno::EINTR) => 0,
                Err(_) => 1,
            };
        }
    }
}

fn address(raw: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = raw.as_sockaddr_in() {
        return Some(SocketAddr::from((v4.ip(), v4.port())));
    }
    let v6 = raw.as_sockaddr_in6()?;
    Some(SocketAddr::from((v6.ip(), v6.port())))
}

/// Asks others, and answers.
async fn later(
    own: (Arc<Shared>, Arc<UdpSocket>),
    packet: Vec<u8>,
    query: Query,
    client: SocketAddr,
    turn: u32,
    _ticket: QuestionTicket,
) {
    let (shared, socket) = own;
    shared.counters.asked.fetch_add(1, Ordering::Relaxed);
    let published = shared.published.load_full();
    let place = Place {
        shared: &shared,
        published: &published,
        client: client.ip(),
        turn,
        tcp_limit: None,
    };
    let answer = place.answer_later(&packet, &query).await;
    // A full socket drops it, as the network might.
    let (fd, to) = (socket.as_raw_fd(), SockaddrStorage::from(client));
    let _ = nix::sys::socket::sendto(fd, &answer, &to, MsgFlags::MSG_DONTWAIT);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_gathered_only_while_they_come_fast() {
        let (mut pace, mut now) = (Pace::new(), Instant::now());
        let mut batches = |pace: &mut Pace, count, gap, times| {
            (0..times)
                .map(|_| {
                    now += gap;
                    pace.is_fast(count, now)
                })
                .last()
        };
        let slowly = Duration::from_millis(1);
        assert_eq!(batches(&mut pace, 1, slowly, 100), Some(false));
        assert_eq!(batches(&mut pace, 10, slowly / 10, 100), Some(true));
        assert_eq!(
            batches(&mut pace, 1, Duration::from_secs(1), 1),
            Some(false),
            "the first after a pause is not kept waiting"
        );
    }
}
