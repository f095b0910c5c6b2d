//! What is in the maps, byte by byte: programs and we must agree on it. Addresses and ports are as
//! in packets, all other numbers as the machine has them.

use std::net::Ipv4Addr;

/// A connection, seen from one end: its source, its destination, and their ports.
pub(super) const FLOW_KEY: usize = 12;

/// What is known of a connection's packets in one direction.
pub(super) const FLOW: usize = 40;
/// When a packet was last seen at the end of the long way, in ticks of the kernel's clock: 8 bytes.
pub(super) const FLOW_AT: i16 = 0;
/// The packet that was last seen at its beginning: its sequence number, and above it the
/// generation: 8 bytes. Only the program at the beginning writes it.
pub(super) const FLOW_RECORDED: i16 = 8;
/// What `FLOW_RECORDED` was when that packet came to the end: 8 bytes. Only the program at the end
/// writes it.
pub(super) const FLOW_CONFIRMED: i16 = 16;
/// Not 0 once either side has begun to end the connection: 2 bytes.
pub(super) const FLOW_CLOSING: i16 = 24;
/// The two hardware addresses with which the packet came to the end: 12 bytes. They begin, as in a
/// frame, two bytes before a multiple of four.
pub(super) const FLOW_MACS: i16 = 26;

/// A pod's address.
pub(super) const POD_KEY: usize = 4;
/// The index of the node's end of its link.
pub(super) const POD: usize = 4;

/// There is only one entry.
pub(super) const SETTINGS_KEY: usize = 4;
pub(super) const SETTINGS: usize = 8;
/// The generation: 4 bytes. 0 has all packets take the long way.
pub(super) const SETTINGS_GENERATION: i32 = 0;
/// For how many ticks what was seen is good: 4 bytes.
pub(super) const SETTINGS_LIFETIME: i32 = 4;

pub(super) fn pod_key(address: Ipv4Addr) -> [u8; POD_KEY] {
    address.octets()
}

pub(super) fn settings(generation: u32, lifetime: u32) -> [u8; SETTINGS] {
    let [a, b, c, d] = generation.to_ne_bytes();
    let [e, f, g, h] = lifetime.to_ne_bytes();
    [a, b, c, d, e, f, g, h]
}
