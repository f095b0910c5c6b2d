//! From a packet to its answer: at once where that is possible, else by asking others.

use super::{Published, Shared};
use crate::forward::Forwarder;
use crate::plain;
use crate::respond::{self, Reply, aliases, respond};
use crate::wire::{Name, OPT_LEN, Query, UDP_MAX, Unanswerable, rcode, word};
use crate::zone::contains;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name as ProtoName, RData, Record};
use hickory_proto::serialize::binary::BinDecodable;
use std::net::IpAddr;
use std::sync::Arc;

/// Whose questions about names of others are passed on. Everybody else gets REFUSED: a server that
/// asks for anybody can be used against others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clients {
    /// Blocks of addresses.
    pub blocks: Vec<(IpAddr, u8)>,
}

impl Clients {
    fn has(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_loopback() || self.blocks.iter().any(|(b, l)| contains(*b, *l, client))
    }
}

/// How a packet can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// The answer's length.
    Done(usize),
    /// Not at all.
    Silence,
    /// Only by asking others; with the packet in its plain form, where it was not.
    Later(Option<Vec<u8>>),
}

/// What is known where a packet came in.
pub(super) struct Place<'a> {
    pub shared: &'a Shared,
    pub published: &'a Published,
    pub client: IpAddr,
    /// Another number for each question.
    pub turn: u32,
    /// The answer's bound over TCP; over UDP the question itself says.
    pub tcp_limit: Option<usize>,
}

impl Place<'_> {
    fn limit(&self, query: &Query) -> usize {
        self.tcp_limit.unwrap_or_else(|| query.udp_limit())
    }

    /// Answers into `out`, if that needs nobody else.
    pub fn answer(&self, packet: &[u8], query: &mut Query, out: &mut [u8]) -> Now {
        match query.read(packet) {
            Ok(()) => self.answer_plain(packet, query, out, None),
            Err(Unanswerable::Silence) => Now::Silence,
            Err(Unanswerable::Code(code)) => Now::Done(respond::refuse(query, packet, code, out)),
            Err(Unanswerable::Odd) => {
                let plain = plain::simplify(packet);
                match plain.map(|p| (query.read(&p), p)) {
                    Some((Ok(()), plain)) => {
                        let packet = plain.clone();
                        self.answer_plain(&packet, query, out, Some(plain))
                    }
                    Some((Err(Unanswerable::Code(code)), plain)) => {
                        Now::Done(respond::refuse(query, &plain, code, out))
                    }
                    _ => Now::Done(respond::refuse(query, packet, rcode::FORM_ERR, out)),
                }
            }
        }
    }

    fn answer_plain(
        &self,
        packet: &[u8],
        query: &Query,
        out: &mut [u8],
        plain: Option<Vec<u8>>,
    ) -> Now {
        let limit = self.limit(query);
        let zone = &self.published.zone;
        let alias = match respond(zone, query, packet, self.turn, out, limit) {
            Reply::Done(length) => {
                let lacking = !self.published.complete && word(out, 6) == Some(0);
                return Now::Done(match lacking {
                    true => respond::refuse(query, packet, rcode::SERV_FAIL, out),
                    false => length,
                });
            }
            Reply::Alias => true,
            Reply::Elsewhere => false,
        };
        let forwarder = &self.shared.forwarder;
        if !self.shared.clients.has(self.client) || forwarder.is_own(packet) {
            return Now::Done(respond::refuse(query, packet, rcode::REFUSED, out));
        }
        if alias {
            return Now::Later(plain);
        }
        let (dnssec, cd) = (query.dnssec_ok(), query.checking_disabled());
        match forwarder.kept(&query.name, query.kind, dnssec, cd) {
            Some(stored) => Now::Done(stored.render(query, packet, forwarder.now_ms(), out, limit)),
            // Who does not want others to be asked gets what is here.
            None if !query.recursion_desired() => {
                Now::Done(respond::refuse(query, packet, rcode::REFUSED, out))
            }
            None => Now::Later(plain),
        }
    }

    /// Answers by asking others. `packet` is plain.
    pub async fn answer_later(&self, packet: &[u8], query: &Query) -> Vec<u8> {
        let limit = self.limit(query);
        let forwarder = &self.shared.forwarder;
        let names = aliases(&self.published.zone, &query.name);
        let mut out = vec![0; limit.max(UDP_MAX) + OPT_LEN];
        let length = match names.last() {
            None => {
                let (dnssec, cd) = (query.dnssec_ok(), query.checking_disabled());
                let resolved = forwarder.resolve(&query.name, query.kind, dnssec, cd);
                match resolved.await.stored {
                    Some(stored) => {
                        stored.render(query, packet, forwarder.now_ms(), &mut out, limit)
                    }
                    None => respond::refuse(query, packet, rcode::SERV_FAIL, &mut out),
                }
            }
            Some(_) => match by_alias(forwarder, packet, query, &names).await {
                Some(answer) if answer.len() <= limit => return answer,
                Some(_) => respond::cut(query, packet, &mut out),
                None => respond::refuse(query, packet, rcode::SERV_FAIL, &mut out),
            },
        };
        out.truncate(length);
        out
    }
}

/// The answer for a name that leads to one of others: the aliases, and what the last one has.
async fn by_alias(
    forwarder: &Arc<Forwarder>,
    packet: &[u8],
    query: &Query,
    names: &[Name],
) -> Option<Vec<u8>> {
    let asked = Message::from_vec(packet).ok()?;
    let question = asked.queries.first()?.clone();
    let last = names.last()?;
    let (dnssec, cd) = (query.dnssec_ok(), query.checking_disabled());
    let resolved = forwarder.resolve(last, query.kind, dnssec, cd).await;
    let mut answer = Message::new(query.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = asked.metadata.recursion_desired;
    answer.metadata.checking_disabled = asked.metadata.checking_disabled;
    answer.metadata.recursion_available = true;
    let mut owner = question.name().clone();
    answer.add_query(question);
    for name in names {
        let target = ProtoName::from_bytes(name.wire()).ok()?;
        let data = RData::CNAME(CNAME(target.clone()));
        answer.add_answer(Record::from_rdata(owner, crate::zone::TTL_S, data));
        owner = target;
    }
    match resolved.stored.as_ref() {
        Some(stored) => {
            let others = stored.message()?;
            let age = stored.age_s(forwarder.now_ms());
            let mut answers = others.answers;
            let mut authorities = others.authorities;
            for record in answers.iter_mut().chain(&mut authorities) {
                record.ttl = record.ttl.saturating_sub(age);
            }
            answer.metadata.response_code = others.metadata.response_code;
            answer.add_answers(answers);
            answer.add_authorities(authorities);
        }
        None => answer.metadata.response_code = ResponseCode::ServFail,
    }
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_MAX as u16).set_dnssec_ok(dnssec);
        answer.set_edns(edns);
    }
    answer.to_vec().ok()
}
