//! `v1` `ServiceAccount` (Kubernetes, "Service Accounts").

use super::rules::{Column, KindRules, Names};
use crate::printing;
use crate::status::Cause;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::jiff::Timestamp;

pub(super) struct ServiceAccountRules;

impl KindRules for ServiceAccountRules {
    type Object = ServiceAccount;

    const NAMES: Names = Names {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short: &["sa"],
        categories: &[],
        group: "",
        version: "v1",
        namespaced: true,
    };

    /// Kubernetes checks nothing but the metadata: the secrets that it refers to may come later.
    fn validate(_object: &ServiceAccount) -> Vec<Cause> {
        Vec::new()
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("SECRETS"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(object: &ServiceAccount, now: Timestamp) -> Vec<String> {
        vec![
            printing::name(&object.metadata),
            object.secrets.as_ref().map_or(0, Vec::len).to_string(),
            printing::creation_age(&object.metadata, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_counts_secrets() {
        let mut object = ServiceAccount::default();
        object.metadata.name = Some("default".to_string());
        object.secrets = Some(vec![Default::default(); 2]);
        let row = ServiceAccountRules::row(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(row, ["default", "2", "<unknown>"]);
    }
}
