//! A block of addresses in CIDR notation (RFC 4632; RFC 4291 for IPv6).
//!
//! Invariant: the host bits of the stored address are zero.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network prefix such as `10.244.0.0/16`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    network: IpAddr,
    prefix_len: u8,
}

/// Why a text or a pair of address and length is not a [`Cidr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// There is no `/`.
    #[error("\"{0}\" is not a CIDR: it has no prefix length such as /24")]
    NoPrefix(String),
    /// The part before the `/` is not an address.
    #[error("\"{0}\" is not a CIDR: \"{1}\" is not an IP address")]
    Address(String, String),
    /// The part after the `/` is not a number, or too large for the family.
    #[error("\"{0}\" is not a CIDR: the prefix length must be a number from 0 to {1}")]
    PrefixLen(String, u8),
    /// Bits beyond the prefix are set, which is nearly always a typing mistake.
    #[error("\"{0}\" has bits set beyond its prefix; the network is {1}")]
    HostBits(String, Cidr),
}

impl Cidr {
    /// The block of `prefix_len` bits that holds `address`; host bits are cleared.
    ///
    /// # Errors
    /// When `prefix_len` is longer than the family's addresses.
    pub fn containing(address: IpAddr, prefix_len: u8) -> Result<Self, CidrError> {
        let bits = family_bits(address);
        if prefix_len > bits {
            return Err(CidrError::PrefixLen(
                format!("{address}/{prefix_len}"),
                bits,
            ));
        }
        let network = from_bits(address.is_ipv4(), to_bits(address) & mask(bits, prefix_len));
        Ok(Self {
            network,
            prefix_len,
        })
    }

    /// The first address of the block.
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// The number of leading bits that all addresses of the block share.
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether the block is of IPv4 addresses.
    pub fn is_ipv4(&self) -> bool {
        self.network.is_ipv4()
    }

    /// How many addresses the block has (saturating: the whole of IPv6 is one short).
    pub fn size(&self) -> u128 {
        let host_bits = u32::from(family_bits(self.network) - self.prefix_len);
        1u128.checked_shl(host_bits).unwrap_or(u128::MAX)
    }

    /// The highest address of the block.
    pub fn last(&self) -> IpAddr {
        let bits = family_bits(self.network);
        from_bits(
            self.is_ipv4(),
            to_bits(self.network) | (family_mask(bits) & !mask(bits, self.prefix_len)),
        )
    }

