//! Which pods of a node leave, which stay, and which must not be touched without being asked to.

use super::DrainArgs;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::resolver::Found;
use jiff::Timestamp;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::reference::controller_of;

const DAEMON_SET: &str = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const DAEMON_SET_WARNING: &str = "ignoring DaemonSet-managed Pods";
const LOCAL: &str =
    "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
const LOCAL_WARNING: &str = "deleting Pods with local storage";
const UNMANAGED: &str = "cannot delete Pods that declare no controller (use --force to override)";
const UNMANAGED_WARNING: &str = "deleting Pods that declare no controller";
/// On pods that a node runs without being told to by the control plane.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The pods of a node.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Those that are to leave.
    pub leaving: Vec<Found>,
    /// What is to be said of some of them: `why: namespace/name, ..`.
    pub warnings: Vec<String>,
    /// Why nothing is done at all, in the same form.
    pub refusals: Vec<String>,
}

/// What becomes of one pod.
enum Fate {
    Leaves,
    LeavesWith(&'static str),
    Stays,
    StaysWith(&'static str),
    Refused(&'static str),
}

/// Sorts the pods of a node.
pub(super) fn sort(args: &DrainArgs, pods: Vec<Found>, now: Timestamp) -> Outcome<Sorted> {
    let mut sorted = Sorted::default();
    let (mut warned, mut refused) = (Vec::new(), Vec::new());
    for found in pods {
        let pod = found.object.typed::<Pod>();
        let pod = pod.map_err(|e| Failure::new(format!("{e}: {}", e.source)))?;
        let key = found.key();
        let name = format!("{}/{}", key.namespace, key.name);
        match fate(args, &pod, now) {
            Fate::Leaves => sorted.leaving.push(found),
            Fate::LeavesWith(why) => {
                warned.push((why, name));
                sorted.leaving.push(found);
            }
            Fate::Stays => {}
            Fate::StaysWith(why) => warned.push((why, name)),
            Fate::Refused(why) => refused.push((why, name)),
        }
    }
    sorted.warnings = by_reason(&warned);
    sorted.refusals = by_reason(&refused);
    Ok(sorted)
}

/// One line for each reason, in the order in which they first came up.
fn by_reason(pods: &[(&'static str, String)]) -> Vec<String> {
    let mut reasons: Vec<&str> = Vec::new();
    for (why, _) in pods {
        if !reasons.contains(why) {
            reasons.push(why);
        }
    }
    let line = |why: &str| {
        let names = pods.iter().filter(|(w, _)| *w == why);
        let names: Vec<&str> = names.map(|(_, n)| n.as_str()).collect();
        format!("{why}: {}", names.join(", "))
    };
    reasons.into_iter().map(line).collect()
}

fn fate(args: &DrainArgs, pod: &Pod, now: Timestamp) -> Fate {
    if is_long_gone(args, pod, now) {
        return Fate::Stays;
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|s| s.phase.as_deref());
    let has_ended = matches!(phase, Some("Succeeded" | "Failed"));
    let controller = controller_of(&pod.metadata);
    // What a DaemonSet lost it would start here again at once.
    if !has_ended && controller.is_some_and(|c| c.kind == "DaemonSet") {
        return match args.ignore_daemonsets {
            true => Fate::StaysWith(DAEMON_SET_WARNING),
            false => Fate::Refused(DAEMON_SET),
        };
    }
    let annotations = pod.metadata.annotations.as_ref();
    if annotations.is_some_and(|a| a.contains_key(MIRROR)) {
        return Fate::Stays;
    }
    if has_ended {
        return Fate::Leaves;
    }
    let local = has_local_data(pod);
    if local && !args.delete_emptydir_data {
        return Fate::Refused(LOCAL);
    }
    match (controller.is_some(), args.force, local) {
        (false, false, _) => Fate::Refused(UNMANAGED),
        (false, true, _) => Fate::LeavesWith(UNMANAGED_WARNING),
        (true, _, true) => Fate::LeavesWith(LOCAL_WARNING),
        (true, _, false) => Fate::Leaves,
    }
}

/// Whether nobody waits for the pod any more (`--skip-wait-for-delete-timeout`).
pub(super) fn is_long_gone(args: &DrainArgs, pod: &Pod, now: Timestamp) -> bool {
    let limit = i64::from(args.skip_wait_for_delete_timeout);
    let deleted = pod.metadata.deletion_timestamp.as_ref();
    limit > 0 && deleted.is_some_and(|at| now.duration_since(at.0).as_secs() > limit)
}

fn has_local_data(pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|s| s.volumes.as_ref());
    let mut volumes = volumes.into_iter().flatten();
    volumes.any(|v| v.empty_dir.is_some())
}
