//! `coordination.k8s.io/v1` `Lease` (Kubernetes, "Leases").

use super::rules::{Column, KindRules, Names};
use crate::printing;
use crate::status::Cause;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;

/// How leaders are chosen in a coordinated election.
const STRATEGIES: &[&str] = &["OldestEmulationVersion"];

pub(super) struct LeaseRules;

impl KindRules for LeaseRules {
    type Object = Lease;

    const NAMES: Names = Names {
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        short: &[],
        categories: &[],
        group: "coordination.k8s.io",
        version: "v1",
        namespaced: true,
    };

    fn validate(object: &Lease) -> Vec<Cause> {
        let mut causes = Vec::new();
        let Some(spec) = &object.spec else {
            return causes;
        };
        if let Some(seconds) = spec.lease_duration_seconds
            && seconds <= 0
        {
            let why = "must be greater than 0";
            causes.push(Cause::invalid("spec.leaseDurationSeconds", seconds, why));
        }
        if let Some(transitions) = spec.lease_transitions
            && transitions < 0
        {
            let why = "must be greater than or equal to 0";
            causes.push(Cause::invalid("spec.leaseTransitions", transitions, why));
        }
        let strategy = spec.strategy.as_deref().unwrap_or_default();
        // Others bear the domain of whoever defines them.
        if !strategy.is_empty() && !STRATEGIES.contains(&strategy) && !strategy.contains('/') {
            causes.push(Cause::unsupported("spec.strategy", strategy, STRATEGIES));
        }
        if spec
            .preferred_holder
            .as_deref()
            .is_some_and(|p| !p.is_empty())
            && strategy.is_empty()
        {
            let why = "may only be specified if `strategy` is defined";
            causes.push(Cause::forbidden("spec.preferredHolder", why));
        }
        causes
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("HOLDER"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(object: &Lease, now: Timestamp) -> Vec<String> {
        let holder = object.spec.as_ref().and_then(|s| s.holder_identity.clone());
        vec![
            printing::name(&object.metadata),
            holder.unwrap_or_default(),
            printing::creation_age(&object.metadata, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_lease_shows_its_holder_and_its_faults() {
        let object = |spec| -> Lease {
            serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec}))
                .expect("decodes")
        };
        let good = object(json!({"holderIdentity": "me", "leaseDurationSeconds": 15}));
        assert!(LeaseRules::validate(&good).is_empty());
        let row = LeaseRules::row(&good, Timestamp::UNIX_EPOCH);
        assert_eq!(row, ["a", "me", "<unknown>"]);
        let bad = object(json!({
            "leaseDurationSeconds": 0, "leaseTransitions": -1, "preferredHolder": "you",
        }));
        assert_eq!(LeaseRules::validate(&bad).len(), 3);
        assert_eq!(
            LeaseRules::validate(&object(json!({"strategy": "x"}))).len(),
            1
        );
    }
}
