//! An answer of another server, kept in the form in which it is sent on. Pure.

use crate::wire::{HEADER_LEN, OPT_LEN, Query, UDP_MAX, double, flag, kind, rcode, word};
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::{Name, RData};
use std::net::SocketAddr;

/// Nothing is kept for longer, in seconds: who moves a name does not want to wait.
const TTL_MAX_S: u32 = 3600;
/// The lack of a name neither (RFC 2308, 5, allows for more).
const NEGATIVE_MAX_S: u32 = 300;
/// A failure is kept so long (RFC 9520).
pub(crate) const FAILURE_S: u32 = 5;
/// What an answer says that has run out (RFC 8767, 4).
const STALE_TTL_S: u32 = 30;

/// A kept answer.
#[derive(Debug)]
pub struct Stored {
    /// The message, without an OPT record; its question in lower case.
    wire: Box<[u8]>,
    /// Where the times to live are.
    ttls: Box<[u16]>,
    question_end: usize,
    /// Its code.
    pub rcode: u16,
    authentic: bool,
    /// How long it may be kept, in seconds.
    pub ttl_s: u32,
    /// When it came, in milliseconds of the cache's clock.
    pub at_ms: u64,
    /// Who gave it.
    pub from: SocketAddr,
}

impl Stored {
    /// Takes what is of use from a message; `None` when it cannot be written again.
    pub fn of(message: &Message, name: &Name, from: SocketAddr, at_ms: u64) -> Option<Self> {
        let old = &message.metadata;
        let mut own = Message::new(0, MessageType::Response, OpCode::Query);
        own.metadata.response_code = old.response_code;
        let mut query = message.queries.first()?.clone();
        query.set_name(name.clone());
        own.add_query(query);
        own.add_answers(message.answers.iter().cloned());
        own.add_authorities(message.authorities.iter().cloned());
        own.add_additionals(message.additionals.iter().cloned());
        let mut wire = own.to_vec().ok()?;
        // Hickory drops what does not fit and says that it was cut: only a part is no answer.
        if word(&wire, 2)? & flag::TRUNCATED != 0 {
            return None;
        }
        let (question_end, ttls) = places(&wire)?;
        let rcode = u16::from(old.response_code);
        for place in &ttls {
            let at = usize::from(*place);
            let ttl = double(&wire, at)?.min(TTL_MAX_S);
            wire.get_mut(at..at + 4)?
                .copy_from_slice(&ttl.to_be_bytes());
        }
        Some(Self {
            ttl_s: lifetime(message, rcode),
            wire: wire.into(),
            ttls: ttls.into(),
            question_end,
            rcode,
            authentic: old.authentic_data,
            at_ms,
            from,
        })
    }

