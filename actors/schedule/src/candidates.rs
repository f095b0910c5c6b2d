//! For one class of pods: which nodes take them, and the best first. Kept up to date by looking
//! again only at nodes that changed.
//!
//! Invariant: `ranked` holds exactly the nodes whose verdict is `Fits`, each under its score at
//! the present scale.

use crate::cluster::Cluster;
use crate::filter::{self, Reason};
use crate::node::Node;
use crate::plan::Failure;
use crate::pod::Class;
use crate::score::{Raw, Scale, raw};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    epoch: Option<u64>,
    seed: u64,
    seen: u64,
    verdicts: Vec<Verdict>,
    ranked: BTreeSet<(i64, u64, usize)>,
    scale: Scale,
    /// Why no node fits, as of `seen`.
    failure: Option<Arc<Failure>>,
}

#[derive(Debug, Default)]
enum Verdict {
    /// There is no such node.
    #[default]
    Absent,
    Refuses(Vec<Reason>),
    Fits(Raw),
}

impl Candidates {
    pub(crate) fn update(&mut self, class: &Class, cluster: &Cluster, seed: u64) {
        let known = self.epoch == Some(cluster.epoch) && self.seed == seed;
        let changed = cluster.changed_since(self.seen).filter(|_| known);
        match changed {
            Some(changed) => {
                let changed: BTreeSet<usize> = changed.collect();
                if !changed.is_empty() {
                    self.failure = None;
                }
                // While nothing speaks for or against a node relative to others, there is no scale.
                let mut relative = self.scale != Scale::default();
                for index in changed {
                    relative |= self.look_at(index, class, cluster).is_relative();
                }
                if relative {
                    self.rescale(cluster);
                }
            }
            None => self.look_at_all(class, cluster, seed),
        }
        self.seen = cluster.change_count();
    }

    fn look_at_all(&mut self, class: &Class, cluster: &Cluster, seed: u64) {
        *self = Self {
            epoch: Some(cluster.epoch),
            seed,
            ..Self::default()
        };
        self.verdicts = cluster
            .nodes()
            .iter()
            .map(|n| verdict(class, n, cluster))
            .collect();
        self.scale = self.largest();
        self.rank(cluster);
    }

    fn look_at(&mut self, index: usize, class: &Class, cluster: &Cluster) -> Raw {
        if self.verdicts.len() <= index {
            self.verdicts
                .resize_with(cluster.nodes().len(), Verdict::default);
        }
        let node = &cluster.nodes()[index];
        let tie = tie(self.seed, &node.name);
        if let Verdict::Fits(before) = self.verdicts[index] {
            self.ranked.remove(&(before.score(self.scale), tie, index));
        }
        self.verdicts[index] = verdict(class, node, cluster);
        match self.verdicts[index] {
            Verdict::Fits(now) => {
                self.ranked.insert((now.score(self.scale), tie, index));
                now
            }
            _ => Raw::default(),
        }
    }

    /// Scores are relative to the best of all nodes that fit; when that is another, they are too.
    fn rescale(&mut self, cluster: &Cluster) {
        let scale = self.largest();
        if scale != self.scale {
            self.scale = scale;
            self.rank(cluster);
        }
    }

    fn largest(&self) -> Scale {
        let mut scale = Scale::default();
        for verdict in &self.verdicts {
            if let Verdict::Fits(raw) = verdict {
                scale.affinity = scale.affinity.max(raw.affinity);
                scale.taints = scale.taints.max(raw.taints);
            }
        }
        scale
    }

    fn rank(&mut self, cluster: &Cluster) {
        self.ranked.clear();
        for (index, verdict) in self.verdicts.iter().enumerate() {
            if let Verdict::Fits(raw) = verdict {
                let tie = tie(self.seed, &cluster.nodes()[index].name);
                self.ranked.insert((raw.score(self.scale), tie, index));
            }
        }
    }

    /// The best node.
    pub(crate) fn best(&self) -> Option<usize> {
        self.ranked.last().map(|(_, _, index)| *index)
    }

    /// Why no node takes the pod.
    pub(crate) fn failure(&mut self) -> Arc<Failure> {
        let verdicts = &self.verdicts;
        let made = self.failure.get_or_insert_with(|| {
            let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
            let mut nodes = 0;
            for verdict in verdicts {
                let given: &[Reason] = match verdict {
                    Verdict::Absent => continue,
                    Verdict::Fits(_) => &[],
                    Verdict::Refuses(given) => given,
                };
                nodes += 1;
                for reason in given {
                    *reasons.entry(reason.clone()).or_default() += 1;
                }
            }
            Arc::new(Failure::of(nodes, reasons))
        });
        made.clone()
    }
}

fn verdict(class: &Class, node: &Node, cluster: &Cluster) -> Verdict {
    if !node.present {
        return Verdict::Absent;
    }
    let refusals = filter::refusals(class, node);
    match refusals.is_empty() {
        true => Verdict::Fits(raw(class, node, &cluster.spread)),
        false => Verdict::Refuses(refusals),
    }
}

/// Which of two equally good nodes is taken: another one for another seed.
fn tie(seed: u64, name: &str) -> u64 {
    let mut bits = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in name.bytes() {
        bits = (bits ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    bits ^= bits >> 32;
    bits.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
