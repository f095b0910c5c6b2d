//! The taints that a node is to have, by its conditions.

use super::ready;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::{Node, Taint};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::taint::{
    DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NO_EXECUTE, NO_SCHEDULE, NOT_READY,
    PID_PRESSURE, UNREACHABLE, UNSCHEDULABLE,
};

/// Condition, its status, and the key of the taint that follows.
const MEANING: &[(&str, &str, &str)] = &[
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", MEMORY_PRESSURE),
    ("DiskPressure", "True", DISK_PRESSURE),
    ("NetworkUnavailable", "True", NETWORK_UNAVAILABLE),
    ("PIDPressure", "True", PID_PRESSURE),
];

/// The taints that the node has.
pub(super) fn held(node: &Node) -> &[Taint] {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref());
    taints.unwrap_or_default()
}

/// A taint of a node that is not ready or not reachable.
fn is_of_lost(taint: &Taint) -> bool {
    matches!(taint.key.as_str(), NOT_READY | UNREACHABLE)
}

/// Whether new pods are kept away because the node is lost.
pub(super) fn is_lost(taints: &[Taint]) -> bool {
    taints
        .iter()
        .any(|t| is_of_lost(t) && t.effect == NO_SCHEDULE)
}

/// Whether the taint drives pods away because the node is lost.
pub(super) fn drives_away(taint: &Taint) -> bool {
    is_of_lost(taint) && taint.effect == NO_EXECUTE
}

/// The key of the taint of a node that is lost; `None` of one that is well or has said nothing
/// yet.
pub(super) fn key_of_lost(node: &Node) -> Option<&'static str> {
    match ready(node)?.status.as_str() {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    }
}

/// A taint of the control plane's own.
pub(super) fn made(key: &str, effect: &str, now: Timestamp) -> Taint {
    Taint {
        key: key.to_string(),
        value: None,
        effect: effect.to_string(),
        time_added: Some(Time(now)),
    }
}

/// All that the node is to have but new `NoExecute` taints: what people gave it; `NoSchedule` for
/// what its conditions say now; a `NoExecute` taint that it has already, under the key that fits
/// (pods go on counting from when it was first given); none when it is well.
pub(super) fn settled(node: &Node, now: Timestamp) -> Vec<Taint> {
    let wanted = wanted(node);
    let is_ours = |key: &str| key == UNSCHEDULABLE || MEANING.iter().any(|m| m.2 == key);
    // What a node was registered with stays until it says how it is.
    let silent = ready(node).is_none();
    let mut taints: Vec<Taint> = Vec::new();
    for taint in held(node) {
        let mut taint = taint.clone();
        if drives_away(&taint) && !silent {
            let Some(key) = key_of_lost(node) else {
                continue;
            };
            taint.key = key.to_string();
        }
        let ours = taint.effect == NO_SCHEDULE && is_ours(&taint.key);
        let stays = !ours || wanted.contains(&&*taint.key) || (silent && is_of_lost(&taint));
        let twice = taints
            .iter()
            .any(|t| kabuki_model::taint::is_same(t, &taint));
        if stays && !twice {
            taints.push(taint);
        }
    }
    for key in wanted {
        let has = |t: &Taint| t.key == key && t.effect == NO_SCHEDULE;
        if !taints.iter().any(has) {
            taints.push(made(key, NO_SCHEDULE, now));
        }
    }
    taints
}

/// The keys of the `NoSchedule` taints that the node is to have.
fn wanted(node: &Node) -> Vec<&'static str> {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let mut keys: Vec<&str> = Vec::new();
    for condition in conditions.into_iter().flatten() {
        let means = |m: &&(&str, &str, &str)| m.0 == condition.type_ && m.1 == condition.status;
        keys.extend(MEANING.iter().find(means).map(|m| m.2));
    }
    let closed = node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    keys.extend(closed.then_some(UNSCHEDULABLE));
    keys
}
