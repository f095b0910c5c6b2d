//! Security contexts (Kubernetes, "Configure a Security Context for a Pod or Container"). That
//! `runAsNonRoot` meets an image whose user is root is only known when the container starts.

use super::super::super::path::Path;
use super::super::unsupported::{self, refuse};
use super::descending;
use crate::status::Cause;
use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};
use std::collections::HashSet;

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

pub(super) fn pod(spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        causes.push(Cause::invalid(
            path.child("shareProcessNamespace"),
            true,
            why,
        ));
    }
    own_users(spec, path, causes);
    let Some(context) = &spec.security_context else {
        return;
    };
    let path = path.child("securityContext");
    id(context.fs_group, &path.child("fsGroup"), causes);
    id(context.run_as_user, &path.child("runAsUser"), causes);
    id(context.run_as_group, &path.child("runAsGroup"), causes);
    for (index, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(
            Some(*group),
            &path.child("supplementalGroups").index(index),
            causes,
        );
    }
    if let Some(policy) = &context.fs_group_change_policy {
        let allowed = &["Always", "OnRootMismatch"];
        choice(policy, allowed, &path.child("fsGroupChangePolicy"), causes);
    }
    if let Some(policy) = &context.supplemental_groups_policy {
        choice(
            policy,
            &["Merge", "Strict"],
            &path.child("supplementalGroupsPolicy"),
            causes,
        );
    }
    seccomp(
        context.seccomp_profile.as_ref(),
        &path.child("seccompProfile"),
        causes,
    );
    app_armor(
        context.app_armor_profile.as_ref(),
        &path.child("appArmorProfile"),
        causes,
    );
    sysctls(spec, context, &path, causes);
    refuse(unsupported::POD_SECURITY, context, &path, causes);
}

/// A pod with users of its own shares no other namespace with its node (Kubernetes, "User
/// Namespaces").
fn own_users(spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    if spec.host_users != Some(false) {
        return;
    }
    let shared = [
        ("hostNetwork", spec.host_network),
        ("hostPID", spec.host_pid),
        ("hostIPC", spec.host_ipc),
    ];
    for (field, _) in shared.iter().filter(|(_, shared)| *shared == Some(true)) {
        let why = "when `pod.Spec.HostUsers` is false";
        causes.push(Cause::forbidden(path.child(field), why));
    }
}

/// Kernel parameters: well-formed names, each once, and none that belongs to a namespace which the
/// pod shares with its node. Whether a node sets it is the node's business.
fn sysctls(spec: &PodSpec, context: &PodSecurityContext, path: &Path, causes: &mut Vec<Cause>) {
    let path = path.child("sysctls");
    let mut names = HashSet::new();
    for (index, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let at = path.index(index);
        let at = at.child("name");
        let name = sysctl.name.replace('/', ".");
        if name.is_empty() {
            causes.push(Cause::required(at, ""));
            continue;
        }
        let edge =
            |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let part = |p: &str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            edge(p.chars().next()) && edge(p.chars().last()) && p.chars().all(inner)
        };
        if name.len() > 253 || !name.split('.').all(part) {
            let why = "must have at most 253 characters and match regex \
                ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9][-_a-z0-9]*[a-z0-9]$";
            causes.push(Cause::invalid(at, &sysctl.name, why));
        } else if !names.insert(name.clone()) {
            causes.push(Cause::duplicate(at, &sysctl.name));
        } else if spec.host_network == Some(true) && name.starts_with("net.") {
            let why = "may not be specified when 'hostNetwork' is true";
            causes.push(Cause::invalid(at, &sysctl.name, why));
        } else if spec.host_ipc == Some(true)
            && (name.starts_with("kernel.") || name.starts_with("fs.mqueue."))
        {
            let why = "may not be specified when 'hostIPC' is true";
            causes.push(Cause::invalid(at, &sysctl.name, why));
        }
    }
}

pub(super) fn container(
    spec: &PodSpec,
    context: &SecurityContext,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    id(context.run_as_user, &path.child("runAsUser"), causes);
    id(context.run_as_group, &path.child("runAsGroup"), causes);
    if let Some(mount) = &context.proc_mount {
        choice(
            mount,
            &["Default", "Unmasked"],
            &path.child("procMount"),
            causes,
        );
        if mount == "Unmasked" && spec.host_users != Some(false) {
            let why = "`hostUsers` must be false to use `Unmasked`";
            causes.push(Cause::invalid(path.child("procMount"), mount, why));
        }
    }
    seccomp(
        context.seccomp_profile.as_ref(),
        &path.child("seccompProfile"),
        causes,
    );
    app_armor(
        context.app_armor_profile.as_ref(),
        &path.child("appArmorProfile"),
        causes,
    );
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            causes.push(Cause::invalid(path, context, why));
        }
        let added = context
            .capabilities
            .iter()
            .flat_map(|c| c.add.iter().flatten());
        for _ in added.filter(|c| *c == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            causes.push(Cause::invalid(path, context, why));
        }
    }
    refuse(unsupported::SECURITY, context, path, causes);
}

/// Users and groups have 32 bits.
fn id(id: Option<i64>, path: &Path, causes: &mut Vec<Cause>) {
    if let Some(id) = id {
        path.in_range(id, 0, i64::from(u32::MAX), causes);
    }
}

/// One of the allowed texts; an empty one is none of them.
fn choice(value: &str, allowed: &[&str], path: &Path, causes: &mut Vec<Cause>) {
    if !allowed.contains(&value) {
        causes.push(Cause::unsupported(path, value, allowed));
    }
}

fn seccomp(profile: Option<&SeccompProfile>, path: &Path, causes: &mut Vec<Cause>) {
    let Some(profile) = profile else { return };
    match &*profile.type_ {
        "" => {
            let why = "type is required when seccompProfile is set";
            causes.push(Cause::required(path.child("type"), why));
        }
        other => choice(other, PROFILES, &path.child("type"), causes),
    }
    let at = path.child("localhostProfile");
    match (&*profile.type_, &profile.localhost_profile) {
        ("Localhost", None) => {
            causes.push(Cause::required(
                at,
                "must be set when seccomp type is Localhost",
            ));
        }
        ("Localhost", Some(file)) => descending(file, &at, causes),
        (_, Some(_)) => {
            let why = "can only be set when seccomp type is Localhost";
            causes.push(Cause::invalid(at, profile, why));
        }
        (_, None) => {}
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, path: &Path, causes: &mut Vec<Cause>) {
    let Some(profile) = profile else { return };
    match &*profile.type_ {
        "" => {
            let why = "type is required when appArmorProfile is set";
            causes.push(Cause::required(path.child("type"), why));
        }
        other => choice(other, PROFILES, &path.child("type"), causes),
    }
    let (at, localhost) = (path.child("localhostProfile"), &profile.localhost_profile);
    match (&*profile.type_, localhost.as_deref()) {
        ("Localhost", None | Some("")) => {
            let why = "must be set when AppArmor type is Localhost";
            causes.push(Cause::required(at, why));
        }
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                let why = "must not be padded with whitespace";
                causes.push(Cause::invalid(at, name, why));
            } else if name.len() > 4095 {
                causes.push(Cause::too_long(at, 4095));
            }
        }
        (_, Some(_)) => {
            let why = "can only be set when AppArmor type is Localhost";
            causes.push(Cause::invalid(at, localhost, why));
        }
        (_, None) => {}
    }
}
