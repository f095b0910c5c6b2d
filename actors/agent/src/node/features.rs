//! What this node's runtime offers beyond what every one does, as the Node's status tells it
//! (Kubernetes, "Node Status": runtime handlers and features).

use crate::pod::HANDLERS;
use serde_json::{Value, json};

/// The first kernel that maps the ids of files in memory, which every pod has.
const MAPS_IDS: (u32, u32) = (6, 3);

/// Whether pods may have users of their own.
pub(crate) struct OwnUsers {
    /// How many user namespaces there may be.
    pub limit: u64,
    /// Whether the kernel gives files other owners in a mount.
    pub maps_ids: bool,
}

impl OwnUsers {
    /// Asks the kernel.
    pub fn read() -> Self {
        let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let limit = line("/proc/sys/user/max_user_namespaces");
        Self::of(&limit, &line("/proc/sys/kernel/osrelease"))
    }

    fn of(limit: &str, release: &str) -> Self {
        Self {
            limit: limit.trim().parse().unwrap_or(0),
            maps_ids: version(release) >= MAPS_IDS,
        }
    }

    /// Whether `hostUsers: false` works.
    pub fn are_possible(&self) -> bool {
        self.limit > 0 && self.maps_ids
    }
}

/// Major and minor number of a kernel's release.
pub(crate) fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .trim()
        .split(['.', '-'])
        .map_while(|n| n.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// `runtimeHandlers`: the default one, which has no name, and those that a RuntimeClass may name.
/// They are the same runtime, which makes mounts read-only with all that is below them on every
/// kernel that it runs on.
pub(super) fn handlers(users: &OwnUsers) -> Value {
    let names = [""].into_iter().chain(HANDLERS.iter().copied());
    let handler = |name: &str| {
        json!({"name": name, "features": {
            "recursiveReadOnlyMounts": true, "userNamespaces": users.are_possible(),
        }})
    };
    Value::Array(names.map(handler).collect())
}

/// `features`: groups are `Strict` where a pod wants it, and statuses say who containers run as.
pub(super) fn features() -> Value {
    json!({"supplementalGroupsPolicy": true})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_their_own_need_namespaces_and_a_kernel_that_maps_ids() {
        let possible = |limit: &str, release: &str| OwnUsers::of(limit, release).are_possible();
        assert!(possible("96365\n", "6.18.0-1-amd64\n"));
        assert!(possible("1", "6.3.0"));
        assert!(!possible("0\n", "6.18.0"));
        assert!(!possible("", "6.18.0"));
        assert!(!possible("96365", "6.1.0-18-amd64"));
        assert!(!possible("96365", "5.10.0"));
    }

    #[test]
    fn every_name_of_the_runtime_offers_the_same() {
        let of = |release: &str| handlers(&OwnUsers::of("1", release));
        let new = of("6.18.0");
        let names = new.as_array().expect("a list").iter().map(|h| &h["name"]);
        assert_eq!(names.collect::<Vec<_>>(), ["", "kabuki", "runc"]);
        let offers = |list: &Value, users: bool| {
            let wanted = json!({"recursiveReadOnlyMounts": true, "userNamespaces": users});
            let mut handlers = list.as_array().into_iter().flatten();
            handlers.all(|h| h["features"] == wanted)
        };
        assert!(offers(&new, true));
        assert!(offers(&of("6.1.0"), false));
    }
}
