//! The programs, step by step. [`super`] says what they are for.
//!
//! Two stand where packets begin: one at the node's end of each pod's link, one at the VXLAN
//! device. They send packets the short way, or note them. Two stand where the long way ends: at the
//! VXLAN device and at the bridge, on the way out. They confirm what was noted.
//!
//! All keep the packet's context in `R6` and its first byte in `R7`.

use kabuki_bpf::{
    Assembler, AssemblyError, Helper, Instruction, R0, R1, R2, R3, R4, R6, R7, R8, R9, Register,
    STACK, Size, Test,
};

use super::layout::{
    FLOW, FLOW_AT, FLOW_CLOSING, FLOW_CONFIRMED, FLOW_MACS, FLOW_RECORDED, SETTINGS_GENERATION,
    SETTINGS_LIFETIME,
};
use super::{Delivery, Places, raw_block};

/// The descriptors of the maps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    pub(super) flows: i32,
    pub(super) pods: i32,
    pub(super) settings: i32,
}

/// Where packets of connections are noted, or sent ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// The node's end of a pod's link.
    Pod,
    /// The VXLAN device.
    Wire,
}

/// The filter has no opinion: other filters and then the long way follow (`TC_ACT_UNSPEC`).
const LONG_WAY: i32 = -1;

// What the kernel tells of a packet (`struct __sk_buff`).
const LEN: i16 = 0;
const PROTOCOL: i16 = 16;
const VLAN_PRESENT: i16 = 20;
const INGRESS_IFINDEX: i16 = 36;
const IFINDEX: i16 = 40;
const DATA: i16 = 76;
const DATA_END: i16 = 80;
const GSO_SIZE: i16 = 176;

// A frame: Ethernet, IPv4 without options (RFC 791), TCP (RFC 9293).
const ETHERNET_BYTES: i32 = 14;
const IPV4_BYTES: i32 = 20;
const HEADER_BYTES: i32 = ETHERNET_BYTES + IPV4_BYTES + 20;
const IP_VERSION_AND_LENGTH: i16 = 14;
const IP_FRAGMENT: i16 = 20;
const IP_TTL: i16 = 22;
const IP_PROTOCOL: i16 = 23;
const IP_CHECKSUM: i16 = 24;
const IP_SOURCE: i16 = 26;
const IP_DESTINATION: i16 = 30;
const TCP_SOURCE_PORT: i16 = 34;
const TCP_DESTINATION_PORT: i16 = 36;
const TCP_SEQUENCE: i16 = 38;
const TCP_LENGTH: i16 = 46;
const TCP_FLAGS: i16 = 47;

const FIN: i32 = 1;
const SYN: i32 = 2;
const RST: i32 = 4;

// What is on the stack: the packet's own key and that of the other direction, a new entry, and the
// pod's link.
const OWN: i16 = -12;
const REVERSE: i16 = -24;
const ENTRY: i16 = -64;
const LINK: i16 = -72;

/// `BPF_NOEXIST`: an entry that somebody else made in between stays.
const IF_ABSENT: i32 = 1;

/// For the node's end of each pod's link, on the way in.
pub(super) fn from_pod(places: &Places, tables: Tables) -> Result<Vec<Instruction>, AssemblyError> {
    let mut code = begin(tables);
    tcp_packet(&mut code);
    // What stays on the node or leaves the cluster is told apart first.
    code.load(Size::Word, R2, R7, IP_DESTINATION);
    let (network, mask) = raw_block(places.cluster);
    code.set(R3, R2);
    code.mask(R3, mask);
    code.when_word(R3, Test::NotEqual, network.cast_signed(), "long way");
    let (network, mask) = raw_block(places.own);
    code.mask(R2, mask);
    code.when_word(R2, Test::Equal, network.cast_signed(), "long way");
    keys(&mut code);
    // No pod speaks for another.
    lookup(&mut code, tables.pods, OWN);
    code.when(R0, Test::Equal, 0, "long way");
    code.load(Size::Word, R1, R0, 0);
    code.load(Size::Word, R2, R6, IFINDEX);
    code.when_word(R1, Test::NotEqual, R2, "long way");
    decide(&mut code, tables);
    fits(&mut code, places.mtu);
    readdress(&mut code);
    code.set(R1, places.overlay.cast_signed());
    code.set(R2, 0);
    code.call(Helper::Redirect);
    code.exit();
    note(&mut code, tables, Gate::Pod);
    end(code)
}

