//! Ephemeral containers (Kubernetes, "Ephemeral Containers").

use super::super::super::path::Path;
use super::volume::Volumes;
use super::{Context, container};
use crate::status::Cause;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, VolumeMount};
use std::collections::HashSet;

const WHY: &str = "cannot be set for an Ephemeral Container";

/// The ephemeral containers of a pod, whose other containers have `names`. A template has none.
pub(super) fn containers<'a>(
    context: Context<'a>,
    volumes: &Volumes,
    names: &mut HashSet<&'a str>,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let added = context.spec.ephemeral_containers.as_deref();
    let added = added.unwrap_or_default();
    let path = path.child("ephemeralContainers");
    if !context.is_pod && !added.is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        return causes.push(Cause::forbidden(path, why));
    }
    let targets: HashSet<&str> = names.iter().copied().collect();
    for (index, one) in added.iter().enumerate() {
        let path = path.index(index);
        let plain = shared(one);
        container::container(context, &plain, true, volumes, &path, causes);
        if !names.insert(&one.name) {
            causes.push(Cause::duplicate(path.child("name"), &one.name));
        }
        if let Some(target) = one.target_container_name.as_deref()
            && !target.is_empty()
            && !targets.contains(target)
        {
            causes.push(Cause::not_found(path.child("targetContainerName"), target));
        }
        never(one, &path, causes);
    }
}

/// What makes no sense for a container that nobody sends work to and that never restarts.
fn never(one: &EphemeralContainer, path: &Path, causes: &mut Vec<Cause>) {
    let resources = one.resources.as_ref();
    for (field, set) in [
        ("ports", one.ports.as_ref().is_some_and(|p| !p.is_empty())),
        ("livenessProbe", one.liveness_probe.is_some()),
        ("readinessProbe", one.readiness_probe.is_some()),
        ("startupProbe", one.startup_probe.is_some()),
        ("lifecycle", one.lifecycle.is_some()),
        (
            "resources",
            resources.is_some_and(|r| *r != Default::default()),
        ),
        (
            "resizePolicy",
            one.resize_policy.as_ref().is_some_and(|p| !p.is_empty()),
        ),
        ("restartPolicy", one.restart_policy.is_some()),
        ("restartPolicyRules", one.restart_policy_rules.is_some()),
    ] {
        if set {
            causes.push(Cause::forbidden(path.child(field), WHY));
        }
    }
    let path = path.child("volumeMounts");
    for (index, mount) in one.volume_mounts.iter().flatten().enumerate() {
        let set = |m: &VolumeMount| [m.sub_path.clone(), m.sub_path_expr.clone()];
        let fields = ["subPath", "subPathExpr"].into_iter().zip(set(mount));
        for (field, _) in fields.filter(|(_, v)| v.as_ref().is_some_and(|v| !v.is_empty())) {
            causes.push(Cause::forbidden(path.index(index).child(field), WHY));
        }
    }
}

/// What it shares with other containers.
fn shared(one: &EphemeralContainer) -> Container {
    let one = one.clone();
    Container {
        name: one.name,
        args: one.args,
        command: one.command,
        env: one.env,
        env_from: one.env_from,
        image: one.image,
        image_pull_policy: one.image_pull_policy,
        security_context: one.security_context,
        stdin: one.stdin,
        stdin_once: one.stdin_once,
        termination_message_path: one.termination_message_path,
        termination_message_policy: one.termination_message_policy,
        tty: one.tty,
        volume_devices: one.volume_devices,
        volume_mounts: one.volume_mounts,
        working_dir: one.working_dir,
        ..Container::default()
    }
}
