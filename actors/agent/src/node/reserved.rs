//! What a node keeps for itself (Kubernetes, "Reserve Compute Resources for System Daemons").

use crate::config::Reserved;
use kabuki_lifecycle::process::NodeResources;

/// Pods may not use the last 100 MiB: below that the node would be under pressure.
pub(super) const MEMORY_THRESHOLD: i64 = 100 << 20;
/// Nor this part of the disk.
pub(super) const DISK_THRESHOLD_PERCENT: i64 = 10;

/// More is kept than the machine has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kept} of {resource} are kept for the system, but this machine has {has}: lower \
     --system-reserved or --kube-reserved"
)]
pub struct ReservedError {
    resource: &'static str,
    kept: i64,
    has: i64,
}

/// What the node gives to pods: all that it has, without what is kept for the system and for the
/// node itself, and without what is left when the node comes under pressure.
///
/// # Errors
/// When more is kept than there is.
pub(crate) fn allocatable(
    has: &NodeResources,
    kept: &[Reserved],
) -> Result<NodeResources, ReservedError> {
    let left = |resource, has: i64, kept: i64, threshold: i64| match kept > has {
        true => Err(ReservedError {
            resource,
            kept,
            has,
        }),
        false => Ok((has - kept).saturating_sub(threshold).max(0)),
    };
    let sum = |of: fn(&Reserved) -> i64| kept.iter().map(of).fold(0, i64::saturating_add);
    let disk = has.ephemeral_storage / 100 * DISK_THRESHOLD_PERCENT;
    // Memory that is set apart as huge pages can be used as nothing else.
    let huge = has
        .hugepages
        .values()
        .fold(0, |a: i64, b| a.saturating_add(*b));
    Ok(NodeResources {
        cpu_milli: left("cpu (thousandths)", has.cpu_milli, sum(|r| r.cpu_milli), 0)?,
        memory: left(
            "memory (bytes)",
            has.memory,
            sum(|r| r.memory),
            MEMORY_THRESHOLD.saturating_add(huge),
        )?,
        ephemeral_storage: left(
            "ephemeral-storage (bytes)",
            has.ephemeral_storage,
            sum(|r| r.ephemeral_storage),
            disk,
        )?,
        hugepages: has.hugepages.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    #[test]
    fn pods_get_what_is_left() {
        let has = NodeResources {
            cpu_milli: 4000,
            memory: 8 * GIB,
            ephemeral_storage: 1000,
            ..NodeResources::default()
        };
        let system = Reserved {
            cpu_milli: 500,
            memory: GIB,
            ephemeral_storage: 100,
        };
        let kube = Reserved {
            cpu_milli: 250,
            ..Reserved::default()
        };
        let left = allocatable(&has, &[system.clone(), kube]).expect("enough");
        assert_eq!(left.cpu_milli, 3250);
        assert_eq!(left.memory, 7 * GIB - (100 << 20));
        assert_eq!(left.ephemeral_storage, 800);
        let mut huge = has.clone();
        huge.hugepages.insert("hugepages-1Gi".to_string(), GIB);
        let left = allocatable(&huge, &[]).expect("enough");
        assert_eq!(left.memory, 7 * GIB - (100 << 20));
        assert_eq!(left.hugepages, huge.hugepages);
        let small = NodeResources {
            memory: GIB + 1,
            ..has.clone()
        };
        let left = allocatable(&small, std::slice::from_ref(&system)).expect("just enough");
        assert_eq!(left.memory, 0, "the threshold is not owed");
        let tiny = NodeResources { memory: 5, ..has };
        let error = allocatable(&tiny, &[system]).expect_err("too much");
        assert!(
            error
                .to_string()
                .starts_with("1073741824 of memory (bytes) are kept"),
            "{error}"
        );
    }
}
