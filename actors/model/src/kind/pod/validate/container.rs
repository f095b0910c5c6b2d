//! Containers: names, images, ports.

use super::super::super::path::Path;
use super::super::unsupported::{self, refuse};
use super::volume::{self, Volumes};
use super::{Context, env, ephemeral, probe, resize, resources, restart, security};
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{Container, ContainerPort};
use std::collections::HashSet;

/// A port's name (RFC 6335, section 5.1), in bytes.
const PORT_NAME_BYTES: usize = 15;

/// All containers. No two have the same name, of whatever kind they are.
pub(super) fn containers(
    context: Context,
    volumes: &Volumes,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    let spec = context.spec;
    let mut names = HashSet::new();
    let at = path.child("containers");
    if spec.containers.is_empty() {
        causes.push(Cause::required(at, ""));
    }
    for (index, container) in spec.containers.iter().enumerate() {
        let path = at.index(index);
        self::container(context, container, true, volumes, &path, causes);
        unique(&container.name, &mut names, &path, causes);
    }
    host_ports(&spec.containers, &at, causes);
    let init = path.child("initContainers");
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = init.index(index);
        // One with this policy accompanies the others, so it has probes and hooks as they do.
        let stays = container.restart_policy.as_deref() == Some("Always");
        self::container(context, container, stays, volumes, &path, causes);
        unique(&container.name, &mut names, &path, causes);
    }
    ephemeral::containers(context, volumes, &mut names, path, causes);
}

fn unique<'a>(name: &'a str, names: &mut HashSet<&'a str>, path: &Path, causes: &mut Vec<Cause>) {
    if !names.insert(name) && !name.is_empty() {
        causes.push(Cause::duplicate(path.child("name"), name));
    }
}

/// One container; `stays` unless it is an init container that runs to its end.
pub(super) fn container(
    context: Context,
    container: &Container,
    stays: bool,
    volumes: &Volumes,
    path: &Path,
    causes: &mut Vec<Cause>,
) {
    match &*container.name {
        "" => causes.push(Cause::required(path.child("name"), "")),
        name => path
            .child("name")
            .check(name, syntax::dns_label(name), causes),
    }
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        causes.push(Cause::required(path.child("image"), ""));
    } else if context.is_pod && image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        causes.push(Cause::invalid(path.child("image"), image, why));
    }
    path.child("imagePullPolicy").one_of(
        container.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
        causes,
    );
    path.child("terminationMessagePolicy").one_of(
        container.termination_message_policy.as_deref(),
        &["File", "FallbackToLogsOnError"],
        causes,
    );
    ports(
        context,
        container.ports.as_deref().unwrap_or_default(),
        &path.child("ports"),
        causes,
    );
    env::variables(
        container.env.as_deref().unwrap_or_default(),
        &path.child("env"),
        causes,
    );
    env::sources(
        container.env_from.as_deref().unwrap_or_default(),
        &path.child("envFrom"),
        causes,
    );
    volume::mounts(container, volumes, &path.child("volumeMounts"), causes);
    if let Some(requirements) = &container.resources {
        resources::requirements(requirements, &path.child("resources"), causes);
    }
    if let Some(security_context) = &container.security_context {
        security::container(
            context.spec,
            security_context,
            &path.child("securityContext"),
            causes,
        );
    }
    probe::of_container(context, container, stays, path, causes);
    restart::policy(container, path, causes);
    resize::policy(context.spec, container, stays, path, causes);
    refuse(unsupported::CONTAINER, container, path, causes);
}

fn ports(context: Context, ports: &[ContainerPort], path: &Path, causes: &mut Vec<Cause>) {
    let mut names = HashSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            let found = causes.len();
            port_name(name, &path.child("name"), causes);
            if causes.len() == found && !names.insert(name) {
                causes.push(Cause::duplicate(path.child("name"), name));
            }
        }
        match port.container_port {
            0 => causes.push(Cause::required(path.child("containerPort"), "")),
            number => path
                .child("containerPort")
                .in_range(number.into(), 1, 65535, causes),
        }
        let host_port = port.host_port.unwrap_or_default();
        if host_port != 0 {
            path.child("hostPort")
                .in_range(host_port.into(), 1, 65535, causes);
        }
        path.child("protocol")
            .one_of(port.protocol.as_deref(), &["SCTP", "TCP", "UDP"], causes);
        if !context.host_network() {
            refuse(unsupported::PORT, port, &path, causes);
            continue;
        }
        refuse(unsupported::HOST_NETWORK_PORT, port, &path, causes);
        // A template may leave it out: its pods get the default.
        if (context.is_pod || host_port != 0) && host_port != port.container_port {
            let why = "must match `containerPort` when `hostNetwork` is true";
            causes.push(Cause::invalid(path.child("hostPort"), host_port, why));
        }
    }
}

pub(super) fn port_name(name: &str, path: &Path, causes: &mut Vec<Cause>) {
    let rules = [
        (
            name.len() <= PORT_NAME_BYTES,
            "must be no more than 15 bytes",
        ),
        (
            name.bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-'),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (
            name.bytes().any(|c| c.is_ascii_lowercase()),
            "must contain at least one letter (a-z)",
        ),
        (!name.contains("--"), "must not contain consecutive hyphens"),
        (
            !name.starts_with('-') && !name.ends_with('-'),
            "must not begin or end with a hyphen",
        ),
    ];
    for (_, why) in rules.into_iter().filter(|(holds, _)| !holds) {
        causes.push(Cause::invalid(path, name, why));
    }
}

/// No two containers take the same port of the host.
fn host_ports(containers: &[Container], path: &Path, causes: &mut Vec<Cause>) {
    let mut taken = HashSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(number) = port.host_port.filter(|p| *p != 0) else {
                continue;
            };
            let protocol = port.protocol.as_deref().unwrap_or_default();
            let ip = port.host_ip.as_deref().unwrap_or_default();
            let host_port = format!("{protocol}/{ip}/{number}");
            if taken.contains(&host_port) {
                causes.push(Cause::duplicate(
                    path.index(index).child("hostPort"),
                    host_port,
                ));
            } else {
                taken.insert(host_port);
            }
        }
    }
}