/// For the VXLAN device, on the way in.
pub(super) fn from_wire(
    tables: Tables,
    delivery: Delivery,
) -> Result<Vec<Instruction>, AssemblyError> {
    let mut code = begin(tables);
    tcp_packet(&mut code);
    keys(&mut code);
    // The other direction's source is the pod.
    lookup(&mut code, tables.pods, REVERSE);
    code.when(R0, Test::Equal, 0, "long way");
    code.load(Size::Word, R1, R0, 0);
    code.store(Size::Double, STACK, LINK, R1);
    decide(&mut code, tables);
    readdress(&mut code);
    code.load(Size::Double, R1, STACK, LINK);
    code.set(R2, 0);
    code.call(match delivery {
        Delivery::Within => Helper::RedirectPeer,
        Delivery::Across => Helper::Redirect,
    });
    code.exit();
    note(&mut code, tables, Gate::Wire);
    end(code)
}

/// For the end of the long way of packets that came in by `came_by`: the VXLAN device for those
/// that came from the bridge, and the other way round. Others, such as those that took the short
/// way and the node's own, are let by at once.
pub(super) fn confirm(came_by: u32, tables: Tables) -> Result<Vec<Instruction>, AssemblyError> {
    let mut code = Assembler::default();
    code.set(R6, R1);
    code.load(Size::Word, R2, R6, INGRESS_IFINDEX);
    code.when_word(R2, Test::NotEqual, came_by.cast_signed(), "long way");
    tcp_packet(&mut code);
    keys(&mut code);
    lookup(&mut code, tables.flows, OWN);
    code.when(R0, Test::Equal, 0, "long way");
    code.set(R8, R0);
    // Is it the very packet? A translated one may come to have the same addresses and ports, but
    // was noted under others, and has another sequence number than the one noted under these.
    code.load(Size::Double, R9, R8, FLOW_RECORDED);
    code.load(Size::Word, R2, R7, TCP_SEQUENCE);
    code.when_word(R9, Test::NotEqual, R2, "long way");
    copy_macs(&mut code, (R8, FLOW_MACS), (R7, 0));
    code.call(Helper::Jiffies);
    code.store(Size::Double, R8, FLOW_AT, R0);
    // Last, and with the generation that was read with the number compared.
    code.store(Size::Double, R8, FLOW_CONFIRMED, R9);
    end(code)
}

/// Keeps the context, and the generation in `R9`; leaves when it is 0.
fn begin(tables: Tables) -> Assembler {
    let mut code = Assembler::default();
    code.set(R6, R1);
    code.map_value(R9, tables.settings, SETTINGS_GENERATION);
    code.load(Size::Word, R9, R9, 0);
    code.when(R9, Test::Equal, 0, "long way");
    code
}

fn end(mut code: Assembler) -> Result<Vec<Instruction>, AssemblyError> {
    code.label("long way");
    code.set(R0, LONG_WAY);
    code.exit();
    code.finish()
}

/// Leaves unless the packet is TCP over IPv4 without options, VLAN tag or fragmentation, and has
/// its headers in one piece, or can be made to. Then `R7` points to it.
fn tcp_packet(code: &mut Assembler) {
    code.load(Size::Word, R2, R6, PROTOCOL);
    code.when_word(R2, Test::NotEqual, big_endian(0x0800), "long way");
    code.load(Size::Word, R2, R6, VLAN_PRESENT);
    code.when_word(R2, Test::NotEqual, 0, "long way");
    bounds(code);
    code.when(R2, Test::AtMost, R3, "in one piece");
    code.set(R1, R6);
    code.set(R2, HEADER_BYTES);
    code.call(Helper::PullData);
    code.when(R0, Test::NotEqual, 0, "long way");
    bounds(code);
    code.when(R2, Test::Greater, R3, "long way");
    code.label("in one piece");
    code.load(Size::Byte, R2, R7, IP_VERSION_AND_LENGTH);
    code.when_word(R2, Test::NotEqual, 0x45, "long way");
    code.load(Size::Byte, R2, R7, IP_PROTOCOL);
    code.when_word(R2, Test::NotEqual, libc::IPPROTO_TCP, "long way");
    // Neither is there more to come, nor is it what comes.
    code.load(Size::Half, R2, R7, IP_FRAGMENT);
    code.when_word(R2, Test::Shares, big_endian(0x3fff), "long way");
}

