//! Frames made by hand: TCP between a pod of this node and one of another.

use std::net::Ipv4Addr;

use crate::shortcut::layout::FLOW_KEY;

pub(super) const POD: &str = "10.244.1.2";
const FAR: &str = "10.244.2.2";

pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;
pub(super) const FIN: u8 = 1;
pub(super) const RST: u8 = 4;

/// A frame that can be made.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) macs: [u8; 12],
    pub(super) ethertype: u16,
    pub(super) head: u8,
    pub(super) fragment: u16,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) from: (&'static str, u16),
    pub(super) to: (&'static str, u16),
    pub(super) seq: u32,
    pub(super) flags: u8,
    pub(super) payload: usize,
}

pub(super) fn out(seq: u32) -> Frame {
    Frame {
        macs: *b"gatewaypod-a",
        ethertype: 0x0800,
        head: 0x45,
        fragment: 0x4000,
        ttl: 64,
        protocol: 6,
        from: (POD, 4000),
        to: (FAR, 80),
        seq,
        flags: ACK,
        payload: 100,
    }
}

pub(super) fn back(seq: u32) -> Frame {
    let there = out(seq);
    Frame {
        macs: *b"device-far-d",
        from: there.to,
        to: there.from,
        ..there
    }
}

pub(super) fn sum(header: &[u8]) -> u16 {
    let words = header.chunks(2);
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

impl Frame {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
        let mut bytes = self.macs.to_vec();
        bytes.extend(self.ethertype.to_be_bytes());
        let length = u16::try_from(40 + self.payload).unwrap();
        bytes.extend([self.head, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 9]);
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(address(self.from.0));
        bytes.extend(address(self.to.0));
        let checksum = !sum(&bytes[14..34]);
        bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(self.from.1.to_be_bytes());
        bytes.extend(self.to.1.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend([0, 0, 0, 0, 0x50, self.flags, 1, 0, 0, 0, 0, 0]);
        bytes.resize(bytes.len() + self.payload, 7);
        bytes
    }

    pub(super) fn key(&self) -> [u8; FLOW_KEY] {
        self.bytes()[26..38].try_into().unwrap()
    }
}