    /// What it takes, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.wire.len() + self.ttls.len() * 2
    }

    /// Its age, in seconds.
    pub fn age_s(&self, now_ms: u64) -> u32 {
        u32::try_from(now_ms.saturating_sub(self.at_ms) / 1000).unwrap_or(u32::MAX)
    }

    /// Whether it may still be given without asking again.
    pub fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms < self.at_ms + u64::from(self.ttl_s) * 1000
    }

    /// The message itself, for who wants to read it.
    pub fn message(&self) -> Option<Message> {
        Message::from_vec(&self.wire).ok()
    }

    /// Writes it as the answer to a question, and tells its length. An answer that has run out
    /// says so by a short time to live.
    pub fn render(
        &self,
        query: &Query,
        packet: &[u8],
        now_ms: u64,
        out: &mut [u8],
        limit: usize,
    ) -> usize {
        let opt = if query.edns.is_some() { OPT_LEN } else { 0 };
        let len = self.wire.len();
        let limit = limit.min(out.len());
        if len + opt > limit || query.question_end != self.question_end {
            return crate::respond::cut(query, packet, out);
        }
        let (age, stale) = (self.age_s(now_ms), !self.is_fresh(now_ms));
        out[..len].copy_from_slice(&self.wire);
        if let Some(question) = packet.get(HEADER_LEN..self.question_end) {
            out[HEADER_LEN..self.question_end].copy_from_slice(question);
        }
        for place in &self.ttls {
            let at = usize::from(*place);
            let ttl = double(&self.wire, at).unwrap_or_default();
            let left = match stale {
                true => STALE_TTL_S.min(ttl.max(1)),
                false => ttl.saturating_sub(age),
            };
            out[at..at + 4].copy_from_slice(&left.to_be_bytes());
        }
        let kept = flag::RECURSION_DESIRED | flag::CHECKING_DISABLED;
        let mut flags = flag::RESPONSE | flag::RECURSION_AVAILABLE | query.flags & kept;
        let asked = query.dnssec_ok() || query.flags & flag::AUTHENTIC != 0;
        if self.authentic && asked {
            flags |= flag::AUTHENTIC;
        }
        out[..2].copy_from_slice(&query.id.to_be_bytes());
        out[2..4].copy_from_slice(&(flags | self.rcode & 0xf).to_be_bytes());
        if let Some(edns) = query.edns {
            let more = word(&self.wire, 10).unwrap_or_default() + 1;
            out[10..12].copy_from_slice(&more.to_be_bytes());
            let [k, l] = kind::OPT.to_be_bytes();
            let [s, t] = (UDP_MAX as u16).to_be_bytes();
            let (high, signed) = ((self.rcode >> 4) as u8, u8::from(edns.dnssec_ok) << 7);
            let record = [0, k, l, s, t, high, 0, signed, 0, 0, 0];
            out[len..len + OPT_LEN].copy_from_slice(&record);
        }
        len + opt
    }
}

/// How long an answer may be kept: as long as its shortest record; the lack of one as its SOA
/// record says (RFC 2308, 5); failures for a short time; what does not say, not at all.
fn lifetime(message: &Message, code: u16) -> u32 {
    let asked = message.queries.first().map(|q| q.query_type());
    let answered = message
        .answers
        .iter()
        .any(|r| Some(r.record_type()) == asked);
    let any = asked.is_some_and(|t| u16::from(t) == kind::ANY) && !message.answers.is_empty();
    match code {
        rcode::NO_ERROR if answered || any => {
            let ttls = message.answers.iter().map(|r| r.ttl);
            ttls.min().unwrap_or_default().min(TTL_MAX_S)
        }
        rcode::NO_ERROR | rcode::NX_DOMAIN => {
            let soa = message.authorities.iter().find_map(|r| match &r.data {
                RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
                _ => None,
            });
            // Aliases on the way end earlier, perhaps.
            let ttls = message.answers.iter().map(|r| r.ttl).chain(soa);
            let shortest = ttls.min().unwrap_or_default();
            soa.map_or(0, |_| shortest.min(NEGATIVE_MAX_S))
        }
        _ => FAILURE_S,
    }
}

/// Where the question ends, and where the times to live are in a message without OPT.
fn places(wire: &[u8]) -> Option<(usize, Vec<u16>)> {
    let records: usize = (3..6)
        .map(|i| word(wire, i * 2).map_or(0, usize::from))
        .sum();
    let question_end = skip_name(wire, HEADER_LEN)? + 4;
    let (mut at, mut ttls) = (question_end, Vec::with_capacity(records));
    for _ in 0..records {
        let fields = skip_name(wire, at)?;
        ttls.push(u16::try_from(fields + 4).ok()?);
        at = fields + 10 + usize::from(word(wire, fields + 8)?);
    }
    (at <= wire.len()).then_some((question_end, ttls))
}

/// Where the name at `at` ends, compressed or not.
fn skip_name(wire: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*wire.get(at)?) {
            0 => return Some(at + 1),
            length if length < 64 => at += 1 + length,
            _ => return Some(at + 2),
        }
    }
}
