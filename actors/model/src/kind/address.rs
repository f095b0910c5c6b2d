//! Addresses and ports as fields of services and endpoints write them, in Kubernetes' words.

use super::path::Path;
use crate::status::Cause;
use crate::syntax;
use std::net::IpAddr;

/// The transport protocols of the API, in the order in which refusals list them.
pub(super) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
/// What a text that is no address is told.
pub(super) const NO_ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// What a text that is no range is told.
pub(super) const NO_RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Checks an address to which traffic of others is sent: not one that every machine has for
/// itself (Kubernetes, `ValidateNonSpecialIP`).
pub(super) fn check_endpoint(text: &str, path: &Path, causes: &mut Vec<Cause>) {
    match text.parse() {
        Err(_) => causes.push(Cause::invalid(path, text, NO_ADDRESS)),
        Ok(address) => {
            if let Some(why) = special(address) {
                causes.push(Cause::invalid(path, text, why));
            }
        }
    }
}

fn special(address: IpAddr) -> Option<&'static str> {
    let (link_local, link_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (
            v6.segments()[0] & 0xffc0 == 0xfe80,
            v6.segments()[0] == 0xff02,
        ),
    };
    if address.is_unspecified() {
        return Some("may not be unspecified (0.0.0.0 or ::)");
    }
    if address.is_loopback() {
        return Some("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        return Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    link_multicast
        .then_some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
}

/// An address and the length of a prefix; `None` when the text is no range.
pub(super) fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let plain = length.len() == 1 || !length.starts_with(['0', '+']);
    let length: u8 = length.parse().ok().filter(|_| plain)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some((address, length))
}

/// Checks a transport protocol.
pub(super) fn check_protocol(protocol: Option<&str>, path: &Path, causes: &mut Vec<Cause>) {
    path.one_of(protocol, PROTOCOLS, causes);
}

/// Checks the number of a port.
pub(super) fn check_port(port: i32, path: &Path, causes: &mut Vec<Cause>) {
    path.in_range(i64::from(port), 1, 65535, causes);
}

/// Checks the name of an application protocol.
pub(super) fn check_app_protocol(name: Option<&str>, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(name) = name {
        path.check(name, syntax::qualified_name(name), causes);
    }
}

/// Checks the name of a container's port (RFC 6335, service names).
pub(super) fn check_port_name(name: &str, path: &Path, causes: &mut Vec<Cause>) {
    let bytes = name.as_bytes();
    let hyphen = |b: Option<&u8>| b == Some(&b'-');
    let rules = [
        (name.len() <= 15, "must be no more than 15 characters"),
        (
            !name.is_empty()
                && bytes
                    .iter()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            bytes.iter().any(u8::is_ascii_lowercase),
            "must contain at least one letter (a-z)",
        ),
        (!name.contains("--"), "must not contain consecutive hyphens"),
        (
            !hyphen(bytes.first()) && !hyphen(bytes.last()),
            "must not begin or end with a hyphen",
        ),
    ];
    for (_, why) in rules.iter().filter(|(holds, _)| !holds) {
        causes.push(Cause::invalid(path, name, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Vec<String> {
        let mut causes = Vec::new();
        check_endpoint(text, &Path::Root("ip"), &mut causes);
        causes.into_iter().map(|c| c.message).collect()
    }

    #[test]
    fn addresses_that_every_machine_has_for_itself_are_refused() {
        assert_eq!(endpoint("10.0.0.1"), Vec::<String>::new());
        assert_eq!(endpoint("2001:db8::1"), Vec::<String>::new());
        for text in [
            "x",
            "1.2.3",
            "01.2.3.4",
            "0.0.0.0",
            "::",
            "127.1.2.3",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "224.0.0.9",
            "ff02::1",
        ] {
            assert_eq!(endpoint(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_range_is_an_address_and_a_length() {
        assert!(range("10.0.0.0/8").is_some());
        assert!(range("10.1.2.3/32").is_some());
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "x/8",
            "::/129",
        ] {
            assert!(range(text).is_none(), "{text}");
        }
    }

    #[test]
    fn port_names_are_those_of_services() {
        let faults = |name: &str| {
            let mut causes = Vec::new();
            check_port_name(name, &Path::Root("p"), &mut causes);
            causes.len()
        };
        assert_eq!(faults("http-2"), 0);
        for name in ["", "-a", "a--b", "80", "A", "abcdefghijklmnop"] {
            assert!(faults(name) > 0, "{name}");
        }
    }
}
