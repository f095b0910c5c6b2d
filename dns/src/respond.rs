//! From a question to the bytes of its answer, where the zone has one. Pure, and without touching
//! the heap: this is what every lookup of a cluster's name runs through.
//!
//! Answers fit the limit that they are given. Records of the answer that do not fit are left out
//! and the answer is marked as cut (RFC 2181, 9), so the client asks again over TCP; additional
//! records are left out in silence.

use crate::wire::{Full, Name, Query, Section, Writer, flag, kind, rcode};
use crate::zone::{
    Addresses, Found, Key, SCHEMA_TTL_S, SCHEMA_VERSION, TTL_S, Targets, Zone, is_of,
};
use std::collections::HashSet;
use std::net::IpAddr;

/// An alias that leads to an alias is followed so often.
const ALIASES_MAX: usize = 8;
/// Places further behind cannot be pointed at (RFC 1035, 4.1.4).
const POINTER_MAX: usize = 0x3fff;
/// SRV: all targets are of the same rank (RFC 2782).
const PRIORITY: u16 = 0;
/// Their weights add up to about this.
const WEIGHTS: usize = 100;

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The answer's length.
    Done(usize),
    /// The name is none of the zone's.
    Elsewhere,
    /// The name is an alias of one that is none of the zone's; see [`aliases`].
    Alias,
}

/// Answers a question from the zone into `out`, in at most `limit` bytes. `turn` is another number
/// for every question: it decides which address comes first.
pub fn respond(
    zone: &Zone,
    query: &Query,
    packet: &[u8],
    turn: u32,
    out: &mut [u8],
    limit: usize,
) -> Reply {
    let found = zone.find(&query.name, query.kind);
    if matches!(found, Found::Elsewhere) {
        return Reply::Elsewhere;
    }
    let mut writer = Writer::begin(query, packet, out, limit);
    writer.set_flag(flag::AUTHORITATIVE);
    let mut answer = Answer {
        zone,
        kind: query.kind,
        turn,
        writer,
    };
    let place = crate::wire::HEADER_LEN;
    let written = match found {
        Found::Alias(target) => match answer.follow(target, place) {
            Some(written) => written,
            None => return Reply::Alias,
        },
        found => answer.write(&query.name, place, found),
    };
    if written.is_err() {
        answer.writer.set_flag(flag::TRUNCATED);
    }
    Reply::Done(answer.writer.finish(query.id))
}

/// The names that a name of the zone leads to, one alias after the other: the last one is none
/// of the zone's.
pub fn aliases(zone: &Zone, name: &Name) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    while let Found::Alias(target) = zone.find(names.last().unwrap_or(name), kind::A)
        && names.len() < ALIASES_MAX
    {
        let mut next = Name::root();
        next.set_wire(target);
        names.push(next);
    }
    names
}

/// An answer without records, for a question that was read or for a packet that could not be.
pub fn refuse(query: &Query, packet: &[u8], code: u16, out: &mut [u8]) -> usize {
    let mut writer = Writer::begin(query, packet, out, crate::wire::UDP_MIN);
    writer.set_rcode(code);
    writer.finish(query.id)
}

/// An answer that only says that the real one is larger.
pub fn cut(query: &Query, packet: &[u8], out: &mut [u8]) -> usize {
    let mut writer = Writer::begin(query, packet, out, crate::wire::UDP_MIN);
    writer.set_flag(flag::TRUNCATED);
    writer.finish(query.id)
}

struct Answer<'a, 'b> {
    zone: &'a Zone,
    kind: u16,
    turn: u32,
    writer: Writer<'b>,
}

