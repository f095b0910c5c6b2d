//! `securityContext` of a container over that of its pod.

use super::app_armor;
use crate::config::Layout;
use k8s_openapi::api::core::v1::{
    Capabilities as Wanted, PodSecurityContext, SeccompProfile, SecurityContext,
};
use kabuki_lifecycle::process::ConfigError;
use kabuki_runtime::{Capabilities, Seccomp, default_capabilities};
use std::path::{Component, Path};

/// How far a container is confined.
pub(super) struct Security {
    pub privileged: bool,
    pub no_new_privs: bool,
    pub readonly_root: bool,
    pub capabilities: Capabilities,
    pub seccomp: Seccomp,
    pub app_armor: Option<String>,
    /// `procMount: Unmasked`: nothing of `/proc` is hidden.
    pub unmasked: bool,
}

/// Reads the two contexts.
///
/// # Errors
/// When a seccomp profile of the node cannot be read or named.
pub(super) fn of(
    layout: &Layout,
    pod: Option<&PodSecurityContext>,
    own: Option<&SecurityContext>,
) -> Result<Security, ConfigError> {
    let profile = own.and_then(|c| c.seccomp_profile.as_ref());
    let profile = profile.or(pod.and_then(|c| c.seccomp_profile.as_ref()));
    Ok(Security {
        privileged: own.and_then(|c| c.privileged) == Some(true),
        no_new_privs: own.and_then(|c| c.allow_privilege_escalation) == Some(false),
        readonly_root: own.and_then(|c| c.read_only_root_filesystem) == Some(true),
        capabilities: capabilities(own.and_then(|c| c.capabilities.as_ref())),
        seccomp: seccomp(layout, profile)?,
        app_armor: match own.and_then(|c| c.privileged) {
            Some(true) => None,
            _ => app_armor::profile(pod, own)?,
        },
        unmasked: own.and_then(|c| c.proc_mount.as_deref()) == Some("Unmasked"),
    })
}

/// The default set with what is added, without what is dropped (`drop: [ALL]` first drops all).
fn capabilities(wanted: Option<&Wanted>) -> Capabilities {
    let Some(wanted) = wanted else {
        return Capabilities::Default;
    };
    let named = |list: &Option<Vec<String>>| -> Vec<String> {
        let list = list.iter().flatten();
        list.map(|name| match name.to_uppercase() {
            all if all == "ALL" => all,
            full if full.starts_with("CAP_") => full,
            short => format!("CAP_{short}"),
        })
        .collect()
    };
    let (add, drop) = (named(&wanted.add), named(&wanted.drop));
    let all = |list: &[String]| list.iter().any(|name| name == "ALL");
    let mut set: Vec<String> = match (all(&add), all(&drop)) {
        (true, _) => every_capability(),
        (false, true) => Vec::new(),
        (false, false) => default_capabilities()
            .iter()
            .map(|name| name.to_string())
            .collect(),
    };
    for name in add.iter().filter(|name| *name != "ALL") {
        if !set.contains(name) {
            set.push(name.clone());
        }
    }
    // What is added by name stays also where everything else is dropped.
    set.retain(|name| !drop.contains(name));
    Capabilities::Exactly(set)
}

/// All capabilities that Linux has (`capabilities(7)`).
fn every_capability() -> Vec<String> {
    const ALL: &[&str] = &[
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    ALL.iter().map(|name| format!("CAP_{name}")).collect()
}

fn seccomp(layout: &Layout, profile: Option<&SeccompProfile>) -> Result<Seccomp, ConfigError> {
    let Some(profile) = profile else {
        return Ok(Seccomp::Unconfined);
    };
    match profile.type_.as_str() {
        "RuntimeDefault" => Ok(Seccomp::RuntimeDefault),
        "Localhost" => {
            let name = profile.localhost_profile.as_deref().unwrap_or_default();
            let plain = Path::new(name)
                .components()
                .all(|c| matches!(c, Component::Normal(_)));
            if name.is_empty() || !plain {
                return Err(ConfigError(format!(
                    "seccomp profile {name:?} is not a plain path"
                )));
            }
            let path = layout.seccomp().join(name);
            let read = std::fs::read(&path);
            read.map(Seccomp::Profile).map_err(|error| {
                ConfigError(format!(
                    "cannot load seccomp profile {:?}: {error}",
                    path.display()
                ))
            })
        }
        _ => Ok(Seccomp::Unconfined),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Vec<String> {
        let list = |l: &[&str]| Some(l.iter().map(|s| s.to_string()).collect());
        match capabilities(Some(&Wanted {
            add: list(add),
            drop: list(drop),
        })) {
            Capabilities::Exactly(set) => set,
            Capabilities::Default => vec!["default".to_string()],
        }
    }

    #[test]
    fn capabilities_are_dropped_and_added() {
        assert_eq!(
            set(&["NET_BIND_SERVICE"], &["ALL"]),
            ["CAP_NET_BIND_SERVICE"]
        );
        assert!(set(&["ALL"], &[]).len() > 40);
        let some = set(&["SYS_TIME"], &["CHOWN"]);
        assert!(some.contains(&"CAP_SYS_TIME".to_string()));
        assert!(!some.contains(&"CAP_CHOWN".to_string()));
        assert!(!set(&["ALL"], &["CAP_SYS_ADMIN"]).contains(&"CAP_SYS_ADMIN".to_string()));
    }
}
