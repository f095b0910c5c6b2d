//! Addresses that every node answers under by itself: that of the cluster's name server. They
//! belong to no wire, so they are the loopback interface's; packets of pods reach them because the
//! node routes for its pods.

use std::net::IpAddr;

use super::NodeNetwork;
use crate::NetError;
use crate::route::Link;

const LOOPBACK: &str = "lo";

impl NodeNetwork {
    /// Makes these IPv4 addresses, and no others of ours, local to the node. Those that are there
    /// already are not touched, so what listens on them does not notice.
    ///
    /// # Errors
    /// Naming the address that could not be added or removed.
    pub async fn hold_local(&self, addresses: &[IpAddr]) -> Result<(), NetError> {
        let routes = &self.inner.routes;
        let loopback = self.loopback().await?;
        if !loopback.up {
            routes.set_loopback_up(&loopback).await?;
        }
        let held = routes.local_addresses(&loopback).await?;
        for address in addresses.iter().filter(|a| !held.contains(a)) {
            routes.add_local(&loopback, *address).await?;
        }
        for address in held.iter().filter(|a| !addresses.contains(a)) {
            routes.remove_address(&loopback, *address, 32).await?;
        }
        Ok(())
    }

    async fn loopback(&self) -> Result<Link, NetError> {
        let found = self.inner.routes.link(LOOPBACK).await?;
        found.ok_or_else(|| NetError::NoInterface {
            interface: LOOPBACK.to_owned(),
        })
    }
}
