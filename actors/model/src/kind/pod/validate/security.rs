//! Security contexts (Kubernetes, "Configure a Security Context for a Pod or Container"). That
//! `runAsNonRoot` meets an image whose user is root is only known when the container starts.

use super::super::super::path::Path;
use super::super::unsupported::{self, refuse};
use super::descending;
use crate::status::Cause;
use k8s_openapi::api::core::v1::{AppArmorProfile, PodSpec, SeccompProfile, SecurityContext};

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
    refuse(unsupported::POD_SECURITY, context, &path, causes);
}

pub(super) fn container(context: &SecurityContext, path: &Path, causes: &mut Vec<Cause>) {
    id(context.run_as_user, &path.child("runAsUser"), causes);
    id(context.run_as_group, &path.child("runAsGroup"), causes);
    if let Some(mount) = &context.proc_mount {
        choice(
            mount,
            &["Default", "Unmasked"],
            &path.child("procMount"),
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
    if profile.type_ != "Localhost" && profile.localhost_profile.is_some() {
        let why = "can only be set when AppArmor type is Localhost";
        causes.push(Cause::invalid(
            path.child("localhostProfile"),
            &profile.localhost_profile,
            why,
        ));
    }
}
