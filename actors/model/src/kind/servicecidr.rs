//! `networking.k8s.io/v1` `ServiceCIDR`: a range that services' addresses come from (Kubernetes,
//! "Extend Service IP Ranges"). Ranges are changed by adding objects and deleting others.

use super::address::{NO_RANGE, range};
use super::rules::{Column, KindRules, Names};
use super::workload::IMMUTABLE;
use crate::allocation::{AddressRange, SERVICE_CIDR_FINALIZER};
use crate::printing;
use crate::status::Cause;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::jiff::Timestamp;

pub(super) struct ServiceCidrRules;

fn ranges(object: &ServiceCIDR) -> &[String] {
    let spec = object.spec.as_ref();
    spec.and_then(|s| s.cidrs.as_deref()).unwrap_or_default()
}

impl KindRules for ServiceCidrRules {
    type Object = ServiceCIDR;

    const NAMES: Names = Names {
        kind: "ServiceCIDR",
        plural: "servicecidrs",
        singular: "servicecidr",
        short: &[],
        categories: &[],
        group: "networking.k8s.io",
        version: "v1",
        namespaced: false,
    };
    const HAS_STATUS: bool = true;

    /// The range stays until no service has an address of it.
    fn prepare_create(object: &mut ServiceCIDR) {
        let finalizers = object.metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|f| f == SERVICE_CIDR_FINALIZER) {
            finalizers.push(SERVICE_CIDR_FINALIZER.to_string());
        }
    }

    fn validate(object: &ServiceCIDR) -> Vec<Cause> {
        let mut causes = Vec::new();
        let given = ranges(object);
        match given {
            [] => causes.push(Cause::required("spec.cidrs", "at least one CIDR required")),
            [_] => {}
            _ => {
                let why = "may only hold one value in a cluster of one address family (IPv4)";
                causes.push(Cause::invalid("spec.cidrs", given, why));
            }
        }
        for (index, text) in given.iter().enumerate() {
            let path = format!("spec.cidrs[{index}]");
            match range(text) {
                None => causes.push(Cause::invalid(path, text, NO_RANGE)),
                Some((address, _)) if address.is_ipv6() => {
                    let why = "IPv6 is not configured on this cluster";
                    causes.push(Cause::invalid(path, text, why));
                }
                Some(_) => {
                    if text.parse::<AddressRange>().is_err() {
                        let why =
                            "must be in canonical form: the address is the first of the range";
                        causes.push(Cause::invalid(path, text, why));
                    }
                }
            }
        }
        causes
    }

    fn validate_update(new: &ServiceCIDR, old: &ServiceCIDR) -> Vec<Cause> {
        match ranges(new) == ranges(old) {
            true => Vec::new(),
            false => vec![Cause::invalid("spec.cidrs", ranges(new), IMMUTABLE)],
        }
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("CIDRS"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(object: &ServiceCIDR, now: Timestamp) -> Vec<String> {
        vec![
            printing::name(&object.metadata),
            ranges(object).join(","),
            printing::creation_age(&object.metadata, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(cidrs: &[&str]) -> ServiceCIDR {
        serde_json::from_value(json!({"metadata": {"name": "more"}, "spec": {"cidrs": cidrs}}))
            .expect("decodes")
    }

    #[test]
    fn a_range_is_one_canonical_range_of_ipv4() {
        assert!(ServiceCidrRules::validate(&object(&["10.100.0.0/16"])).is_empty());
        for bad in [
            &[][..],
            &["10.0.0.1/16"],
            &["x"],
            &["fd00::/112"],
            &["10.0.0.0/8", "11.0.0.0/8"],
        ] {
            assert_eq!(ServiceCidrRules::validate(&object(bad)).len(), 1, "{bad:?}");
        }
        let (a, b) = (object(&["10.0.0.0/8"]), object(&["11.0.0.0/8"]));
        assert_eq!(ServiceCidrRules::validate_update(&a, &b).len(), 1);
        assert!(ServiceCidrRules::validate_update(&a, &a).is_empty());
        let row = ServiceCidrRules::row(&a, Timestamp::UNIX_EPOCH);
        assert_eq!(row, ["more", "10.0.0.0/8", "<unknown>"]);
    }
}
