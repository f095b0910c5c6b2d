//! When there is a short way between this node's pods and those of others ([`crate::shortcut`]):
//! as long as there is a VXLAN device and the kernel takes the programs. Without it everything goes
//! the long way, so nothing here fails what was asked for; it is said in the log.
//!
//! One set of programs is for one VXLAN device and one bridge. It is loaded when they are there,
//! hangs on both and on every pod's link, and is replaced by another set when either is another
//! interface. A pod that is attached meanwhile finds out itself whether the set that it was hung on
//! is still the one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use rtnetlink::packet_route::link::InfoKind;

use super::NodeNetwork;
use crate::plan::Alias;
use crate::route::{Link, Side};
use crate::shortcut::{Places, Shortcuts};
use crate::{NetError, sysctl};

/// The kernel's table of connections sees few of the packets: it must take the next one for what
/// it is, not for one that lies outside what it has seen.
pub(crate) const LENIENT: (&str, &str) = ("net/netfilter/nf_conntrack_tcp_be_liberal", "1");

/// What is known of the short way.
#[derive(Default)]
pub(super) struct ShortWay {
    state: Mutex<State>,
    /// Held by who may change the state.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
enum State {
    /// Nobody has looked yet; programs of a former daemon may be there.
    #[default]
    Unknown,
    /// There is no VXLAN device.
    Closed,
    Open(Arc<Shortcuts>),
    /// The kernel does not take the programs, and will not.
    Refused,
}

impl ShortWay {
    fn state(&self) -> State {
        let state = self.state.lock();
        state.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: State) {
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *held = state;
    }

    fn shortcuts(&self) -> Option<Arc<Shortcuts>> {
        match self.state() {
            State::Open(shortcuts) => Some(shortcuts),
            _ => None,
        }
    }
}

impl NodeNetwork {
    /// After peers were set: what was routed before a change goes the long way again.
    pub(super) async fn renew_shortcuts(&self, changed: bool) {
        let way = &self.inner.short_way;
        let _turn = way.turn.lock().await;
        if changed || matches!(way.state(), State::Unknown) {
            self.settle_shortcuts(false).await;
        }
    }

    /// As [`NodeNetwork::renew_shortcuts`], and whatever others took away is put back.
    pub(super) async fn ensure_shortcuts(&self) {
        let _turn = self.inner.short_way.turn.lock().await;
        self.settle_shortcuts(true).await;
    }

    /// Has all packets go the long way.
    pub(super) async fn close_shortcuts(&self) {
        let way = &self.inner.short_way;
        let _turn = way.turn.lock().await;
        if let State::Open(shortcuts) = way.state() {
            way.set(State::Closed);
            said("close", shortcuts.close());
        }
    }

    async fn settle_shortcuts(&self, thoroughly: bool) {
        let way = &self.inner.short_way;
        let state = way.state();
        if matches!(state, State::Refused) {
            return;
        }
        let places = match self.places().await {
            Ok(places) => places,
            Err(error) => {
                // Nothing that is known can be relied on; the next time it is looked again.
                tracing::warn!(%error, "no short way between nodes for now");
                if let State::Open(shortcuts) = state {
                    said("close", shortcuts.close());
                }
                way.set(State::Unknown);
                return;
            }
        };
        if let State::Open(shortcuts) = state {
            if Some(shortcuts.places()) == places {
                said("renew", shortcuts.renew());
                if thoroughly {
                    self.hang_everywhere(&shortcuts).await;
                }
                return;
            }
            // They may go on hanging where the next ones will not.
            said("close", shortcuts.close());
        }
        match places {
            Some(places) => self.open_shortcuts(places).await,
            None => way.set(State::Closed),
        }
    }

    async fn open_shortcuts(&self, places: Places) {
        let way = &self.inner.short_way;
        let load = move || {
            sysctl::ensure(LENIENT.0, LENIENT.1)?;
            Shortcuts::load(places).map_err(|source| NetError::ShortWay { source })
        };
        match self.inner.netns.run(load).await.and_then(|loaded| loaded) {
            Ok(shortcuts) => {
                let shortcuts = Arc::new(shortcuts);
                // From here on pods that are attached see to themselves.
                way.set(State::Open(shortcuts.clone()));
                self.hang_everywhere(&shortcuts).await;
                tracing::info!(
                    net.overlay = %self.inner.config.vxlan.device,
                    "connections to pods of other nodes take the short way"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "connections to pods of other nodes take the long way");
                way.set(State::Refused);
                // Those of a former daemon are told of no change any more.
                if let Err(error) = self.unhang_everywhere(places).await {
                    tracing::warn!(%error, "programs of a former daemon were left");
                }
            }
        }
    }

