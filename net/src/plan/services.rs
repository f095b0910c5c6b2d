//! What the packet filter of one node holds for services: the entries of its maps, as a pure
//! function of the services and their endpoints, and what is to change when those change.
//!
//! ```text
//!   front     address . protocol . port  ->  shape, primary       (or node port alone)
//!   endpoint  primary . index            ->  address . port
//! ```
//!
//! A *front* is an address under which a service is reached. Its *shape* names the chain that
//! picks an endpoint: how many there are, and what else matters. There are as many chains as
//! different shapes, not as services, and each picks with a random number below the exact count,
//! so the balance is even for every count. The *primary* is the service's own address, under
//! which its endpoints are numbered: those for all, and from [`LOCAL_INDEX`] those of this node.
//!
//! Only IPv4; pod networks of IPv6 are refused elsewhere.

mod arrange;
mod endpoints;
mod entry;
mod ledger;
mod port;
mod shape;
#[cfg(test)]
mod tests;

pub use endpoints::{Endpoints, NodeView};
pub use entry::{EntryKey, EntryValue, FrontKey, Primary, Scope, Target};
pub use ledger::{Delta, Entries, Owner, Services};
pub use port::{
    Front, HealthCheck, HostPort, PortPlan, host_port_plan, service_health, service_plan,
};
pub use shape::{Route, Shape};

/// Where the numbers of endpoints of this node alone begin. No service has more endpoints.
pub const LOCAL_INDEX: u32 = 1 << 16;

/// `IPPROTO_*`
pub const TCP: u8 = 6;
/// `IPPROTO_*`
pub const UDP: u8 = 17;
/// `IPPROTO_*`
pub const SCTP: u8 = 132;
