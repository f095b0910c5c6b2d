//! `v1` `Node` (Kubernetes, "Nodes").

mod labels;

pub use labels::may_label_itself;

use super::rules::{Column, KindRules, Names};
use crate::printing::{self, NONE, UNKNOWN};
use crate::quantity::Quantity;
use crate::status::Cause;
use crate::syntax;
use crate::taint::EFFECTS;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::jiff::Timestamp;
use std::net::IpAddr;

pub(super) struct NodeRules;

impl KindRules for NodeRules {
    type Object = Node;

    const NAMES: Names = Names {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short: &["no"],
        categories: &[],
        group: "",
        version: "v1",
        namespaced: false,
    };
    const HAS_STATUS: bool = true;
    const STATUS_ON_CREATE: bool = true;
    const FIELDS: &'static [&'static str] = &["spec.unschedulable"];

    fn default(object: &mut Node) {
        if let Some(spec) = &mut object.spec {
            let ranges = spec.pod_cidrs.clone().unwrap_or_default();
            match (&spec.pod_cidr, ranges.first()) {
                (Some(one), None) if !one.is_empty() => spec.pod_cidrs = Some(vec![one.clone()]),
                (None, Some(first)) => spec.pod_cidr = Some(first.clone()),
                _ => {}
            }
        }
        if let Some(status) = &mut object.status
            && status.allocatable.is_none()
        {
            status.allocatable = status.capacity.clone();
        }
    }

    fn validate(object: &Node) -> Vec<Cause> {
        let mut causes = Vec::new();
        if let Some(spec) = &object.spec {
            validate_taints(spec.taints.as_deref().unwrap_or_default(), &mut causes);
            let ranges = spec.pod_cidrs.as_deref().unwrap_or_default();
            for (index, range) in ranges.iter().enumerate().filter(|(_, r)| !is_cidr(r)) {
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                causes.push(Cause::invalid(
                    format!("spec.podCIDRs[{index}]"),
                    range,
                    why,
                ));
            }
            if let (Some(one), Some(first)) = (&spec.pod_cidr, ranges.first())
                && one != first
            {
                let why = "must be the first of podCIDRs";
                causes.push(Cause::invalid("spec.podCIDR", one, why));
            }
        }
        causes.extend(status_causes(object));
        causes
    }

    fn validate_update(new: &Node, old: &Node) -> Vec<Cause> {
        let mut causes = Vec::new();
        let (new, old) = (
            new.spec.clone().unwrap_or_default(),
            old.spec.clone().unwrap_or_default(),
        );
        let old_ranges = old.pod_cidrs.unwrap_or_default();
        if !old_ranges.is_empty() && new.pod_cidrs.unwrap_or_default() != old_ranges {
            causes.push(Cause::forbidden(
                "spec.podCIDRs",
                "node updates may not change podCIDR except from \"\" to valid",
            ));
        }
        let provider = old.provider_id.unwrap_or_default();
        if !provider.is_empty() && new.provider_id.unwrap_or_default() != provider {
            causes.push(Cause::forbidden(
                "spec.providerID",
                "node updates may not change providerID except from \"\" to valid",
            ));
        }
        causes
    }

    fn validate_status(new: &Node, _old: &Node) -> Vec<Cause> {
        status_causes(new)
    }

    fn fields(object: &Node) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", unschedulable(object).to_string())]
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("STATUS"),
            Column::new("ROLES"),
            Column::new("AGE"),
            Column::new("VERSION"),
            Column::wide("INTERNAL-IP"),
            Column::wide("EXTERNAL-IP"),
            Column::wide("OS-IMAGE"),
            Column::wide("KERNEL-VERSION"),
            Column::wide("CONTAINER-RUNTIME"),
        ];
        COLUMNS
    }

    fn row(object: &Node, now: Timestamp) -> Vec<String> {
        let info = object
            .status
            .as_ref()
            .and_then(|s| s.node_info.clone())
            .unwrap_or_default();
        let known = |text: String| {
            if text.is_empty() {
                UNKNOWN.to_string()
            } else {
                text
            }
        };
        vec![
            printing::name(&object.metadata),
            readiness(object),
            roles(object),
            printing::creation_age(&object.metadata, now),
            info.kubelet_version,
            address(object, "InternalIP"),
            address(object, "ExternalIP"),
            known(info.os_image),
            known(info.kernel_version),
            known(info.container_runtime_version),
        ]
    }
}

fn unschedulable(object: &Node) -> bool {
    object
        .spec
        .as_ref()
        .and_then(|s| s.unschedulable)
        .unwrap_or(false)
}

fn readiness(object: &Node) -> String {
    let conditions = object.status.as_ref().and_then(|s| s.conditions.as_deref());
    let ready = conditions.and_then(|c| c.iter().find(|c| c.type_ == "Ready"));
    let shown = match ready.map(|c| c.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match unschedulable(object) {
        true => format!("{shown},SchedulingDisabled"),
        false => shown.to_string(),
    }
}

fn roles(object: &Node) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in object.metadata.labels.iter().flatten() {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => role,
            None if key == "kubernetes.io/role" => value,
            None => continue,
        };
        if !role.is_empty() {
            roles.push(role);
        }
    }
    roles.sort_unstable();
    roles.dedup();
    printing::list(roles)
}

