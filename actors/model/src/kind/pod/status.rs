//! The rules of a pod's `status`: what the server sets, and what nobody may.

use super::super::path::Path;
use super::defaults::admit_defaults;
use super::resources::qos;
use super::validate::ip;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use std::collections::HashSet;
use std::net::IpAddr;

/// What admission adds to a pod at its creation, and its first status: `Pending`, with its class
/// of service, which never changes again.
pub(super) fn prepare_create(pod: &mut Pod) {
    admit_defaults(pod);
    super::app_armor::fields_from_annotations(pod);
    let spec = pod.spec.get_or_insert_default();
    let status = PodStatus {
        phase: Some("Pending".to_string()),
        qos_class: Some(qos(spec).as_str().to_string()),
        ..PodStatus::default()
    };
    pod.status = Some(status);
}

/// Everything that is wrong with an update of a pod's status.
pub(super) fn validate_status(new: &Pod, old: &Pod) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = Path::Root("status");
    let (empty, unset) = (PodStatus::default(), PodStatus::default());
    let (now, was) = (
        new.status.as_ref().unwrap_or(&empty),
        old.status.as_ref().unwrap_or(&unset),
    );
    // A report that leaves the class out does not claim another.
    if let (Some(class), Some(had)) = (&now.qos_class, &was.qos_class)
        && class != had
    {
        causes.push(Cause::invalid(
            path.child("qosClass"),
            class,
            "field is immutable",
        ));
    }
    if let Some(name) = now.nominated_node_name.as_deref().filter(|n| !n.is_empty()) {
        path.child("nominatedNodeName")
            .check(name, syntax::dns_subdomain(name), &mut causes);
    }
    for (index, condition) in now.conditions.iter().flatten().enumerate() {
        let path = Path::Root("metadata.conditions");
        let name = &condition.type_;
        path.index(index)
            .child("Type")
            .check(name, syntax::qualified_name(name), &mut causes);
    }
    addresses(now, &path, &mut causes);
    let policy = old.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    transitions(now, was, policy.unwrap_or("Always"), &mut causes);
    causes
}

fn addresses(status: &PodStatus, path: &Path, causes: &mut Vec<Cause>) {
    let path = path.child("podIPs");
    let ips: Vec<&str> = status.pod_ips.iter().flatten().map(|p| &*p.ip).collect();
    let mut seen = HashSet::new();
    for (index, address) in ips.iter().enumerate() {
        ip(address, &path.index(index), causes);
        if !seen.insert(address) {
            causes.push(Cause::duplicate(path.index(index), address));
        }
    }
    let of_version_4 = |ip: &&&str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4());
    let version_4 = ips.iter().filter(of_version_4).count();
    if version_4 > 1 || ips.len() - version_4 > 1 {
        let why = "may specify no more than one IP for each IP family";
        causes.push(Cause::invalid(path, &ips, why));
    }
}

/// A container that has ended for good stays so.
fn transitions(new: &PodStatus, old: &PodStatus, restart_policy: &str, causes: &mut Vec<Cause>) {
    if restart_policy == "Always" {
        return;
    }
    let path = Path::Root("status.containerStatuses");
    let terminated = |s: &ContainerStatus| {
        s.state
            .as_ref()
            .and_then(|s| s.terminated.as_ref())
            .map(|t| t.exit_code)
    };
    let now = new.container_statuses.as_deref().unwrap_or_default();
    for (index, was) in old.container_statuses.iter().flatten().enumerate() {
        let Some(exit_code) = terminated(was) else {
            continue;
        };
        if exit_code != 0 && restart_policy == "OnFailure" {
            continue;
        }
        if now
            .iter()
            .any(|s| s.name == was.name && terminated(s).is_none())
        {
            let why = "may not be transitioned to non-terminated state";
            causes.push(Cause::forbidden(path.index(index).child("state"), why));
        }
    }
}

#[cfg(test)]
mod tests;
