//! Makes the node's side of the network be what the configuration says. Idempotent: a second
//! call finds nothing to do, and a call after somebody tampered repairs.

use std::sync::atomic::Ordering;

use rtnetlink::packet_route::link::InfoKind;

use super::NodeNetwork;
use super::attach::LOOPBACK_INDEX;
use crate::plan::{AddressChange, address_changes, mac_for, node_rules, pod_mtu};
use crate::route::Link;
use crate::{NetError, sysctl};

/// What links have where nothing says otherwise (Ethernet).
const DEFAULT_MTU: u32 = 1500;

impl NodeNetwork {
    /// Makes or repairs the bridge, its address, the kernel settings and the packet filter.
    /// Pods that are attached already keep the MTU that they have.
    ///
    /// # Errors
    /// Naming what could not be made. What was made until then stays, and the next call goes
    /// on from there.
    pub async fn ensure(&self) -> Result<(), NetError> {
        let inner = &self.inner;
        let config = &inner.config;
        let mtu = match config.mtu {
            Some(mtu) => mtu,
            None => pod_mtu(self.device_mtu().await?, config.mode),
        };
        let bridge = self.ensure_bridge(mtu).await?;
        self.ensure_gateway(&bridge).await?;
        self.ensure_settings().await?;
        let rules = node_rules(&config.bridge, config.pod_cidr, config.cluster_cidr);
        inner.filter.write(&rules).await?;
        inner.mtu.store(mtu, Ordering::Release);
        inner.bridge_index.store(bridge.index, Ordering::Release);
        self.ensure_shortcuts().await;
        tracing::info!(
            net.bridge = %config.bridge,
            net.gateway = %inner.gateway,
            net.mtu = mtu,
            "pod network is in order"
        );
        Ok(())
    }

    /// The MTU of the device that carries packets to other nodes.
    async fn device_mtu(&self) -> Result<u32, NetError> {
        let routes = &self.inner.routes;
        let own = self.inner.config.node_ip;
        let segments = routes.segments().await?;
        let carrier = segments
            .iter()
            .find(|s| s.address == own && s.interface != LOOPBACK_INDEX);
        if let Some(carrier) = carrier {
            let links = routes.links().await?;
            if let Some(link) = links.iter().find(|l| l.index == carrier.interface) {
                return Ok(link.mtu);
            }
        }
        Ok(routes.default_route_mtu().await?.unwrap_or(DEFAULT_MTU))
    }

    async fn ensure_bridge(&self, mtu: u32) -> Result<Link, NetError> {
        let inner = &self.inner;
        let name = inner.config.bridge.as_str();
        // A hardware address of its own keeps the bridge from changing it with every port.
        let mac = mac_for(inner.gateway);
        if inner.routes.link(name).await?.is_none() {
            match inner.routes.add_bridge(name, mac, mtu).await {
                Err(error) if !error.is_present() => return Err(error),
                _ => {}
            }
        }
        let bridge = inner
            .routes
            .link(name)
            .await?
            .ok_or_else(|| NetError::NoInterface {
                interface: name.to_owned(),
            })?;
        if bridge.kind != Some(InfoKind::Bridge) {
            return Err(NetError::WrongKind {
                interface: name.to_owned(),
                expected: "bridge",
            });
        }
        if !bridge.up || bridge.mtu != mtu || bridge.mac != mac.0 {
            inner.routes.set_up(&bridge, mac, mtu).await?;
        }
        Ok(bridge)
    }

    async fn ensure_gateway(&self, bridge: &Link) -> Result<(), NetError> {
        let inner = &self.inner;
        let actual = inner.routes.addresses(bridge).await?;
        let desired = (inner.gateway, inner.config.pod_cidr.prefix_len());
        for change in address_changes(&actual, desired) {
            match change {
                AddressChange::Add(address, prefix_len) => {
                    inner
                        .routes
                        .add_address(bridge, address, prefix_len)
                        .await?;
                }
                AddressChange::Remove(address, prefix_len) => {
                    inner
                        .routes
                        .remove_address(bridge, address, prefix_len)
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Settings of the node's own network namespace.
    async fn ensure_settings(&self) -> Result<(), NetError> {
        let bridge = self.inner.config.bridge.clone();
        self.inner
            .netns
            .run(move || {
                // The node routes between its pods and the rest.
                sysctl::ensure("net/ipv4/ip_forward", "1")?;
                // A packet between two pods leaves by the interface it came in by. The kernel
                // would tell the sender of a shorter way, past the routing. Either setting
                // turns that on, so both must be off.
                sysctl::ensure("net/ipv4/conf/all/send_redirects", "0")?;
                sysctl::ensure(&format!("net/ipv4/conf/{bridge}/send_redirects"), "0")
            })
            .await?
    }
}
