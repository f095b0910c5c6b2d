//! One question to one server, and its answer: over UDP, and over TCP when it does not fit.
//!
//! Each question has a socket, a port and an identifier of its own, and its letters in random
//! case: who wants to slip in a false answer has to guess all of them (RFC 5452; the draft
//! "dns0x20").

use super::upstream::Upstream;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub name: Name,
    pub kind: RecordType,
    pub dnssec_ok: bool,
    pub checking_disabled: bool,
}

/// Questions on their way, to recognise one that comes back to us. By what is the same then: the
/// identifier, and the question's bytes with their case.
#[derive(Default)]
pub(crate) struct OnTheWay {
    held: Mutex<HashMap<Vec<u8>, Arc<Upstream>>>,
}

impl OnTheWay {
    fn held(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Upstream>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server that a packet was sent to by ourselves.
    pub fn whose(&self, packet: &[u8]) -> Option<Arc<Upstream>> {
        let held = self.held();
        if held.is_empty() {
            return None;
        }
        held.get(&mark(packet)?).cloned()
    }
}

/// The identifier and the question's name and type. Flags and the OPT record may change on the way.
fn mark(packet: &[u8]) -> Option<Vec<u8>> {
    let mut name = crate::wire::Name::root();
    let end = name.read(packet, crate::wire::HEADER_LEN)?;
    let question = packet.get(crate::wire::HEADER_LEN..end + 2)?;
    Some([packet.get(..2)?, question].concat())
}

/// Takes the mark away again.
struct Marked<'a> {
    way: &'a OnTheWay,
    mark: Vec<u8>,
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        self.way.held().remove(&self.mark);
    }
}

/// Asks, and waits for the answer for at most `wait` over each transport.
pub(crate) async fn ask(
    way: &OnTheWay,
    upstream: &Arc<Upstream>,
    question: &Question,
    wait: Duration,
) -> io::Result<Message> {
    let mut answer = once(way, upstream, question, wait).await?;
    let code = answer.metadata.response_code;
    let confused = matches!(code, ResponseCode::FormErr | ResponseCode::NotImp);
    if confused && !upstream.loses_edns.swap(true, Ordering::Relaxed) {
        answer = once(way, upstream, question, wait).await?;
        if answer.metadata.response_code == code {
            // It was something else.
            upstream.loses_edns.store(false, Ordering::Relaxed);
        }
    }
    Ok(answer)
}

async fn once(
    way: &OnTheWay,
    upstream: &Arc<Upstream>,
    question: &Question,
    wait: Duration,
) -> io::Result<Message> {
    let mut name = question.name.clone();
    if !upstream.loses_case.load(Ordering::Relaxed) {
        name.randomize_label_case();
    }
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = question.checking_disabled;
    message.add_query(Query::query(name, question.kind));
    if !upstream.loses_edns.load(Ordering::Relaxed) {
        let mut edns = Edns::new();
        edns.set_max_payload(crate::wire::UDP_MAX as u16)
            .set_dnssec_ok(question.dnssec_ok);
        message.set_edns(edns);
    }
    let packet = message.to_vec().map_err(io::Error::other)?;
    let mark = mark(&packet).unwrap_or_default();
    way.held().insert(mark.clone(), upstream.clone());
    let _marked = Marked { way, mark };
    let cut = match timeout(wait, by_udp(upstream, &packet, &message)).await {
        Ok(Ok(Some(answer))) if !answer.metadata.truncation => return Ok(answer),
        Ok(Ok(_)) => true,
        Ok(Err(error)) => return Err(error),
        Err(_) => false,
    };
    if !cut {
        return Err(late("over UDP"));
    }
    timeout(wait, by_tcp(upstream.address, &packet, &message))
        .await
        .unwrap_or_else(|_| Err(late("over TCP")))
}

fn late(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer {how}"))
}

/// `None` when it answered, but without keeping the letters' case: then TCP says whether it was
/// the one that was asked.
async fn by_udp(
    upstream: &Upstream,
    packet: &[u8],
    asked: &Message,
) -> io::Result<Option<Message>> {
    let any: SocketAddr = match upstream.address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // The kernel now drops what comes from anybody else.
    socket.connect(upstream.address).await?;
    socket.send(packet).await?;
    let mut buffer = [0; 4096];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let message = Message::from_vec(buffer.get(..len).unwrap_or_default());
        let Ok(answer) = message else {
            continue;
        };
        match fits(asked, &answer) {
            Fit::Yes => return Ok(Some(answer)),
            Fit::OtherCase => {
                upstream.loses_case.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            Fit::No => {}
        }
    }
}

async fn by_tcp(address: SocketAddr, packet: &[u8], asked: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(address).await?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), packet].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(io::Error::other)?;
    match fits(asked, &answer) {
        Fit::Yes | Fit::OtherCase => Ok(answer),
        Fit::No => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer is not to the question",
        )),
    }
}

enum Fit {
    Yes,
    /// But for the letters' case.
    OtherCase,
    No,
}

/// Whether an answer is to the question.
fn fits(asked: &Message, answer: &Message) -> Fit {
    let meta = &answer.metadata;
    if meta.id != asked.metadata.id || meta.message_type != MessageType::Response {
        return Fit::No;
    }
    let (Some(ours), [theirs]) = (asked.queries.first(), answer.queries.as_slice()) else {
        // Who could not read the question may leave it out.
        let unread = matches!(
            meta.response_code,
            ResponseCode::FormErr | ResponseCode::NotImp
        );
        return match unread && answer.queries.is_empty() {
            true => Fit::Yes,
            false => Fit::No,
        };
    };
    let same = ours.query_type() == theirs.query_type()
        && ours.query_class() == theirs.query_class()
        && ours.name() == theirs.name();
    match (same, ours.name().eq_case(theirs.name())) {
        (true, true) => Fit::Yes,
        (true, false) => Fit::OtherCase,
        (false, _) => Fit::No,
    }
}
