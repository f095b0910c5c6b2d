//! Reading a profile file and settling its conditions for one container.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

use super::SeccompError;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default, rename = "defaultErrno")]
    _default_errno: Option<String>,
    #[serde(default)]
    architectures: Vec<Arch>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<LinuxSeccompFilterFlag>,
    listener_path: Option<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: Arch,
    #[serde(default)]
    sub_architectures: Vec<Arch>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    #[serde(default, rename = "errno")]
    _errno: Option<String>,
    args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
    /// Always met: every kernel that this runtime supports is newer than profiles ask for.
    #[serde(default, rename = "minKernel")]
    _min_kernel: Option<String>,
}

/// The filter that a profile file means for a container with these capabilities.
pub(crate) fn parse(json: &[u8], capabilities: &[String]) -> Result<LinuxSeccomp, SeccompError> {
    let profile: Profile = serde_json::from_slice(json)?;
    if profile.listener_path.is_some() || profile.syscalls.iter().any(notifies) {
        return Err(SeccompError::Unsupported(
            "a notification listener".to_owned(),
        ));
    }
    let mut architectures = profile.architectures;
    for map in profile
        .arch_map
        .iter()
        .filter(|map| map.architecture == native())
    {
        architectures.push(map.architecture);
        architectures.extend(&map.sub_architectures);
    }
    let rules = profile
        .syscalls
        .into_iter()
        .filter(|rule| applies(rule, capabilities));
    let rules = rules.map(settle).collect::<Result<Vec<_>, _>>()?;
    let mut filter = LinuxSeccompBuilder::default()
        .default_action(profile.default_action)
        .architectures(architectures)
        .flags(profile.flags)
        .syscalls(rules);
    if let Some(errno) = profile.default_errno_ret {
        filter = filter.default_errno_ret(errno);
    }
    Ok(filter.build()?)
}

fn notifies(rule: &Rule) -> bool {
    rule.action == LinuxSeccompAction::ScmpActNotify
}

fn applies(rule: &Rule, capabilities: &[String]) -> bool {
    let held = |cap: &String| capabilities.contains(cap);
    let here = |arch: &String| native_names().contains(&arch.as_str());
    let included = rule.includes.caps.iter().all(held)
        && (rule.includes.arches.is_empty() || rule.includes.arches.iter().any(here));
    let excluded = rule.excludes.caps.iter().any(held) || rule.excludes.arches.iter().any(here);
    included && !excluded
}

fn settle(rule: Rule) -> Result<LinuxSyscall, SeccompError> {
    let names: Vec<String> = rule.names.into_iter().chain(rule.name).collect();
    let mut settled = LinuxSyscallBuilder::default()
        .names(names)
        .action(rule.action);
    if let Some(errno) = rule.errno_ret {
        settled = settled.errno_ret(errno);
    }
    if let Some(args) = rule.args.filter(|args| !args.is_empty()) {
        settled = settled.args(args);
    }
    Ok(settled.build()?)
}

fn native() -> Arch {
    if cfg!(target_arch = "x86_64") {
        Arch::ScmpArchX86_64
    } else {
        Arch::ScmpArchAarch64
    }
}

/// The names that profiles use for this machine.
fn native_names() -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") {
        &["amd64", "x86", "x32"]
    } else {
        &["arm64", "arm"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": []},
            {"names": ["chown"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_CHOWN"]}}
        ]}"#;

    #[test]
    fn conditions_are_settled_by_the_containers_capabilities() {
        let count = |caps: &[String]| {
            parse(PROFILE.as_bytes(), caps)
                .unwrap()
                .syscalls()
                .as_ref()
                .unwrap()
                .len()
        };
        assert_eq!((count(&[]), count(&["CAP_CHOWN".to_owned()])), (2, 1));
    }

    #[test]
    fn a_profile_with_an_unknown_field_is_refused() {
        let text = PROFILE.replace("archMap", "archMapp");
        assert!(matches!(
            parse(text.as_bytes(), &[]),
            Err(SeccompError::Json(_))
        ));
    }
}
