//! Which capabilities a container gets, as far as the host has them to give.

use std::fs;

use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxCapabilitiesBuilder};

use super::OciError;
use crate::spec::{Capabilities, ContainerSpec, Warnings};

/// What container runtimes agree to give to a root process that asks for nothing.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Every capability by the kernel's number.
#[rustfmt::skip] // a table
const ALL: [&str; 41] = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
    "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
    "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The default set, to which a manifest's `add` and `drop` apply.
pub fn default_capabilities() -> Vec<String> {
    DEFAULT.iter().map(|name| (*name).to_owned()).collect()
}

/// A container's capabilities after the host had its say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Held {
    /// `CAP_...` names.
    pub names: Vec<String>,
}

impl Held {
    pub fn of_container(spec: &ContainerSpec, warnings: &mut Warnings) -> Self {
        let host = bounding_set();
        if spec.privileged {
            return Self {
                names: names_of(host),
            };
        }
        let wanted = match &spec.capabilities {
            Capabilities::Default => default_capabilities(),
            Capabilities::Exactly(names) => names.clone(),
        };
        let (names, missing): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|name| {
            ALL.iter()
                .position(|known| known == name)
                .is_some_and(|bit| host & (1 << bit) != 0)
        });
        if !missing.is_empty() && spec.capabilities != Capabilities::Default {
            warnings.push(format!("the host cannot give {}", missing.join(", ")));
        }
        Self { names }
    }
}

fn names_of(set: u64) -> Vec<String> {
    let bits = ALL
        .iter()
        .enumerate()
        .filter(|(bit, _)| set & (1 << bit) != 0);
    bits.map(|(_, name)| (*name).to_owned()).collect()
}

/// What this process may hand on at all.
fn bounding_set() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(u64::MAX)
}

/// True if this process holds `CAP_SYS_RESOURCE`.
pub(super) fn may_raise_limits() -> bool {
    let bit = ALL.iter().position(|name| *name == "CAP_SYS_RESOURCE");
    bit.is_some_and(|bit| bounding_set() & (1 << bit) != 0)
}

/// Effective, permitted and bounding alike; nothing is inheritable or ambient.
pub(crate) fn linux_capabilities(held: &Held) -> Result<LinuxCapabilities, OciError> {
    let set = || -> Result<oci_spec::runtime::Capabilities, OciError> {
        // All names are known here: unknown ones were left out with a warning.
        Ok(held.names.iter().filter_map(|name| parse(name)).collect())
    };
    let mut capabilities = LinuxCapabilitiesBuilder::default()
        .effective(set()?)
        .permitted(set()?)
        .bounding(set()?)
        .build()?;
    capabilities.set_inheritable(None);
    capabilities.set_ambient(None);
    Ok(capabilities)
}

fn parse(name: &str) -> Option<Capability> {
    name.strip_prefix("CAP_")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_of_the_kernel_has_its_oci_counterpart() {
        assert!(ALL.iter().all(|name| parse(name).is_some()));
        assert!(DEFAULT.iter().all(|name| ALL.contains(name)));
    }
}