fn address(object: &Node, kind: &str) -> String {
    let addresses = object.status.as_ref().and_then(|s| s.addresses.as_deref());
    addresses
        .and_then(|a| a.iter().find(|a| a.type_ == kind))
        .map_or_else(|| NONE.to_string(), |a| a.address.clone())
}

fn validate_taints(taints: &[Taint], causes: &mut Vec<Cause>) {
    for (index, taint) in taints.iter().enumerate() {
        let at = format!("spec.taints[{index}]");
        if let Some(why) = syntax::qualified_name(&taint.key) {
            causes.push(Cause::invalid(format!("{at}.key"), &taint.key, &why));
        }
        let value = taint.value.as_deref().unwrap_or_default();
        if let Some(why) = syntax::label_value(value) {
            causes.push(Cause::invalid(format!("{at}.value"), value, &why));
        }
        match taint.effect.as_str() {
            "" => causes.push(Cause::required(format!("{at}.effect"), "")),
            effect if !EFFECTS.contains(&effect) => {
                causes.push(Cause::unsupported(format!("{at}.effect"), effect, EFFECTS));
            }
            _ => {}
        }
        let same = |t: &Taint| t.key == taint.key && t.effect == taint.effect;
        if taints[..index].iter().any(same) {
            let mut cause = Cause::duplicate(at, taint);
            cause
                .message
                .push_str(": taints must be unique by key and effect pair");
            causes.push(cause);
        }
    }
}

fn status_causes(object: &Node) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(status) = &object.status else {
        return causes;
    };
    let addresses = status.addresses.as_deref().unwrap_or_default();
    for (index, address) in addresses.iter().enumerate() {
        if addresses[..index].contains(address) {
            causes.push(Cause::duplicate(
                format!("status.addresses[{index}]"),
                address,
            ));
        }
    }
    for (field, resources) in [
        ("capacity", &status.capacity),
        ("allocatable", &status.allocatable),
    ] {
        for (name, written) in resources.iter().flatten() {
            let path = format!("status.{field}[{name}]");
            match Quantity::try_from(written) {
                Ok(quantity) if quantity.is_negative() => {
                    causes.push(Cause::invalid(
                        path,
                        &written.0,
                        "must be greater than or equal to 0",
                    ));
                }
                Ok(_) => {}
                Err(error) => causes.push(Cause::invalid(path, &written.0, &error.to_string())),
            }
        }
    }
    causes
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|b| b <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn node(value: Value) -> Node {
        let mut object = serde_json::from_value(value).expect("a Node");
        NodeRules::default(&mut object);
        object
    }

    #[test]
    fn taints_and_ranges_are_checked() {
        let object = node(json!({"metadata": {"name": "n"}, "spec": {
            "podCIDRs": ["10.0.0.0/33"],
            "taints": [
                {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule", "value": "x"},
                {"key": "b", "effect": "Never"}, {"key": "", "effect": ""},
            ],
        }}));
        let fields: Vec<String> = NodeRules::validate(&object)
            .into_iter()
            .map(|c| c.field)
            .collect();
        assert_eq!(
            fields,
            [
                "spec.taints[1]",
                "spec.taints[2].effect",
                "spec.taints[3].key",
                "spec.taints[3].effect",
                "spec.podCIDRs[0]",
            ]
        );
    }

    #[test]
    fn the_pod_range_is_given_once() {
        let old = node(json!({"metadata": {}, "spec": {"podCIDR": "10.0.0.0/24"}}));
        assert_eq!(
            old.spec.as_ref().and_then(|s| s.pod_cidrs.clone()),
            Some(vec!["10.0.0.0/24".to_string()])
        );
        let new = node(json!({"metadata": {}, "spec": {"podCIDR": "10.0.1.0/24"}}));
        assert_eq!(
            NodeRules::validate_update(&new, &old)[0].field,
            "spec.podCIDRs"
        );
        assert!(NodeRules::validate_update(&old, &node(json!({"metadata": {}}))).is_empty());
    }

    #[test]
    fn the_row_is_kubectls() {
        let object = node(json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "db"}},
            "spec": {"unschedulable": true},
            "status": {
                "capacity": {"cpu": "2"},
                "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"kubeletVersion": "v1", "osImage": "Debian", "architecture": "", "bootID": "",
                    "containerRuntimeVersion": "", "kernelVersion": "6", "kubeProxyVersion": "",
                    "machineID": "", "operatingSystem": "", "systemUUID": ""},
            },
        }));
        assert_eq!(
            object.status.as_ref().and_then(|s| s.allocatable.clone()),
            object.status.as_ref().and_then(|s| s.capacity.clone())
        );
        let row = NodeRules::row(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(
            row,
            [
                "n",
                "Ready,SchedulingDisabled",
                "db,worker",
                "<unknown>",
                "v1",
                "10.1.1.1",
                "<none>",
                "Debian",
                "6",
                "<unknown>",
            ]
        );
        assert_eq!(NodeRules::columns().len(), row.len());
    }

    #[test]
    fn a_status_with_a_bad_amount_is_refused() {
        let object =
            node(json!({"metadata": {}, "status": {"capacity": {"cpu": "-1", "memory": "x"}}}));
        let causes = NodeRules::validate_status(&object, &object);
        assert_eq!(causes.len(), 4, "capacity and the defaulted allocatable");
    }
}