    /// The IPv4 broadcast address. Blocks of one or two addresses have none (RFC 3021), and
    /// IPv6 has no broadcast.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.last() {
            IpAddr::V4(last) if self.prefix_len <= 30 => Some(last),
            _ => None,
        }
    }

    /// The address `offset` places after the first, if the block reaches that far.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        (offset < self.size()).then(|| from_bits(self.is_ipv4(), to_bits(self.network) + offset))
    }

    /// How far `address` is from the first, or `None` when it is outside.
    pub fn offset_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address)
            .then(|| to_bits(address) - to_bits(self.network))
    }

    /// Whether `address` is in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = family_bits(self.network);
        address.is_ipv4() == self.is_ipv4()
            && to_bits(address) & mask(bits, self.prefix_len) == to_bits(self.network)
    }

    /// Whether every address of `other` is in this block.
    pub fn contains_block(&self, other: &Cidr) -> bool {
        other.prefix_len >= self.prefix_len && self.contains(other.network)
    }

    /// Whether the two blocks share an address.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.contains_block(other) || other.contains_block(self)
    }

    /// The `index`th block of length `prefix_len` inside this one: how one cluster block is
    /// divided among nodes. `None` when it is outside.
    pub fn subnet(&self, prefix_len: u8, index: u128) -> Option<Cidr> {
        let bits = family_bits(self.network);
        if prefix_len < self.prefix_len || prefix_len > bits {
            return None;
        }
        let step = 1u128.checked_shl(u32::from(bits - prefix_len))?;
        let network = self.nth(step.checked_mul(index)?)?;
        Some(Cidr {
            network,
            prefix_len,
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address_text, length_text) = text
            .split_once('/')
            .ok_or_else(|| CidrError::NoPrefix(text.to_owned()))?;
        let address: IpAddr = address_text
            .parse()
            .map_err(|_| CidrError::Address(text.to_owned(), address_text.to_owned()))?;
        let bits = family_bits(address);
        // `u8::from_str` takes a leading plus, which no other tool would.
        let prefix_len = length_text
            .parse::<u8>()
            .ok()
            .filter(|length| *length <= bits && !length_text.starts_with('+'))
            .ok_or_else(|| CidrError::PrefixLen(text.to_owned(), bits))?;
        let block = Self::containing(address, prefix_len)?;
        if block.network != address {
            return Err(CidrError::HostBits(text.to_owned(), block));
        }
        Ok(block)
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(block: Cidr) -> Self {
        block.to_string()
    }
}

fn family_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn family_mask(bits: u8) -> u128 {
    u128::MAX >> (128 - u32::from(bits))
}

fn mask(bits: u8, prefix_len: u8) -> u128 {
    let host = family_mask(bits)
        .checked_shr(u32::from(prefix_len))
        .unwrap_or(0);
    family_mask(bits) & !host
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn from_bits(ipv4: bool, bits: u128) -> IpAddr {
    if ipv4 {
        // Callers stay below the block's size, which fits 32 bits for IPv4.
        IpAddr::V4(Ipv4Addr::from(bits as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_knows_its_bounds() {
        let c = block("10.244.3.0/24");
        assert_eq!(c.size(), 256);
        assert_eq!(c.last(), "10.244.3.255".parse::<IpAddr>().unwrap());
        assert_eq!(c.broadcast(), Some(Ipv4Addr::new(10, 244, 3, 255)));
        assert!(c.contains("10.244.3.17".parse().unwrap()));
        assert!(!c.contains("10.244.4.0".parse().unwrap()));
        assert!(!c.contains("::1".parse().unwrap()));
        assert_eq!(c.nth(256), None);
        assert_eq!(c.offset_of("10.244.3.9".parse().unwrap()), Some(9));
    }

    #[test]
    fn the_extremes_of_both_families_are_blocks() {
        assert_eq!(block("0.0.0.0/0").size(), 1 << 32);
        assert_eq!(block("10.0.0.1/32").size(), 1);
        assert_eq!(block("10.0.0.0/31").broadcast(), None);
        assert!(block("::/0").contains("ffff::1".parse().unwrap()));
        assert_eq!(block("fd00::1/128").size(), 1);
        assert_eq!(
            block("fd00::/64").last(),
            "fd00::ffff:ffff:ffff:ffff".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn blocks_divide_into_blocks() {
        let cluster = block("10.244.0.0/16");
        assert_eq!(cluster.subnet(24, 7), Some(block("10.244.7.0/24")));
        assert_eq!(cluster.subnet(24, 256), None);
        assert_eq!(cluster.subnet(15, 0), None);
        assert!(cluster.contains_block(&block("10.244.7.0/24")));
        assert!(block("10.244.7.0/24").overlaps(&cluster));
        assert!(!cluster.overlaps(&block("10.245.0.0/16")));
        assert!(!cluster.overlaps(&block("fd00::/16")));
    }

    #[test]
    fn what_is_not_a_block_is_refused_with_its_reason() {
        let refused = |text: &str| text.parse::<Cidr>().unwrap_err().to_string();
        assert!(refused("10.0.0.0").contains("no prefix length"));
        assert!(refused("10.0.0/8").contains("not an IP address"));
        assert!(refused("10.0.0.0/33").contains("0 to 32"));
        assert!(refused("10.0.0.0/+8").contains("0 to 32"));
        assert!(refused("fd00::/129").contains("0 to 128"));
        assert!(refused("10.0.0.5/24").contains("the network is 10.0.0.0/24"));
    }

    #[test]
    fn a_block_travels_as_text() {
        let c = block("10.244.0.0/16");
        let json = serde_json::to_string(&c).unwrap();
        assert_eq!(json, "\"10.244.0.0/16\"");
        assert_eq!(serde_json::from_str::<Cidr>(&json).unwrap(), c);
        assert!(serde_json::from_str::<Cidr>("\"10.0.0.1/8\"").is_err());
    }
}
