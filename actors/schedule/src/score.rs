//! Which node is best: Kubernetes' score plugins with their default weights.

use crate::filter::tolerates;
use crate::node::Node;
use crate::pod::Class;
use crate::selection::term_matches;
use std::collections::BTreeMap;

/// The best that a plugin can say of a node.
const MAX: i64 = 100;
/// The weight of preferred node affinity.
const AFFINITY_WEIGHT: i64 = 2;
/// The weight of taints that are better avoided.
const TAINT_WEIGHT: i64 = 3;
/// Images smaller than this are pulled in no time.
const SMALL_IMAGE: i64 = 23 << 20;
/// Larger ones do not make a node better still, per container.
const LARGE_IMAGE: i64 = 1000 << 20;

/// What speaks for a node, before it is compared with others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    /// The parts that do not depend on other nodes.
    pub own: i64,
    /// The weights of the preferences that it meets.
    pub affinity: i64,
    /// The taints that are better avoided.
    pub taints: i64,
}

/// The largest of the parts that are relative to the other nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scale {
    pub affinity: i64,
    pub taints: i64,
}

impl Raw {
    /// Whether any of it only counts relative to the other nodes.
    pub(crate) fn is_relative(self) -> bool {
        self.affinity != 0 || self.taints != 0
    }

    pub(crate) fn score(self, scale: Scale) -> i64 {
        let affinity = match scale.affinity {
            0 => 0,
            most => MAX * self.affinity / most,
        };
        let taints = match scale.taints {
            0 => MAX,
            most => MAX - MAX * self.taints / most,
        };
        self.own + AFFINITY_WEIGHT * affinity + TAINT_WEIGHT * taints
    }
}

/// On how many nodes each image is, and how many nodes there are.
#[derive(Debug, Default)]
pub(crate) struct ImageSpread {
    pub nodes: BTreeMap<String, i64>,
    pub total: i64,
}

pub(crate) fn raw(class: &Class, node: &Node, spread: &ImageSpread) -> Raw {
    let met = class
        .preferred
        .iter()
        .filter(|p| term_matches(&p.preference, node));
    let avoided = node.taints.iter().filter(|taint| {
        taint.effect == "PreferNoSchedule" && !tolerates(&class.tolerations, taint)
    });
    Raw {
        own: least_allocated(class, node) + balanced(class, node) + images(class, node, spread),
        affinity: met.map(|p| i64::from(p.weight)).sum(),
        taints: i64::try_from(avoided.count()).unwrap_or(MAX),
    }
}

/// The emptier, the better.
fn least_allocated(class: &Class, node: &Node) -> i64 {
    let (have, used, want) = (&node.allocatable, &node.assumed, &class.assumed);
    let figures = [
        (
            have.cpu_milli,
            used.cpu_milli.saturating_add(want.cpu_milli),
        ),
        (have.memory, used.memory.saturating_add(want.memory)),
    ];
    let (mut sum, mut resources) = (0, 0);
    for (have, used) in figures.into_iter().filter(|(have, _)| *have > 0) {
        resources += 1;
        if used <= have {
            sum += i64::try_from(i128::from(have - used) * i128::from(MAX) / i128::from(have))
                .unwrap_or(0);
        }
    }
    if resources == 0 { 0 } else { sum / resources }
}

/// The closer the shares of processor and memory, the better. A pod that asks for neither
/// changes nothing.
fn balanced(class: &Class, node: &Node) -> i64 {
    let (have, used, want) = (&node.allocatable, &node.requested, &class.requests);
    if (want.cpu_milli == 0 && want.memory == 0) || have.cpu_milli <= 0 || have.memory <= 0 {
        return 0;
    }
    // In millionths, so that no rounding depends on the machine.
    let share = |used: i64, want: i64, have: i64| -> i64 {
        let millionths = (i128::from(used) + i128::from(want)) * 1_000_000 / i128::from(have);
        i64::try_from(millionths.min(1_000_000)).unwrap_or(1_000_000)
    };
    let cpu = share(used.cpu_milli, want.cpu_milli, have.cpu_milli);
    let memory = share(used.memory, want.memory, have.memory);
    let deviation = (cpu - memory).abs() / 2;
    (1_000_000 - deviation) * MAX / 1_000_000
}

/// Images that are there already, for less the fewer nodes have them, so that not all pods go to
/// the one that was first.
fn images(class: &Class, node: &Node, spread: &ImageSpread) -> i64 {
    if class.images.is_empty() || spread.total == 0 {
        return 0;
    }
    let present = class.images.iter().filter_map(|image| {
        let size = node.images.get(image)?;
        let nodes = spread.nodes.get(image).copied().unwrap_or(0);
        Some(
            i64::try_from(i128::from(*size) * i128::from(nodes) / i128::from(spread.total))
                .unwrap_or(0),
        )
    });
    let sum: i64 = present.fold(0, i64::saturating_add);
    let containers = i64::try_from(class.images.len()).unwrap_or(1);
    let large = LARGE_IMAGE.saturating_mul(containers);
    MAX * (sum.clamp(SMALL_IMAGE, large) - SMALL_IMAGE) / (large - SMALL_IMAGE)
}
