//! The addresses of one node's block, and who may have the next one.
//!
//! Invariants: the gateway is never given out, nor the first address of the block, nor an
//! IPv4 block's broadcast address; no address is given out twice without a release between;
//! and the search starts after the last address given, so that an address rests for a full
//! round before it is used again (peers may still hold connections or cached names for it).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Cidr;

/// A pool of addresses for pods. Its name is used in errors only.
#[derive(Debug, Clone)]
pub struct AddressPool {
    name: String,
    block: Cidr,
    gateway: IpAddr,
    /// First and last offset that may be given out, inclusive.
    bounds: (u128, u128),
    /// Where the next search starts.
    next: u128,
    taken: BTreeSet<u128>,
}

/// Why the pool cannot be made or does not give what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Every address is taken.
    #[error("address pool {pool} ({block}) is exhausted: all {capacity} addresses are in use")]
    Exhausted {
        /// The pool's name.
        pool: String,
        /// The pool's block.
        block: Cidr,
        /// How many addresses it can give out at most.
        capacity: u128,
    },
    /// The block has no room for even one pod.
    #[error("address pool {pool} ({block}) has no address left for pods beside the gateway")]
    TooSmall {
        /// The pool's name.
        pool: String,
        /// The pool's block.
        block: Cidr,
    },
    /// The address is not one that this pool gives out.
    #[error("address {address} is not one that address pool {pool} ({block}) gives to pods")]
    NotAllocatable {
        /// The pool's name.
        pool: String,
        /// The pool's block.
        block: Cidr,
        /// The refused address.
        address: IpAddr,
    },
    /// Somebody has it already.
    #[error("address {address} of address pool {pool} is already in use")]
    Taken {
        /// The pool's name.
        pool: String,
        /// The refused address.
        address: IpAddr,
    },
}

impl AddressPool {
    /// A pool over `block`, whose first host address is the gateway.
    ///
    /// # Errors
    /// [`PoolError::TooSmall`] when nothing is left for pods.
    pub fn new(name: impl Into<String>, block: Cidr) -> Result<Self, PoolError> {
        let name = name.into();
        let too_small = || PoolError::TooSmall {
            pool: name.clone(),
            block,
        };
        // IPv4 blocks of two addresses have neither network nor broadcast address (RFC 3021).
        let point_to_point = block.is_ipv4() && block.prefix_len() >= 31;
        let first = u128::from(!point_to_point);
        let last = block.size() - 1 - u128::from(block.broadcast().is_some());
        if last <= first {
            return Err(too_small());
        }
        let gateway = block.nth(first).ok_or_else(too_small)?;
        Ok(Self {
            name,
            block,
            gateway,
            bounds: (first + 1, last),
            next: first + 1,
            taken: BTreeSet::new(),
        })
    }

    /// The pool's block.
    pub fn block(&self) -> Cidr {
        self.block
    }

    /// The address that the node itself has on the pod bridge.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// How many addresses can be in use at once.
    pub fn capacity(&self) -> u128 {
        self.bounds.1 - self.bounds.0 + 1
    }

    /// How many addresses are in use.
    pub fn in_use(&self) -> usize {
        self.taken.len()
    }

    /// Whether `address` is in use.
    pub fn is_taken(&self, address: IpAddr) -> bool {
        self.block
            .offset_of(address)
            .is_some_and(|offset| self.taken.contains(&offset))
    }

    /// Takes the next free address.
    ///
    /// # Errors
    /// [`PoolError::Exhausted`], naming the pool.
    pub fn allocate(&mut self) -> Result<IpAddr, PoolError> {
        let (first, last) = self.bounds;
        let offset = self
            .first_free(self.next, last)
            .or_else(|| self.first_free(first, last))
            .ok_or_else(|| PoolError::Exhausted {
                pool: self.name.clone(),
                block: self.block,
                capacity: self.capacity(),
            })?;
        let address = self.block.nth(offset).ok_or_else(|| PoolError::TooSmall {
            pool: self.name.clone(),
            block: self.block,
        })?;
        self.take(offset);
        Ok(address)
    }

    /// Takes a particular address: one that a running pod was found to have.
    ///
    /// # Errors
    /// When it is in use, or is not one that this pool gives out.
    pub fn reserve(&mut self, address: IpAddr) -> Result<(), PoolError> {
        let offset = self
            .block
            .offset_of(address)
            .filter(|offset| (self.bounds.0..=self.bounds.1).contains(offset))
            .ok_or_else(|| PoolError::NotAllocatable {
                pool: self.name.clone(),
                block: self.block,
                address,
            })?;
        if self.taken.contains(&offset) {
            return Err(PoolError::Taken {
                pool: self.name.clone(),
                address,
            });
        }
        // The search goes on after the highest address known, as it would have without the
        // restart that made the adoption necessary.
        let next = self.next;
        self.take(offset);
        self.next = self.next.max(next);
        Ok(())
    }

    /// Gives an address back; says whether it was in use.
    pub fn release(&mut self, address: IpAddr) -> bool {
        self.block
            .offset_of(address)
            .is_some_and(|offset| self.taken.remove(&offset))
    }

    fn take(&mut self, offset: u128) {
        self.taken.insert(offset);
        self.next = if offset == self.bounds.1 {
            self.bounds.0
        } else {
            offset + 1
        };
    }

    /// The lowest free offset from `from` to `last`, walking only what is taken.
    fn first_free(&self, from: u128, last: u128) -> Option<u128> {
        if from > last {
            return None;
        }
        let mut candidate = from;
        for taken in self.taken.range(from..=last) {
            if *taken != candidate {
                break;
            }
            candidate += 1;
        }
        (candidate <= last).then_some(candidate)
    }
}

#[cfg(test)]
mod tests;
