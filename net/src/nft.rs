//! The kernel's netfilter sockets, as far as services need them: transactions of nf_tables that
//! are written in place into one buffer, dumps, the stream of changes, and the table of
//! connections.
//!
//! Why not nlink, as for the few rules of the node itself: services are tens of thousands of map
//! elements that change all the time, which must be written without an allocation for each, and
//! rules that use registers across several lookups.

mod batch;
mod conntrack;
mod decode;
mod encode;
mod rule;
mod socket;

pub(crate) use batch::{Batch, Element, MapKind, SetSpec};
pub(crate) use conntrack::{Connection, Conntrack};
pub(crate) use decode::{Attributes, Message};
pub(crate) use rule::{Hook, Load, RuleBody, Take};
pub(crate) use socket::NetfilterSocket;

/// Message types of nf_tables (`linux/netfilter/nf_tables.h`).
pub(crate) mod kind {
    pub const NEW_TABLE: u16 = 0;
    pub const DEL_TABLE: u16 = 2;
    pub const NEW_CHAIN: u16 = 3;
    pub const GET_CHAIN: u16 = 4;
    pub const DEL_CHAIN: u16 = 5;
    pub const NEW_RULE: u16 = 6;
    pub const DEL_RULE: u16 = 8;
    pub const NEW_SET: u16 = 9;
    pub const GET_SET: u16 = 10;
    pub const DEL_SET: u16 = 11;
    pub const NEW_ELEMENT: u16 = 12;
    pub const GET_ELEMENT: u16 = 13;
    pub const DEL_ELEMENT: u16 = 14;
}

/// The subsystem's number in the upper byte of a message's type.
pub(crate) const NFTABLES: u16 = 10;
const CTNETLINK: u16 = 1;

/// Netfilter's numbers of families.
const FAMILY_INET: u8 = 1;
const FAMILY_IPV4: u8 = 2;

/// Writes text into a request.
pub(crate) fn write_text(out: &mut Vec<u8>, kind: u16, value: &str) {
    encode::text(out, kind, value);
}

/// Writes a list with one key into a request for an element.
pub(crate) fn write_key_list(out: &mut Vec<u8>, key: &[u8]) {
    encode::nest(out, 3, |out| {
        encode::nest(out, 1, |out| {
            encode::nest(out, 1, |out| encode::bytes(out, 1, key));
        });
    });
}
