//! How fast nodes may lose their pods (Kubernetes, "Rate limits on eviction"). A node that is lost
//! gets a `NoExecute` taint, one node of a zone every ten seconds. When 55 % of a zone and more
//! than two of its nodes are lost, more likely the zone is cut off: then every hundred seconds in
//! zones of more than 50 nodes, and not at all in smaller ones. A zone that is lost whole goes on
//! at the usual pace, as long as there is another one to go to; when all zones are lost whole, the
//! fault is on this side, and nothing is driven away at all.

use super::{ready, set_taints, taints};
use crate::reconciler::Outcome;
use crate::requests;
use jiff::{SignedDuration, Timestamp};
use kabuki_model::k8s_openapi::api::core::v1::{Node, Taint};
use kabuki_model::taint::NO_EXECUTE;
use kabuki_model::view::View;
use kabuki_model::{Resource, Stored};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `--node-eviction-rate`: 0.1 nodes in a second.
const EVERY: SignedDuration = SignedDuration::from_secs(10);
/// `--secondary-node-eviction-rate`: 0.01 nodes in a second.
const EVERY_WHEN_DISRUPTED: SignedDuration = SignedDuration::from_secs(100);
/// `--unhealthy-zone-threshold`, in percent.
const DISRUPTED_PERCENT: usize = 55;
/// So many lost nodes say nothing about their zone.
const FEW: usize = 2;
/// `--large-cluster-size-threshold`
const LARGE: usize = 50;
/// A node with this label says nothing about its zone.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

/// What of a node matters to its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    zone: String,
    counts: bool,
    status: Option<String>,
    driving: Vec<String>,
}

/// How a zone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Normal,
    PartiallyDisrupted,
    FullyDisrupted,
}

#[derive(Default)]
struct Zone {
    well: usize,
    lost: usize,
    /// When the latest of its nodes was tainted.
    tainted: Option<Timestamp>,
    /// Since when they are lost; name; the node; the key of the taint.
    waiting: Vec<(Timestamp, Arc<str>, Arc<Stored>, &'static str)>,
}

pub(super) fn standing(node: &Node) -> Standing {
    let driving = taints::held(node).iter().filter(|t| taints::drives_away(t));
    Standing {
        zone: zone_of(node),
        counts: counts(node),
        status: ready(node).map(|c| c.status.clone()),
        driving: driving.map(|t| t.key.clone()).collect(),
    }
}

fn counts(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    !labels.is_some_and(|l| l.contains_key(EXCLUDED))
}

/// Region and zone; empty when a node has neither.
fn zone_of(node: &Node) -> String {
    let label = |name: &str| {
        let labels = node.metadata.labels.as_ref()?;
        let old = || labels.get(&format!("failure-domain.beta.kubernetes.io/{name}"));
        labels
            .get(&format!("topology.kubernetes.io/{name}"))
            .or_else(old)
    };
    match (label("region"), label("zone")) {
        (None, None) => String::new(),
        (region, zone) => format!("{}/{}", region.map_or("", |r| r), zone.map_or("", |z| z)),
    }
}

/// Gives `NoExecute` taints to the nodes whose turn it is.
pub(super) fn reconcile(view: &dyn View, now: Timestamp) -> Outcome {
    let mut zones: BTreeMap<String, Zone> = BTreeMap::new();
    let mut driven: Vec<(&Arc<Stored>, Arc<Node>)> = Vec::new();
    for stored in view.scan(&Resource::NODES, None, None) {
        let Ok(node) = stored.typed::<Node>() else {
            continue;
        };
        let zone = zones.entry(zone_of(&node)).or_default();
        zone.count(stored, &node);
        if taints::held(&node).iter().any(taints::drives_away) {
            driven.push((stored, node));
        }
    }
    let mut outcome = Outcome::done();
    let mut counting = zones.values().filter(|z| z.well + z.lost > 0).peekable();
    let any = counting.peek().is_some();
    if any && counting.all(|z| z.state() == State::FullyDisrupted) {
        for (stored, node) in driven {
            let mut left = taints::held(&node).to_vec();
            left.retain(|t| !taints::drives_away(t));
            outcome.request(set_taints(stored, &left));
        }
        return outcome;
    }
    for zone in zones.values_mut() {
        zone.taint_next(now, &mut outcome);
    }
    outcome
}

impl Zone {
    fn count(&mut self, stored: &Arc<Stored>, node: &Node) {
        let key = taints::key_of_lost(node);
        if counts(node) {
            let well = ready(node).is_some_and(|c| c.status == "True");
            *(if well { &mut self.well } else { &mut self.lost }) += 1;
        }
        let mut driving = taints::held(node).iter().filter(|t| taints::drives_away(t));
        match (driving.next(), key) {
            (Some(taint), _) => {
                let at = taint.time_added.as_ref().map(|t| t.0);
                self.tainted = self.tainted.max(at);
            }
            (None, Some(key)) => {
                let since = ready(node).and_then(|c| c.last_transition_time.as_ref());
                let since = since.map_or(Timestamp::UNIX_EPOCH, |t| t.0);
                let name = stored.key.name.clone();
                self.waiting.push((since, name, stored.clone(), key));
            }
            (None, None) => {}
        }
    }

    fn state(&self) -> State {
        let all = self.well + self.lost;
        if self.well == 0 && self.lost > 0 {
            State::FullyDisrupted
        } else if self.lost > FEW && self.lost * 100 >= all * DISRUPTED_PERCENT {
            State::PartiallyDisrupted
        } else {
            State::Normal
        }
    }

    /// How long after one node the next may be tainted; `None` is never.
    fn pace(&self) -> Option<SignedDuration> {
        match self.state() {
            State::Normal | State::FullyDisrupted => Some(EVERY),
            State::PartiallyDisrupted if self.well + self.lost > LARGE => {
                Some(EVERY_WHEN_DISRUPTED)
            }
            State::PartiallyDisrupted => None,
        }
    }

    /// Taints the node that is lost for the longest time, if it may be now.
    fn taint_next(&mut self, now: Timestamp, outcome: &mut Outcome) {
        let Some(pace) = self.pace() else {
            return;
        };
        self.waiting.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut waiting = self.waiting.iter();
        let Some((_, _, stored, key)) = waiting.next() else {
            return;
        };
        let later = now.checked_add(pace).unwrap_or(Timestamp::MAX);
        // A clock that was set back must not stop everything until it is where it was.
        let due = self.tainted.and_then(|at| at.checked_add(pace).ok());
        match due.map(|at| at.min(later)) {
            Some(at) if at > now => outcome.look_again(at),
            _ => {
                let Ok(node) = stored.typed::<Node>() else {
                    return;
                };
                let now = requests::whole_second(now);
                let mut all: Vec<Taint> = taints::held(&node).to_vec();
                all.push(taints::made(key, NO_EXECUTE, now));
                outcome.request(set_taints(stored, &all));
                if waiting.next().is_some() {
                    outcome.look_again(later);
                }
            }
        }
    }
}