/// Where the packet begins, where its headers end, and where what can be read ends.
fn bounds(code: &mut Assembler) {
    code.load(Size::Word, R7, R6, DATA);
    code.load(Size::Word, R3, R6, DATA_END);
    code.set(R2, R7);
    code.add(R2, HEADER_BYTES);
}

/// Puts the keys of both directions on the stack.
fn keys(code: &mut Assembler) {
    for (from, own, reverse) in [(IP_SOURCE, 0, 4), (IP_DESTINATION, 4, 0)] {
        code.load(Size::Word, R2, R7, from);
        code.store(Size::Word, STACK, OWN + own, R2);
        code.store(Size::Word, STACK, REVERSE + reverse, R2);
    }
    for (from, own, reverse) in [(TCP_SOURCE_PORT, 8, 10), (TCP_DESTINATION_PORT, 10, 8)] {
        code.load(Size::Half, R2, R7, from);
        code.store(Size::Half, STACK, OWN + own, R2);
        code.store(Size::Half, STACK, REVERSE + reverse, R2);
    }
}

/// Points `R0` to the entry of a key on the stack, or to nothing.
fn lookup(code: &mut Assembler, table: i32, key: i16) {
    code.map(R1, table);
    code.set(R2, STACK);
    code.add(R2, i32::from(key));
    code.call(Helper::Lookup);
}

/// Goes on only with a packet that may take the short way; `R8` is its entry then.
fn decide(code: &mut Assembler, tables: Tables) {
    code.load(Size::Byte, R2, R7, TCP_FLAGS);
    code.when_word(R2, Test::Shares, SYN, "begins");
    code.when_word(R2, Test::Shares, FIN | RST, "ends");
    lookup(code, tables.flows, OWN);
    code.when(R0, Test::Equal, 0, "unknown");
    code.set(R8, R0);
    still_open(code, R8);
    // What was confirmed before the last change must be confirmed anew,
    code.load(Size::Double, R1, R8, FLOW_CONFIRMED);
    code.shift_right(R1, 32);
    code.when(R1, Test::NotEqual, R9, "known");
    // and also after some time. The numbers on both sides have no sign: if another processor's
    // clock was ahead, the difference is huge.
    code.call(Helper::Jiffies);
    code.load(Size::Double, R1, R8, FLOW_AT);
    code.subtract(R0, R1);
    code.map_value(R2, tables.settings, SETTINGS_LIFETIME);
    code.load(Size::Word, R2, R2, 0);
    code.when(R0, Test::Greater, R2, "known");
    lookup(code, tables.flows, REVERSE);
    code.when(R0, Test::Equal, 0, "long way");
    still_open(code, R0);
    code.load(Size::Double, R1, R0, FLOW_CONFIRMED);
    code.shift_right(R1, 32);
    code.when(R1, Test::NotEqual, R9, "long way");
    // Somebody has to be told that it has lived too long.
    code.load(Size::Byte, R1, R7, IP_TTL);
    code.when_word(R1, Test::AtMost, 1, "long way");
}

fn still_open(code: &mut Assembler, entry: Register) {
    code.load(Size::Half, R1, entry, FLOW_CLOSING);
    code.when_word(R1, Test::NotEqual, 0, "long way");
}

