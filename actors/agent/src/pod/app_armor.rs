//! AppArmor: whether the kernel enforces profiles, and the one that a container asks for.
//!
//! A profile must be loaded before a program can be put under it. Those of the manifest are the
//! machine's to load; the default one is this program's own, and is loaded when it is first
//! needed, with AppArmor's own tool.

use k8s_openapi::api::core::v1::{AppArmorProfile, PodSecurityContext, SecurityContext};
use kabuki_lifecycle::process::ConfigError;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// One line for each profile: `NAME (MODE)`.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
const DEFAULT: &str = "kabuki-default";
/// What container runtimes forbid by default: kernel interfaces, mounts, and tracing of others.
const DEFAULT_TEXT: &str = "\
profile kabuki-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (send,receive) peer=kabuki-default,
  ptrace (trace,read,tracedby,readby) peer=kabuki-default,
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,
  deny mount,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
";

/// Whether this kernel enforces profiles.
pub(super) fn is_enforced() -> bool {
    fs::read_to_string(ENABLED).is_ok_and(|text| text.trim() == "Y")
}

/// The profile that a container is put under. Blocking.
///
/// # Errors
/// When it is not loaded and cannot be.
pub(super) fn profile(
    pod: Option<&PodSecurityContext>,
    own: Option<&SecurityContext>,
) -> Result<Option<String>, ConfigError> {
    let asked = own.and_then(|c| c.app_armor_profile.as_ref());
    let asked = asked.or(pod.and_then(|c| c.app_armor_profile.as_ref()));
    let Some(name) = name(asked) else {
        return Ok(None);
    };
    let loaded = fs::read_to_string(LOADED).unwrap_or_default();
    if !is_loaded(&name, &loaded) {
        if name != DEFAULT {
            let text =
                format!("failed to apply apparmor profile: {name:?} is not loaded on this node");
            return Err(ConfigError(text));
        }
        load_default().map_err(|why| {
            ConfigError(format!("cannot load the default apparmor profile: {why}"))
        })?;
    }
    Ok(Some(name))
}

fn name(asked: Option<&AppArmorProfile>) -> Option<String> {
    let asked = asked?;
    match asked.type_.as_str() {
        "RuntimeDefault" => Some(DEFAULT.to_string()),
        "Localhost" => asked.localhost_profile.clone(),
        _ => None,
    }
}

fn is_loaded(name: &str, loaded: &str) -> bool {
    let names = loaded.lines().filter_map(|line| line.rsplit_once(" ("));
    names.into_iter().any(|(held, _)| held == name)
}

fn load_default() -> Result<(), String> {
    let mut parser = Command::new("apparmor_parser")
        .args(["--replace", "--skip-cache"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("apparmor_parser: {error}"))?;
    if let Some(mut input) = parser.stdin.take() {
        // What it could not read, it complains of.
        let _ = input.write_all(DEFAULT_TEXT.as_bytes());
    }
    let ended = parser.wait_with_output().map_err(|e| e.to_string())?;
    match ended.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ended.stderr).trim().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_profile_goes_before_the_pods() {
        let asked = |kind: &str, file: Option<&str>| AppArmorProfile {
            type_: kind.to_string(),
            localhost_profile: file.map(str::to_string),
        };
        assert_eq!(name(None), None);
        assert_eq!(name(Some(&asked("Unconfined", None))), None);
        let default = asked("RuntimeDefault", None);
        assert_eq!(name(Some(&default)).as_deref(), Some(DEFAULT));
        let local = asked("Localhost", Some("deny-write"));
        assert_eq!(name(Some(&local)).as_deref(), Some("deny-write"));
        let (pod, own) = (
            PodSecurityContext {
                app_armor_profile: Some(local),
                ..PodSecurityContext::default()
            },
            SecurityContext {
                app_armor_profile: Some(asked("Unconfined", None)),
                ..SecurityContext::default()
            },
        );
        assert_eq!(profile(Some(&pod), Some(&own)).expect("none"), None);
    }

    #[test]
    fn loaded_profiles_are_found_by_their_whole_name() {
        let loaded = "docker-default (enforce)\n/usr/bin/man (my mode) (complain)\n";
        assert!(is_loaded("docker-default", loaded));
        assert!(is_loaded("/usr/bin/man (my mode)", loaded));
        assert!(!is_loaded("docker", loaded));
    }
}
