use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn pool(block: &str) -> AddressPool {
    AddressPool::new("node-a", block.parse().unwrap()).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_gateway_and_the_edges_are_never_given_out() {
    let mut pool = pool("10.244.0.0/29");
    assert_eq!(pool.gateway(), ip("10.244.0.1"));
    assert_eq!(pool.capacity(), 5);
    let given: Vec<_> = (0..5).map(|_| pool.allocate().unwrap()).collect();
    assert_eq!(given[0], ip("10.244.0.2"));
    assert_eq!(given[4], ip("10.244.0.6"));
    for never in [
        "10.244.0.0",
        "10.244.0.1",
        "10.244.0.7",
        "10.244.1.2",
        "::1",
    ] {
        assert!(matches!(
            pool.reserve(ip(never)),
            Err(PoolError::NotAllocatable { .. })
        ));
    }
}

#[test]
fn exhaustion_names_the_pool() {
    let mut pool = pool("10.244.0.0/30");
    pool.allocate().unwrap();
    let error = pool.allocate().unwrap_err().to_string();
    assert!(
        error.contains("node-a") && error.contains("10.244.0.0/30"),
        "{error}"
    );
    assert!(error.contains("all 1 addresses"), "{error}");
}

#[test]
fn a_released_address_rests_for_a_round() {
    let mut pool = pool("10.244.0.0/29");
    let first = pool.allocate().unwrap();
    assert!(pool.release(first));
    assert!(!pool.release(first));
    let others: Vec<_> = (0..4).map(|_| pool.allocate().unwrap()).collect();
    assert!(!others.contains(&first));
    assert_eq!(pool.allocate().unwrap(), first);
}

#[test]
fn adopted_addresses_are_not_given_out_again() {
    let mut pool = pool("10.244.0.0/29");
    pool.reserve(ip("10.244.0.4")).unwrap();
    assert!(matches!(
        pool.reserve(ip("10.244.0.4")),
        Err(PoolError::Taken { .. })
    ));
    assert!(pool.is_taken(ip("10.244.0.4")));
    assert_eq!(pool.allocate().unwrap(), ip("10.244.0.5"));
    assert_eq!(pool.in_use(), 2);
}

#[test]
fn blocks_too_small_for_a_pod_are_refused() {
    for small in ["10.0.0.1/32", "fd00::1/128", "fd00::/127"] {
        let error = AddressPool::new("p", small.parse().unwrap()).unwrap_err();
        assert!(matches!(error, PoolError::TooSmall { .. }), "{small}");
    }
    assert_eq!(pool("10.0.0.0/31").capacity(), 1);
    assert_eq!(pool("fd00::/126").capacity(), 2);
    assert!(pool("::/0").allocate().is_ok());
}

proptest! {
    /// Against the plain model: a set of what is out, and the order of releases.
    #[test]
    fn no_address_is_ever_out_twice(
        length in 24u8..=30,
        steps in prop::collection::vec((0u8..3, any::<u16>()), 1..400),
    ) {
        let block = Cidr::containing(ip("10.1.2.0"), length).unwrap();
        let mut pool = AddressPool::new("p", block).unwrap();
        let mut out: Vec<IpAddr> = Vec::new();
        for (step, pick) in steps {
            match step {
                0 => match pool.allocate() {
                    Ok(address) => {
                        prop_assert!(block.contains(address));
                        prop_assert!(address != pool.gateway());
                        prop_assert!(address != block.network());
                        prop_assert!(address != block.last());
                        prop_assert!(!out.contains(&address));
                        out.push(address);
                    }
                    Err(_) => prop_assert_eq!(out.len() as u128, pool.capacity()),
                },
                1 if !out.is_empty() => {
                    let address = out.swap_remove(usize::from(pick) % out.len());
                    prop_assert!(pool.release(address));
                    prop_assert!(!pool.is_taken(address));
                }
                _ => {
                    let address = block.nth(u128::from(pick) % block.size()).unwrap();
                    if pool.reserve(address).is_ok() {
                        prop_assert!(!out.contains(&address));
                        out.push(address);
                    }
                }
            }
            prop_assert_eq!(pool.in_use(), out.len());
        }
    }

    /// While others are free, what was released last is not what comes next.
    #[test]
    fn a_released_address_is_not_the_next_one(taken in 1usize..200) {
        let mut pool = pool("10.1.2.0/24");
        let given: Vec<_> = (0..taken).map(|_| pool.allocate().unwrap()).collect();
        let released = given[taken / 2];
        pool.release(released);
        prop_assert_ne!(pool.allocate().unwrap(), released);
    }

    #[test]
    fn every_address_comes_round(length in 25u8..=30) {
        let block = Cidr::containing(ip("10.1.2.0"), length).unwrap();
        let mut pool = AddressPool::new("p", block).unwrap();
        let mut seen = HashSet::new();
        for _ in 0..pool.capacity() {
            let address = pool.allocate().unwrap();
            pool.release(address);
            prop_assert!(seen.insert(address));
        }
    }
}
