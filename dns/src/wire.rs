//! DNS messages as bytes (RFC 1035), as far as plain questions need them: reading a question, and
//! writing an answer straight into the buffer that is sent. Pure. Whatever is not plain goes
//! through hickory's types, see [`crate::plain`].

mod name;
mod query;
mod writer;

pub use name::{NAME_MAX, Name, NameError};
pub use query::{Edns, Query, Unanswerable};
pub(crate) use writer::{Full, Section, Writer};

/// What a header takes, in bytes.
pub const HEADER_LEN: usize = 12;
/// The least that a client takes over UDP, in bytes (RFC 1035, 4.2.1).
pub const UDP_MIN: usize = 512;
/// The most that is sent over UDP: fits the smallest packet that IPv6 always carries, so that no
/// answer comes in fragments (what DNS operators agreed on in 2020).
pub const UDP_MAX: usize = 1232;
/// What an OPT record without options takes.
pub(crate) const OPT_LEN: usize = 11;

/// Types of records (IANA).
pub mod kind {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const HINFO: u16 = 13;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const OPT: u16 = 41;
    pub const ANY: u16 = 255;
}

/// Codes of answers (IANA).
pub mod rcode {
    pub const NO_ERROR: u16 = 0;
    pub const FORM_ERR: u16 = 1;
    pub const SERV_FAIL: u16 = 2;
    pub const NX_DOMAIN: u16 = 3;
    pub const NOT_IMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    /// The upper bits of it are in the OPT record.
    pub const BAD_VERS: u16 = 16;
}

/// The class of the Internet.
pub const CLASS_IN: u16 = 1;

/// Bits of a header's second word.
pub(crate) mod flag {
    pub const RESPONSE: u16 = 1 << 15;
    pub const AUTHORITATIVE: u16 = 1 << 10;
    pub const TRUNCATED: u16 = 1 << 9;
    pub const RECURSION_DESIRED: u16 = 1 << 8;
    pub const RECURSION_AVAILABLE: u16 = 1 << 7;
    pub const AUTHENTIC: u16 = 1 << 5;
    pub const CHECKING_DISABLED: u16 = 1 << 4;
    pub const OPCODE: u16 = 0xf << 11;
}

/// Two bytes at `at`, in network order.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

/// Four bytes at `at`, in network order.
pub(crate) fn double(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}