/// Leaves if the packet is too large for the device: its sender has to be told. One that the
/// device divides counts as the largest of its parts.
fn fits(code: &mut Assembler, mtu: u32) {
    code.load(Size::Word, R2, R6, GSO_SIZE);
    code.when_word(R2, Test::NotEqual, 0, "to be divided");
    code.load(Size::Word, R2, R6, LEN);
    code.subtract(R2, ETHERNET_BYTES);
    code.jump("measured");
    code.label("to be divided");
    // The upper half of the byte counts words.
    code.load(Size::Byte, R3, R7, TCP_LENGTH);
    code.shift_right(R3, 4);
    code.shift_left(R3, 2);
    code.add(R2, R3);
    code.add(R2, IPV4_BYTES);
    code.label("measured");
    code.when_word(R2, Test::Greater, mtu.cast_signed(), "long way");
}

/// Makes the frame what it was at the end of the long way: its hardware addresses, and one less
/// hop to live, with the checksum brought up to date (RFC 1624).
fn readdress(code: &mut Assembler) {
    copy_macs(code, (R7, 0), (R8, FLOW_MACS));
    code.load(Size::Half, R1, R7, IP_CHECKSUM);
    code.add(R1, big_endian(0x0100));
    code.when_word(R1, Test::AtMost, 0xfffe, "summed");
    code.add(R1, 1);
    code.label("summed");
    code.store(Size::Half, R7, IP_CHECKSUM, R1);
    code.load(Size::Byte, R1, R7, IP_TTL);
    code.subtract(R1, 1);
    code.store(Size::Byte, R7, IP_TTL, R1);
}

/// In pieces that begin where the processor likes it: frames begin two bytes before a multiple of
/// four.
fn copy_macs(code: &mut Assembler, to: (Register, i16), from: (Register, i16)) {
    let pieces = [
        (Size::Half, 0),
        (Size::Word, 2),
        (Size::Word, 6),
        (Size::Half, 10),
    ];
    for (size, at) in pieces {
        code.load(size, R1, from.0, from.1 + at);
        code.store(size, to.0, to.1 + at, R1);
    }
}

/// The ways out for packets that take the long way and change what is known.
fn note(code: &mut Assembler, tables: Tables, gate: Gate) {
    // There is an entry already.
    code.label("known");
    number(code);
    code.store(Size::Double, R8, FLOW_RECORDED, R9);
    code.jump("long way");

    code.label("unknown");
    if gate == Gate::Wire {
        // Replies to what was translated here would only take room: their other direction has
        // another name at the pod.
        lookup(code, tables.flows, REVERSE);
        code.when(R0, Test::Equal, 0, "long way");
    }
    number(code);
    for at in (0..FLOW as i16).step_by(8) {
        code.store(Size::Double, STACK, ENTRY + at, 0);
    }
    code.store(Size::Double, STACK, ENTRY + FLOW_RECORDED, R9);
    code.map(R1, tables.flows);
    code.set(R2, STACK);
    code.add(R2, i32::from(OWN));
    code.set(R3, STACK);
    code.add(R3, i32::from(ENTRY));
    code.set(R4, IF_ABSENT);
    code.call(Helper::Update);
    code.jump("long way");

    // Nothing is known of a new connection.
    code.label("begins");
    for key in [OWN, REVERSE] {
        code.map(R1, tables.flows);
        code.set(R2, STACK);
        code.add(R2, i32::from(key));
        code.call(Helper::Delete);
    }
    code.jump("long way");

    code.label("ends");
    lookup(code, tables.flows, OWN);
    code.when(R0, Test::Equal, 0, "other direction");
    code.store(Size::Half, R0, FLOW_CLOSING, 1);
    code.label("other direction");
    lookup(code, tables.flows, REVERSE);
    code.when(R0, Test::Equal, 0, "long way");
    code.store(Size::Half, R0, FLOW_CLOSING, 1);
    code.jump("long way");
}

/// Makes of the generation in `R9` what is recorded of this packet.
fn number(code: &mut Assembler) {
    code.load(Size::Word, R1, R7, TCP_SEQUENCE);
    code.shift_left(R9, 32);
    code.or(R9, R1);
}

/// A number of two bytes as it is found in a packet.
fn big_endian(number: u16) -> i32 {
    i32::from(number.to_be())
}