    /// Where the programs belong, if there is such a place.
    async fn places(&self) -> Result<Option<Places>, NetError> {
        let config = &self.inner.config;
        let overlay = self.inner.routes.link(&config.vxlan.device).await?;
        let overlay = overlay.filter(|link| link.kind == Some(InfoKind::Vxlan));
        Ok(overlay
            .zip(self.bridge_index())
            .map(|(link, bridge)| Places {
                overlay: link.index,
                bridge,
                mtu: link.mtu,
                cluster: config.cluster_cidr,
                own: config.pod_cidr,
            }))
    }

    /// Hangs the programs wherever they belong. Those that confirm come first, then there is
    /// something to note.
    async fn hang_everywhere(&self, shortcuts: &Shortcuts) {
        let routes = &self.inner.routes;
        let Places {
            overlay, bridge, ..
        } = shortcuts.places();
        let devices = [
            (overlay, Side::Out, "kabuki to_wire", &shortcuts.to_wire),
            (bridge, Side::Out, "kabuki to_pod", &shortcuts.to_pod),
            (overlay, Side::In, "kabuki from_wire", &shortcuts.from_wire),
        ];
        for (index, side, name, program) in devices {
            if let Err(error) = routes.hang(index, side, name, program).await {
                tracing::warn!(%error, "some connections between nodes take the long way");
            }
        }
        let links = match self.pod_links().await {
            Ok(links) => links,
            Err(error) => {
                tracing::warn!(%error, "connections of pods take the long way");
                return;
            }
        };
        for link in links {
            // One without an address is being attached right now.
            if let Some(address) = pod_address(&link) {
                self.hang_on_pod(shortcuts, link.index, address).await;
            }
        }
    }

    async fn unhang_everywhere(&self, places: Places) -> Result<(), NetError> {
        let routes = &self.inner.routes;
        for side in [Side::In, Side::Out] {
            routes.unhang(places.overlay, side).await?;
        }
        routes.unhang(places.bridge, Side::Out).await?;
        for link in self.pod_links().await? {
            routes.unhang(link.index, Side::In).await?;
        }
        Ok(())
    }

    async fn hang_on_pod(&self, shortcuts: &Shortcuts, link: u32, address: Ipv4Addr) {
        said("open", shortcuts.admit(address, link));
        let program = &shortcuts.from_pod;
        let hung = self
            .inner
            .routes
            .hang(link, Side::In, "kabuki from_pod", program);
        if let Err(error) = hung.await {
            tracing::warn!(%error, net.address = %address, "a pod's connections take the long way");
        }
    }

    /// Opens the short way for a pod, if there is one, and says which: that may have changed
    /// before the pod's link can be found by its label ([`NodeNetwork::is_shortened`]).
    pub(super) async fn shorten(&self, link: u32, address: Ipv4Addr) -> Option<Arc<Shortcuts>> {
        let shortcuts = self.inner.short_way.shortcuts()?;
        self.hang_on_pod(&shortcuts, link, address).await;
        Some(shortcuts)
    }

    /// Whether that is how things are now.
    pub(super) fn is_shortened(&self, with: Option<&Arc<Shortcuts>>) -> bool {
        match (self.inner.short_way.shortcuts(), with) {
            (Some(open), Some(with)) => Arc::ptr_eq(&open, with),
            (open, _) => open.is_none(),
        }
    }

    /// Closes the short way to a pod whose link is about to go. Of a pod whose link went by itself,
    /// what is known stays until the address is given to another: it leads nowhere, and only for as
    /// long as what was seen is good.
    pub(super) fn dismiss(&self, link: &Link) {
        let shortcuts = self.inner.short_way.shortcuts();
        if let Some((shortcuts, address)) = shortcuts.zip(pod_address(link)) {
            said("close", shortcuts.dismiss(address, link.index));
        }
    }
}

fn pod_address(link: &Link) -> Option<Ipv4Addr> {
    match link.alias.as_deref().and_then(Alias::parse)?.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// Telling the programs something cannot fail as long as the maps are there.
fn said(what: &str, told: std::io::Result<()>) {
    if let Err(error) = told {
        tracing::error!(%error, what, "the programs of the short way cannot be told");
    }
}

#[cfg(test)]
mod tests;
