//! Removes everything that this crate made on the node.

use std::sync::atomic::Ordering;

use futures::future::join_all;
use rtnetlink::packet_route::link::InfoKind;

use super::NodeNetwork;
use crate::NetError;
use crate::plan::TABLE_NAME;

impl NodeNetwork {
    /// Removes the pods' links, the routes to other nodes' pods, the VXLAN device, the bridge,
    /// the addresses of the loopback interface and the packet filter table. What peers and addresses there were does not matter. Kernel settings stay:
    /// others may have come to rely on them. Safe to repeat.
    ///
    /// # Errors
    /// [`NetError::Teardown`] with everything that could not be removed; the rest is gone.
    pub async fn reset(&self) -> Result<(), NetError> {
        let mut errors = Vec::new();
        self.close_shortcuts().await;
        match self.pod_links().await {
            Ok(links) => {
                let remover = &self.inner.remover;
                let removals = links.iter().map(|link| remover.remove(&link.name));
                errors.extend(join_all(removals).await.into_iter().filter_map(Result::err));
            }
            Err(error) => errors.push(error),
        }
        errors.extend(self.remove_routes().await);
        errors.extend(self.remove_overlay().await.err());
        errors.extend(self.remove_bridge().await.err());
        errors.extend(self.hold_local(&[]).await.err());
        errors.extend(self.remove_table().await.err());
        self.inner.bridge_index.store(0, Ordering::Release);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(NetError::Teardown(errors))
        }
    }

    /// Ours are the routes whose source is an address of the bridge.
    async fn remove_routes(&self) -> Vec<NetError> {
        let routes = &self.inner.routes;
        let listed = async {
            let Some(bridge) = routes.link(&self.inner.config.bridge).await? else {
                return Ok(Vec::new());
            };
            let addresses = routes.addresses(&bridge).await?;
            let sources: Vec<_> = addresses.into_iter().map(|(address, _)| address).collect();
            routes.block_routes(&sources).await
        };
        let listed = match listed.await {
            Ok(listed) => listed,
            Err(error) => return vec![error],
        };
        let mut errors = Vec::new();
        for route in &listed {
            errors.extend(routes.drop_route(route).await.err());
        }
        errors
    }

    async fn remove_overlay(&self) -> Result<(), NetError> {
        let mut known = self.inner.overlay.lock().await;
        *known = None;
        let name = self.inner.config.vxlan.device.as_str();
        match self.inner.routes.link(name).await? {
            None => Ok(()),
            Some(device) if device.kind == Some(InfoKind::Vxlan) => {
                self.inner.remover.remove(name).await.map(drop)
            }
            Some(_) => Err(NetError::WrongKind {
                interface: name.to_owned(),
                expected: "VXLAN device",
            }),
        }
    }

    async fn remove_bridge(&self) -> Result<(), NetError> {
        let routes = &self.inner.routes;
        let name = self.inner.config.bridge.as_str();
        match routes.link(name).await? {
            None => Ok(()),
            Some(bridge) if bridge.kind == Some(InfoKind::Bridge) => {
                self.inner.remover.remove(name).await.map(drop)
            }
            Some(_) => Err(NetError::WrongKind {
                interface: name.to_owned(),
                expected: "bridge",
            }),
        }
    }

    async fn remove_table(&self) -> Result<(), NetError> {
        self.inner.filter.remove(TABLE_NAME).await.map(drop)
    }
}
