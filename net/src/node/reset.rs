//! Removes everything that this crate made on the node.

use std::sync::atomic::Ordering;

use futures::future::join_all;
use rtnetlink::packet_route::link::InfoKind;

use super::NodeNetwork;
use crate::NetError;
use crate::plan::TABLE_NAME;

impl NodeNetwork {
    /// Removes the pods' links, the bridge and the packet filter table. Kernel settings stay:
    /// others may have come to rely on them. Safe to repeat.
    ///
    /// # Errors
    /// [`NetError::Teardown`] with everything that could not be removed; the rest is gone.
    pub async fn reset(&self) -> Result<(), NetError> {
        let mut errors = Vec::new();
        match self.pod_links().await {
            Ok(links) => {
                let remover = &self.inner.remover;
                let removals = links.iter().map(|link| remover.remove(&link.name));
                errors.extend(join_all(removals).await.into_iter().filter_map(Result::err));
            }
            Err(error) => errors.push(error),
        }
        errors.extend(self.remove_bridge().await.err());
        errors.extend(self.remove_table().await.err());
        self.inner.bridge_index.store(0, Ordering::Release);
        if errors.is_empty() {
            Ok(())
        } else {
            Err(NetError::Teardown(errors))
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
