//! System call filters: the runtime's default, and profiles that an administrator supplies.
//!
//! A profile file has the format that container runtimes share: an allow or deny list whose
//! entries may depend on the architecture and on the container's capabilities. Those conditions
//! are settled here, so that what reaches the kernel is a plain OCI filter.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

mod profile;
mod syscalls;

pub(crate) use profile::parse;

#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    #[error("seccomp profile is not valid")]
    Json(#[from] serde_json::Error),
    #[error("seccomp profile asks for {0}, which is not supported")]
    Unsupported(String),
    #[error("cannot build the seccomp filter")]
    Build(#[from] oci_spec::OciSpecError),
}

/// The default filter for a container with these capabilities (`CAP_...`): everything not
/// listed fails with `EPERM`.
pub(crate) fn default_filter(capabilities: &[String]) -> Result<LinuxSeccomp, SeccompError> {
    let mut rules = vec![allow(syscalls::ALWAYS)?];
    let native: &[&str] = if cfg!(target_arch = "x86_64") {
        syscalls::X86_64
    } else {
        syscalls::AARCH64
    };
    rules.push(allow(native)?);
    for (capability, names) in syscalls::BY_CAPABILITY {
        if capabilities.iter().any(|held| held == capability) {
            rules.push(allow(names)?);
        }
    }
    rules.extend(conditional(capabilities)?);
    let filter = LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .architectures(architectures())
        .syscalls(rules)
        .build()?;
    Ok(filter)
}

/// The native architecture with those that the same processor also runs.
fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "x86_64") {
        vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
    } else {
        vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]
    }
}

fn allow(names: &[&str]) -> Result<LinuxSyscall, SeccompError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let rule = LinuxSyscallBuilder::default()
        .names(names)
        .action(LinuxSeccompAction::ScmpActAllow);
    Ok(rule.build()?)
}

fn allow_if(name: &str, arg: LinuxSeccompArg) -> Result<LinuxSyscall, SeccompError> {
    let rule = LinuxSyscallBuilder::default()
        .names(vec![name.to_owned()])
        .action(LinuxSeccompAction::ScmpActAllow)
        .args(vec![arg]);
    Ok(rule.build()?)
}

/// System calls whose harmless uses are told from the others by an argument.
fn conditional(capabilities: &[String]) -> Result<Vec<LinuxSyscall>, SeccompError> {
    let mut rules = Vec::new();
    for persona in syscalls::HARMLESS_PERSONALITIES {
        rules.push(allow_if("personality", equal(persona)?)?);
    }
    // Virtual machine sockets reach the hypervisor past every network rule.
    rules.push(allow_if(
        "socket",
        compare(LinuxSeccompOperator::ScmpCmpNe, libc::AF_VSOCK as u64, None)?,
    )?);
    if !capabilities.iter().any(|held| held == "CAP_SYS_ADMIN") {
        // New threads and processes, but no new namespaces.
        let mask = LinuxSeccompOperator::ScmpCmpMaskedEq;
        let rule = compare(mask, syscalls::NAMESPACE_FLAGS, Some(0))?;
        rules.push(allow_if("clone", rule)?);
        // The flags of clone3 are in memory, out of a filter's reach: C libraries fall back to
        // clone when told that it does not exist.
        let clone3 = LinuxSyscallBuilder::default()
            .names(vec!["clone3".to_owned()])
            .action(LinuxSeccompAction::ScmpActErrno)
            .errno_ret(libc::ENOSYS as u32);
        rules.push(clone3.build()?);
    }
    Ok(rules)
}

fn equal(value: u64) -> Result<LinuxSeccompArg, SeccompError> {
    compare(LinuxSeccompOperator::ScmpCmpEq, value, None)
}

fn compare(
    operator: LinuxSeccompOperator,
    value: u64,
    second: Option<u64>,
) -> Result<LinuxSeccompArg, SeccompError> {
    let mut arg = LinuxSeccompArgBuilder::default()
        .index(0usize)
        .value(value)
        .op(operator);
    if let Some(second) = second {
        arg = arg.value_two(second);
    }
    Ok(arg.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(filter: &LinuxSeccomp) -> Vec<&str> {
        let rules = filter.syscalls().as_deref().unwrap_or_default();
        rules
            .iter()
            .flat_map(|rule| rule.names())
            .map(String::as_str)
            .collect()
    }

    #[test]
    fn mount_is_allowed_only_with_the_capability_for_it() {
        let plain = default_filter(&[]).unwrap();
        assert!(!names(&plain).contains(&"mount"));
        let admin = default_filter(&["CAP_SYS_ADMIN".to_owned()]).unwrap();
        assert!(names(&admin).contains(&"mount"));
    }

    #[test]
    fn nothing_dangerous_is_allowed_to_all() {
        for name in [
            "kexec_load",
            "init_module",
            "bpf",
            "ptrace_attach",
            "reboot",
            "keyctl",
        ] {
            assert!(!syscalls::ALWAYS.contains(&name), "{name}");
        }
        for name in ["execve", "openat", "futex", "mmap", "capset", "connect"] {
            assert!(syscalls::ALWAYS.contains(&name), "{name}");
        }
    }
}
