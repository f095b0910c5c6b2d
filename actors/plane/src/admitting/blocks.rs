//! Blocks of IPv4 addresses: the cluster's range is cut into one block for each node.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A range of addresses: all that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    first: u32,
    prefix: u8,
}

impl FromStr for Block {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no range of IPv4 addresses: {why}");
        let (address, prefix) = text.split_once('/').ok_or_else(|| wrong("it has no /"))?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong("its address"))?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong("its length"))?;
        if prefix > 32 {
            return Err(wrong("its length is more than 32"));
        }
        let block = Self::new(u32::from(address), prefix);
        match block.first == u32::from(address) {
            true => Ok(block),
            false => Err(wrong(&format!("it begins at {block}"))),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

impl Block {
    fn new(address: u32, prefix: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Self {
            first: address & mask,
            prefix,
        }
    }

    /// The length of the prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        other.prefix >= self.prefix && Self::new(other.first, self.prefix) == self
    }

    /// Whether they share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// The address after the first: of services, that of the API.
    pub fn second(self) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(self.first.checked_add(1)?);
        (self.prefix < 32).then_some(address)
    }

    /// The first block of `prefix` bits in it that shares no address with those in use.
    pub fn first_free(self, prefix: u8, used: &[Self]) -> Option<Self> {
        if prefix < self.prefix || prefix > 32 {
            return None;
        }
        let mut used: Vec<Self> = used.iter().copied().filter(|u| self.overlaps(*u)).collect();
        used.sort_unstable();
        let last = |block: Self| {
            let rest = u32::MAX.checked_shr(u32::from(block.prefix)).unwrap_or(0);
            block.first | rest
        };
        let mut candidate = Self::new(self.first, prefix);
        for taken in used {
            if candidate.overlaps(taken) {
                let end = last(taken).max(last(candidate));
                candidate = Self::new(end.checked_add(1)?, prefix);
            }
        }
        self.contains(candidate).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        text.parse().expect("a block")
    }

    fn free(range: &str, prefix: u8, used: &[&str]) -> Option<String> {
        let used: Vec<Block> = used.iter().map(|u| block(u)).collect();
        let found = block(range).first_free(prefix, &used);
        found.map(|b| b.to_string())
    }

    #[test]
    fn the_first_free_block_is_found() {
        let range = "10.244.0.0/16";
        assert_eq!(free(range, 24, &[]).as_deref(), Some("10.244.0.0/24"));
        let used = ["10.244.0.0/24", "10.244.2.0/24", "10.244.1.0/24"];
        assert_eq!(free(range, 24, &used).as_deref(), Some("10.244.3.0/24"));
        let used = ["10.244.0.0/24", "10.244.2.0/24"];
        assert_eq!(free(range, 24, &used).as_deref(), Some("10.244.1.0/24"));
        // Blocks of other sizes, and of elsewhere.
        let used = ["10.244.0.0/22", "10.244.4.128/25", "192.0.2.0/24"];
        assert_eq!(free(range, 24, &used).as_deref(), Some("10.244.5.0/24"));
    }

    #[test]
    fn a_full_range_has_none() {
        let used = ["10.0.0.0/24", "10.0.1.0/24"];
        assert_eq!(free("10.0.0.0/23", 24, &used), None);
        assert_eq!(free("10.0.0.0/24", 23, &[]), None);
        assert_eq!(free("0.0.0.0/0", 1, &["0.0.0.0/1", "128.0.0.0/1"]), None);
        let end = ["255.255.255.0/24"];
        assert_eq!(free("255.255.255.0/24", 25, &end), None);
    }

    #[test]
    fn texts_are_checked() {
        for wrong in ["10.0.0.0", "10.0.0.1/24", "10.0.0.0/33", "fd00::/64", "x/8"] {
            assert!(wrong.parse::<Block>().is_err(), "{wrong}");
        }
        assert_eq!(block("10.0.0.0/8").to_string(), "10.0.0.0/8");
        let api = block("10.96.0.0/16").second();
        assert_eq!(api, Some(Ipv4Addr::new(10, 96, 0, 1)));
    }
}
