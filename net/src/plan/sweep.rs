//! What to change, from what is and what should be.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// A step towards the bridge having exactly the gateway's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressChange {
    /// Give the bridge this address and prefix length.
    Add(IpAddr, u8),
    /// Take this address and prefix length away.
    Remove(IpAddr, u8),
}

/// The steps from the addresses that the bridge has to the one that it should have. Adding
/// comes first, so that the node is never without. Addresses of the other family are kept:
/// the kernel's own link-local addresses are among them.
pub fn address_changes(actual: &[(IpAddr, u8)], desired: (IpAddr, u8)) -> Vec<AddressChange> {
    let mut changes = Vec::new();
    if !actual.contains(&desired) {
        changes.push(AddressChange::Add(desired.0, desired.1));
    }
    for (address, prefix_len) in actual {
        if (*address, *prefix_len) != desired && address.is_ipv4() == desired.0.is_ipv4() {
            changes.push(AddressChange::Remove(*address, *prefix_len));
        }
    }
    changes
}

/// Which of the attached pods nobody wants any more.
pub fn stale_pods<'a>(
    attached: impl IntoIterator<Item = &'a str>,
    wanted: &BTreeSet<String>,
) -> Vec<String> {
    attached
        .into_iter()
        .filter(|uid| !wanted.contains(*uid))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_bridge_in_order_is_left_alone() {
        let gateway = (ip("10.244.0.1"), 24);
        let link_local = (ip("fe80::1"), 64);
        assert!(address_changes(&[gateway, link_local], gateway).is_empty());
    }

    #[test]
    fn a_changed_gateway_is_added_before_the_old_one_goes() {
        let old = (ip("10.244.0.1"), 24);
        let new = (ip("10.9.0.1"), 24);
        assert_eq!(
            address_changes(&[old], new),
            [
                AddressChange::Add(new.0, new.1),
                AddressChange::Remove(old.0, old.1)
            ]
        );
        let narrower = (old.0, 25);
        assert_eq!(
            address_changes(&[old], narrower).first(),
            Some(&AddressChange::Add(old.0, 25))
        );
    }

    #[test]
    fn pods_that_nobody_wants_are_stale() {
        let wanted = BTreeSet::from(["b".to_owned(), "c".to_owned()]);
        assert_eq!(stale_pods(["a", "b"], &wanted), ["a"]);
    }
}