impl Answer<'_, '_> {
    /// Writes an alias and what it leads to; `None` when that is a name of others.
    fn follow(&mut self, target: &[u8], place: usize) -> Option<Result<(), Full>> {
        let (mut target, mut place) = (target, place);
        let mut name = Name::root();
        for _ in 0..ALIASES_MAX {
            name.set_wire(target);
            let begin = self.writer.record(place, kind::CNAME, TTL_S);
            let Ok(open) = begin else {
                return Some(Err(Full));
            };
            place = self.writer.place();
            if self.writer.bytes(target).is_err() {
                self.writer.undo(open.start());
                return Some(Err(Full));
            }
            self.writer.end(open, Section::Answer);
            if self.kind == kind::CNAME {
                return Some(Ok(()));
            }
            match self.zone.find(&name, self.kind) {
                Found::Elsewhere => return None,
                Found::Alias(next) => target = next,
                found => return Some(self.write(&name, place, found)),
            }
        }
        // They go in a circle.
        self.writer.set_rcode(rcode::SERV_FAIL);
        Some(Ok(()))
    }

    /// Writes what was found for `name`, which stands at `place`.
    fn write(&mut self, name: &Name, place: usize, found: Found<'_>) -> Result<(), Full> {
        let writer = &mut self.writer;
        match found {
            Found::Nothing { exists, apex } => {
                if !exists {
                    writer.set_rcode(rcode::NX_DOMAIN);
                }
                self.authority(Section::Authority, place + name.start(apex))
            }
            Found::Authority { apex } => self.authority(Section::Answer, place + name.start(apex)),
            Found::Addresses(addresses) => self.addresses(Section::Answer, place, addresses),
            Found::Targets(targets) => self.targets(name, place, &targets),
            Found::Owners { address, owners } => self.owners(place, address, owners),
            Found::Version => {
                let length = [SCHEMA_VERSION.len() as u8];
                let text = [&length[..], SCHEMA_VERSION.as_bytes()];
                writer.whole(Section::Answer, place, kind::TXT, SCHEMA_TTL_S, &text)
            }
            Found::Server => {
                let server = [b"\x02ns\x03dns", self.zone.domain().wire()];
                writer.whole(Section::Answer, place, kind::NS, TTL_S, &server)
            }
            // RFC 8482: one record that says so stands for all.
            Found::Anything => {
                let data = b"\x07RFC8482\0";
                writer.whole(Section::Answer, place, kind::HINFO, TTL_S, &[data])
            }
            Found::Elsewhere | Found::Alias(_) => Ok(()),
        }
    }

    /// The zone's SOA record (RFC 1035, 3.3.13; RFC 2308, 3).
    fn authority(&mut self, section: Section, apex: usize) -> Result<(), Full> {
        let domain = self.zone.domain().wire();
        let mut numbers = [0; 20];
        // Serial, refresh, retry, expire, and how long the lack of a name may be kept.
        let values = [self.zone.serial(), 7200, 1800, 86_400, TTL_S];
        for (place, value) in numbers.chunks_exact_mut(4).zip(values) {
            place.copy_from_slice(&value.to_be_bytes());
        }
        let data = [
            b"\x02ns\x03dns",
            domain,
            b"\x0ahostmaster",
            domain,
            &numbers,
        ];
        self.writer.whole(section, apex, kind::SOA, TTL_S, &data)
    }

    /// Address records of the family that was asked for, beginning with another one each time.
    fn addresses(
        &mut self,
        section: Section,
        place: usize,
        addresses: Addresses<'_>,
    ) -> Result<(), Full> {
        let count = addresses.len().max(1);
        let first = self.turn as usize % count;
        let mut last = None;
        for index in (first..count).chain(0..first) {
            let Some(address) = addresses.get(index) else {
                continue;
            };
            // Two endpoints may have one address; they stand side by side.
            if !is_of(address, self.kind) || last.replace(address) == Some(address) {
                continue;
            }
            self.address(section, place, address)?;
        }
        Ok(())
    }

    fn address(&mut self, section: Section, place: usize, address: IpAddr) -> Result<(), Full> {
        match address {
            IpAddr::V4(v4) => {
                let data = v4.octets();
                self.writer.whole(section, place, kind::A, TTL_S, &[&data])
            }
            IpAddr::V6(v6) => {
                let data = v6.octets();
                self.writer
                    .whole(section, place, kind::AAAA, TTL_S, &[&data])
            }
        }
    }

