//! A lookup for people: what the node's name server answers, where it has it from, and how old
//! that is.

use crate::forward::{Origin, Stored};
use crate::respond::{Reply, aliases, respond};
use crate::server::Server;
use crate::wire::{CLASS_IN, Name, Query, rcode, word};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use std::net::SocketAddr;

/// The longest message.
const MESSAGE_MAX: usize = 65_535;

/// Where an answer has it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The cluster's own names.
    Zone,
    /// An answer of this server that was kept.
    Cache(SocketAddr),
    /// The same, though it has run out: nobody answered.
    Stale(SocketAddr),
    /// This server, just now.
    Upstream(SocketAddr),
    /// Nobody answered.
    Nobody,
}

/// What a lookup found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The answer's code: `NOERROR`, `NXDOMAIN`, `SERVFAIL`.
    pub code: &'static str,
    /// Its records, as in a zone file.
    pub records: Vec<String>,
    /// Where it is from.
    pub source: Source,
    /// Of a kept answer, for how many seconds it has been kept.
    pub kept_s: Option<u64>,
    /// When the service that the name belongs to changed, as [`crate::zone::Zone::update`] was
    /// told.
    pub changed_at_s: Option<u64>,
}

/// The type of a record by its name; `None` when there is none such.
pub fn kind_of(text: &str) -> Option<u16> {
    let kind: RecordType = text.to_ascii_uppercase().parse().ok()?;
    Some(kind.into())
}

/// Looks a name up as the server would for a client over TCP.
pub async fn lookup(server: &Server, name: &Name, kind: u16) -> Lookup {
    let published = server.published();
    let zone = &published.zone;
    let packet = packet(name, kind);
    let mut query = Query::default();
    let mut out = vec![0; MESSAGE_MAX];
    let reply = match query.read(&packet) {
        Ok(()) => respond(zone, &query, &packet, 0, &mut out, MESSAGE_MAX),
        Err(_) => Reply::Done(crate::respond::refuse(
            &query,
            &packet,
            rcode::REFUSED,
            &mut out,
        )),
    };
    let changed_at_s = zone.changed_at_s(name);
    if let Reply::Done(length) = reply {
        let lacking = !published.complete && word(&out, 6) == Some(0);
        let message = Message::from_vec(out.get(..length).unwrap_or_default());
        let (code, records) = match message {
            Ok(message) if !lacking => (code(message.metadata.response_code), message.answers),
            _ => ("SERVFAIL", Vec::new()),
        };
        return Lookup {
            code,
            records: lines(&records),
            source: Source::Zone,
            kept_s: None,
            changed_at_s,
        };
    }
    let chain = aliases(zone, name);
    let asked = chain.last().unwrap_or(name);
    let mut records = Vec::new();
    let mut owner = name;
    for target in &chain {
        records.push(format!("{owner} {} IN CNAME {target}", crate::zone::TTL_S));
        owner = target;
    }
    let found = others(server, asked, kind).await;
    records.extend(found.records);
    Lookup {
        records,
        changed_at_s,
        ..found
    }
}

async fn others(server: &Server, name: &Name, kind: u16) -> Lookup {
    let forwarder = server.forwarder();
    let resolved = forwarder.resolve(name, kind, false, false).await;
    let Some(stored) = resolved.stored else {
        return Lookup {
            code: "SERVFAIL",
            records: Vec::new(),
            source: Source::Nobody,
            kept_s: None,
            changed_at_s: None,
        };
    };
    let age = stored.age_s(forwarder.now_ms());
    let (source, kept) = match resolved.origin {
        Origin::Kept => (Source::Cache(stored.from), true),
        Origin::Stale => (Source::Stale(stored.from), true),
        Origin::Asked => (Source::Upstream(stored.from), false),
    };
    let (code, records) = read(&stored, age);
    Lookup {
        code,
        records,
        source,
        kept_s: kept.then_some(u64::from(age)),
        changed_at_s: None,
    }
}

fn read(stored: &Stored, age: u32) -> (&'static str, Vec<String>) {
    let Some(mut message) = stored.message() else {
        return ("SERVFAIL", Vec::new());
    };
    for record in &mut message.answers {
        record.ttl = record.ttl.saturating_sub(age);
    }
    (
        code(message.metadata.response_code),
        lines(&message.answers),
    )
}

fn lines(records: &[Record]) -> Vec<String> {
    records.iter().map(ToString::to_string).collect()
}

/// A code by the name that name servers' tools give it.
fn code(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        _ => "OTHER",
    }
}

fn packet(name: &Name, kind: u16) -> Vec<u8> {
    let head: [u16; 6] = [0, 0x0100, 1, 0, 0, 0];
    let head = head.iter().flat_map(|w| w.to_be_bytes());
    let tail = [kind, CLASS_IN];
    let tail = tail.iter().flat_map(|w| w.to_be_bytes());
    head.chain(name.wire().iter().copied())
        .chain(tail)
        .collect()
}
