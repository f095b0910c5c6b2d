//! Names and hardware addresses that follow from what they are for, so that a retry or a
//! restarted daemon arrives at the same ones without having stored them.
//!
//! The kernel allows 15 bytes for an interface's name, less than a pod's uid. The host end of
//! a pod's link is therefore named by a hash of the uid, and carries the uid and the address
//! in its alias ([`Alias`]), which is also what tells a hash collision from a leftover.

use std::fmt;
use std::net::IpAddr;

/// What the name of every host-side pod interface starts with.
pub const INTERFACE_PREFIX: &str = "kb";

/// How many names a pod may try before a collision is an error. The hash has 64 bits, so a
/// second try is already a curiosity.
pub const INTERFACE_NAME_ATTEMPTS: u8 = 4;

/// Longest interface name that Linux takes (`IFNAMSIZ` less the terminating zero).
const INTERFACE_NAME_MAX: usize = 15;

/// First word of an alias that this crate wrote.
const ALIAS_MARK: &str = "kabuki";

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// What the host end of a pod's link says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The pod's uid.
    pub pod_uid: String,
    /// The pod's address.
    pub address: IpAddr,
}

/// Why a text cannot name an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{name}\" cannot name a network interface: {reason}")]
pub struct InterfaceNameError {
    name: String,
    reason: &'static str,
}

/// The name of the host end of a pod's link. `attempt` is 0 unless that name was found to be
/// another pod's.
pub fn host_interface_name(pod_uid: &str, attempt: u8) -> String {
    // Five bits a character: 13 characters hold the whole hash, and with the prefix that
    // makes exactly 15. Letters that are easily misread are left out.
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut hash = hash64(pod_uid, attempt);
    let mut name = String::from(INTERFACE_PREFIX);
    for _ in 0..13 {
        name.push(char::from(DIGITS[(hash & 31) as usize]));
        hash >>= 5;
    }
    name
}

/// The hardware address for an interface that has `address`. It follows the address, so that
/// what neighbours have cached stays true when a pod is wired again. For IPv6 it follows the
/// last four bytes.
pub fn mac_for(address: IpAddr) -> MacAddress {
    let tail = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let o = v6.octets();
            [o[12], o[13], o[14], o[15]]
        }
    };
    // 0x0a: locally administered, unicast.
    MacAddress([0x0a, 0x4b, tail[0], tail[1], tail[2], tail[3]])
}

/// Checks a name that a user chose for an interface, by the kernel's own rules.
///
/// # Errors
/// Naming the text and the broken rule.
pub fn check_interface_name(name: &str) -> Result<(), InterfaceNameError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > INTERFACE_NAME_MAX {
        "it is longer than 15 bytes"
    } else if name == "." || name == ".." {
        "it is a directory"
    } else if name
        .bytes()
        .any(|b| !b.is_ascii_graphic() || matches!(b, b'/' | b':' | b'%'))
    {
        "it has a character that is not allowed"
    } else {
        return Ok(());
    };
    Err(InterfaceNameError {
        name: name.to_owned(),
        reason,
    })
}

impl Alias {
    /// Reads an alias; `None` when it is not one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        if words.next() != Some(ALIAS_MARK) {
            return None;
        }
        let pod_uid = words.next()?.strip_prefix("pod=")?.to_owned();
        let address = words.next()?.strip_prefix("address=")?.parse().ok()?;
        words.next().is_none().then_some(Self { pod_uid, address })
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{ALIAS_MARK} pod={} address={}",
            self.pod_uid, self.address
        )
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// FNV-1a over the attempt and the text, then a full mix so that the low bits depend on all
/// input. Not a defence against chosen uids: the alias is what tells pods apart.
fn hash64(text: &str, attempt: u8) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in std::iter::once(attempt).chain(text.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn interface_names_fit_and_repeat_and_differ() {
        let mut seen = HashSet::new();
        for i in 0..20_000 {
            let uid = format!("8c1f2e04-0000-4000-8000-{i:012}");
            let name = host_interface_name(&uid, 0);
            assert_eq!(name.len(), 15);
            check_interface_name(&name).unwrap();
            assert_eq!(name, host_interface_name(&uid, 0));
            assert!(seen.insert(name));
        }
        assert_ne!(host_interface_name("a", 0), host_interface_name("a", 1));
    }

    #[test]
    fn an_alias_reads_back_and_a_foreign_one_does_not() {
        let alias = Alias {
            pod_uid: "8c1f2e04".to_owned(),
            address: "10.244.0.7".parse().unwrap(),
        };
        assert_eq!(Alias::parse(&alias.to_string()), Some(alias));
        for text in [
            "",
            "uplink to core",
            "kabuki",
            "kabuki pod=x",
            "kabuki pod=x address=y",
        ] {
            assert_eq!(Alias::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hardware_addresses_are_local_unicast() {
        let mac = mac_for("10.244.0.7".parse().unwrap());
        assert_eq!(mac.to_string(), "0a:4b:0a:f4:00:07");
        assert_eq!(mac.0[0] & 0b11, 0b10);
    }

    #[test]
    fn names_that_the_kernel_would_refuse_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "eth%d",
            "sixteen-bytes-xx",
        ] {
            assert!(check_interface_name(bad).is_err(), "{bad}");
        }
        check_interface_name("kabuki0").unwrap();
    }
}
