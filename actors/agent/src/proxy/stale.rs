//! Datagrams to endpoints that are gone, on a thread of their own.
//!
//! Whoever looks for them goes through all connections of the machine, which takes the kernel tens
//! of milliseconds: changes of services must not wait for that, and many changes need it once.
//!
//! Who talks to it: the proxy's thread, with whose state it ends.

use kabuki_net::{Datagrams, NetError, UdpFronts};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// After a look it rests for so many times as long as the look took, so that services that change
/// all the time leave the machine to others.
const REST: u32 = 4;

struct Wanted {
    fronts: UdpFronts,
    /// The node's addresses.
    own: Vec<IpAddr>,
}

/// Reaches the thread.
pub(super) struct Stale {
    wanted: Sender<Wanted>,
}

impl Stale {
    /// Starts the thread.
    pub fn spawn(datagrams: Datagrams) -> Result<Self, NetError> {
        let (wanted, received) = channel();
        let thread = std::thread::Builder::new().name("service-stale".to_string());
        let spawned = thread.spawn(move || work(datagrams, &received));
        spawned.map_err(|error| NetError::NetnsThread {
            netns: "of the node".to_string(),
            reason: error.to_string(),
        })?;
        Ok(Self { wanted })
    }

    /// Has connections to these fronts forgotten that lead elsewhere than to their endpoints.
    pub fn forget(&self, fronts: UdpFronts, own: &[IpAddr]) {
        let own = own.to_vec();
        if self.wanted.send(Wanted { fronts, own }).is_err() {
            tracing::warn!("datagrams may go to endpoints that are gone");
        }
    }
}

fn work(mut datagrams: Datagrams, received: &Receiver<Wanted>) {
    let mut unseen: Option<Wanted> = None;
    while let Some(mut wanted) = unseen.take().or_else(|| received.recv().ok()) {
        for newer in received.try_iter() {
            wanted.fronts.merge(newer.fronts);
            wanted.own = newer.own;
        }
        let begun = Instant::now();
        let mut newest = None;
        let meanwhile = |fronts: &mut UdpFronts| {
            for newer in received.try_iter() {
                fronts.merge(newer.fronts);
                newest = Some(newer.own);
            }
        };
        match datagrams.forget_stale(&mut wanted.fronts, &wanted.own, meanwhile) {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "connections without endpoint were forgotten"),
            Err(error) => tracing::warn!(%error, "datagrams may go to endpoints that are gone"),
        }
        // What came while they were looked at asks for another look.
        let Wanted { fronts, .. } = wanted;
        unseen = newest.map(|own| Wanted { fronts, own });
        std::thread::sleep(begun.elapsed() * REST);
    }
}