    /// SRV records, and the addresses of what they lead to.
    fn targets(&mut self, name: &Name, place: usize, targets: &Targets<'_>) -> Result<(), Full> {
        // `_port._proto` stand before the service.
        let service = name.suffix(2);
        match targets {
            Targets::Own { port, hosts } => {
                let target = self.target(place, WEIGHTS, *port, &[service])?;
                for host in hosts.iter() {
                    self.more(target, host.address);
                }
            }
            Targets::Hosts(headless, all) => {
                let weight = (WEIGHTS / all.len().max(1)).max(1);
                let mut more = Vec::with_capacity(all.len().min(64));
                let first = self.turn as usize % all.len().max(1);
                for index in (first..all.len()).chain(0..first) {
                    let (at, port) = all[index];
                    let Some(host) = headless.hosts.get(at as usize) else {
                        continue;
                    };
                    let mut label = Label::default();
                    let parts = [label.of(host.label.as_deref(), host.address), service];
                    more.push((self.target(place, weight, port, &parts)?, host));
                }
                let mut shown = HashSet::new();
                for (target, host) in more {
                    match host.label.as_deref() {
                        None => self.more(target, host.address),
                        // Under several ports it is the same host.
                        Some(label) if shown.insert(label) => {
                            for at in headless.labelled(label.as_bytes()) {
                                self.more(target, headless.hosts[*at as usize].address);
                            }
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// One SRV record; says where its target stands. Targets are not compressed (RFC 2782).
    fn target(
        &mut self,
        place: usize,
        weight: usize,
        port: u16,
        target: &[&[u8]],
    ) -> Result<usize, Full> {
        let [p, q] = PRIORITY.to_be_bytes();
        let [w, x] = (weight as u16).to_be_bytes();
        let [n, m] = port.to_be_bytes();
        let numbers = [p, q, w, x, n, m];
        let parts: [&[u8]; 3] = [
            &numbers,
            target.first().copied().unwrap_or_default(),
            target.get(1).copied().unwrap_or_default(),
        ];
        self.writer
            .whole(Section::Answer, place, kind::SRV, TTL_S, &parts)?;
        let length: usize = target.iter().map(|part| part.len()).sum();
        Ok(self.writer.place() - length)
    }

    /// An address that nobody asked for yet.
    fn more(&mut self, target: usize, address: IpAddr) {
        if target <= POINTER_MAX {
            // What does not fit can be asked for.
            let _ = self.address(Section::Additional, target, address);
        }
    }

    /// PTR records of an address: of its services, or of endpoints.
    fn owners(&mut self, place: usize, address: IpAddr, owners: &[Key]) -> Result<(), Full> {
        let domain = self.zone.domain().wire();
        for key in owners {
            let rest: [&[u8]; 3] = [key, b"\x03svc", domain];
            let hosts = self.zone.hosts_at(key, address);
            if hosts.is_empty() {
                self.writer
                    .whole(Section::Answer, place, kind::PTR, TTL_S, &rest)?;
            }
            for host in hosts {
                let mut label = Label::default();
                let own = label.of(host.label.as_deref(), address);
                let parts = [own, rest[0], rest[1], rest[2]];
                self.writer
                    .whole(Section::Answer, place, kind::PTR, TTL_S, &parts)?;
            }
        }
        Ok(())
    }
}

/// A label with its length before it.
struct Label {
    bytes: [u8; 64],
    len: usize,
}

impl Default for Label {
    fn default() -> Self {
        Self {
            bytes: [0; 64],
            len: 1,
        }
    }
}

impl Label {
    /// The label of a host: its own, or its address with dashes.
    fn of(&mut self, own: Option<&str>, address: IpAddr) -> &[u8] {
        use std::fmt::Write;
        // A label is no longer than this, and an address is shorter.
        let _ = match own {
            Some(label) => self.write_str(label),
            None => write!(self, "{address}"),
        };
        if own.is_none() {
            for byte in &mut self.bytes[1..self.len] {
                if matches!(byte, b'.' | b':') {
                    *byte = b'-';
                }
            }
        }
        self.bytes[0] = (self.len - 1) as u8;
        &self.bytes[..self.len]
    }
}

impl std::fmt::Write for Label {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
