//! The way of the node's own processes to services, and the node's own addresses.
//!
//! A pod's packets are translated before they are routed, those of the node only after: without
//! a route to the address of a service, the kernel would refuse before any rule is asked.

use std::net::IpAddr;
use std::sync::atomic::Ordering;

use super::NodeNetwork;
use crate::NetError;
use crate::plan::Cidr;

impl NodeNetwork {
    /// Has packets of the node to these ranges leave by the bridge; on their way out they are
    /// translated. Needs [`NodeNetwork::ensure`] first.
    ///
    /// # Errors
    /// When a route cannot be made.
    pub async fn ensure_service_routes(&self, ranges: &[Cidr]) -> Result<(), NetError> {
        let bridge = self.inner.bridge_index.load(Ordering::Acquire);
        for range in ranges {
            let routes = &self.inner.routes;
            routes
                .put_link_route(range, bridge, self.inner.gateway)
                .await?;
        }
        Ok(())
    }

    /// All IPv4 addresses of the node, in this namespace.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn own_addresses(&self) -> Result<Vec<IpAddr>, NetError> {
        let segments = self.inner.routes.segments().await?;
        Ok(segments.into_iter().map(|s| s.address).collect())
    }
}
