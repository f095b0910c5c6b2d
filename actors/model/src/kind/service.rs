//! `v1` `Service` (Kubernetes, "Service"). Addresses and node ports are given by admission; see
//! [`crate::allocation`].

mod defaults;
mod row;
mod update;
mod validate;

#[cfg(test)]
mod tests;

pub use defaults::{allocates_node_ports, needs_health_check_port};

use super::rules::{Column, KindRules, Names};
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::jiff::Timestamp;

pub(super) struct ServiceRules;

/// What stands for "no address" in `clusterIP` and `clusterIPs`.
pub const HEADLESS: &str = "None";

/// `spec.type`, with its default.
pub fn service_type(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().unwrap_or("ClusterIP")
}

/// Whether names lead to the endpoints themselves.
pub fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some(HEADLESS)
}

impl KindRules for ServiceRules {
    type Object = Service;

    const NAMES: Names = Names {
        kind: "Service",
        plural: "services",
        singular: "service",
        short: &["svc"],
        categories: &["all"],
        group: "",
        version: "v1",
        namespaced: true,
    };
    const HAS_STATUS: bool = true;
    const FIELDS: &'static [&'static str] = &["spec.clusterIP", "spec.type"];

    fn default(object: &mut Service) {
        defaults::apply(object);
    }

    fn prepare_create(object: &mut Service) {
        let spec = object.spec.get_or_insert_default();
        defaults::single_and_plural(spec, None);
        defaults::families(spec);
    }

    fn prepare_update(new: &mut Service, old: &Service) {
        update::prepare(new, old);
    }

    fn validate(object: &Service) -> Vec<Cause> {
        validate::all(object)
    }

    fn validate_update(new: &Service, old: &Service) -> Vec<Cause> {
        update::validate(new, old)
    }

    fn validate_status(new: &Service, _old: &Service) -> Vec<Cause> {
        validate::status(new)
    }

    /// An RFC 1123 label (KEP-5311).
    fn validate_name(name: &str) -> Option<String> {
        syntax::dns_label(name)
    }

    fn fields(object: &Service) -> Vec<(&'static str, String)> {
        let spec = object.spec.clone().unwrap_or_default();
        vec![
            ("spec.clusterIP", spec.cluster_ip.unwrap_or_default()),
            ("spec.type", spec.type_.unwrap_or_default()),
        ]
    }

    fn columns() -> &'static [Column] {
        row::COLUMNS
    }

    fn row(object: &Service, now: Timestamp) -> Vec<String> {
        row::cells(object, now)
    }
}
