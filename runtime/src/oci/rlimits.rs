//! Resource limits, lowered to what this process may hand on.

use nix::sys::resource::{Resource, getrlimit};
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

use super::OciError;
use crate::spec::{Rlimit, Warnings};

/// Without `CAP_SYS_RESOURCE` a limit above the current hard one makes the creation fail, so
/// such a limit is lowered to it.
pub(super) fn settle(
    limits: &[Rlimit],
    warnings: &mut Warnings,
) -> Result<Vec<PosixRlimit>, OciError> {
    limits.iter().map(|limit| one(limit, warnings)).collect()
}

fn one(limit: &Rlimit, warnings: &mut Warnings) -> Result<PosixRlimit, OciError> {
    let invalid = || OciError::Invalid {
        container: String::new(),
        what: "a resource limit",
        value: limit.name.clone(),
    };
    let typ: PosixRlimitType =
        serde_json::from_value(limit.name.clone().into()).map_err(|_| invalid())?;
    let mut hard = limit.hard;
    if let Some((_, highest)) = current(&limit.name).and_then(|kind| getrlimit(kind).ok())
        && hard > highest
        && !super::capabilities::may_raise_limits()
    {
        warnings.push(format!("{} is limited to the host's {highest}", limit.name));
        hard = highest;
    }
    Ok(PosixRlimitBuilder::default()
        .typ(typ)
        .soft(limit.soft.min(hard))
        .hard(hard)
        .build()?)
}

fn current(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => Resource::RLIMIT_AS,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        "RLIMIT_CPU" => Resource::RLIMIT_CPU,
        "RLIMIT_DATA" => Resource::RLIMIT_DATA,
        "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => Resource::RLIMIT_NICE,
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_RSS" => Resource::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => Resource::RLIMIT_STACK,
        _ => return None,
    })
}
