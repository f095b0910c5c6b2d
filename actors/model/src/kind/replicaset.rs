//! `apps/v1` `ReplicaSet` (Kubernetes, "ReplicaSet").

use super::pod;
use super::rules::{Column, KindRules, Names, Scale};
use super::workload::{
    IMMUTABLE, at_most, non_negative, scale_selector, validate_selected_template, wide_cells,
};
use crate::printing;
use crate::status::Cause;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::jiff::Timestamp;

pub(super) struct ReplicaSetRules;

impl KindRules for ReplicaSetRules {
    type Object = ReplicaSet;

    const NAMES: Names = Names {
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short: &["rs"],
        categories: &["all"],
        group: "apps",
        version: "v1",
        namespaced: true,
    };
    const HAS_STATUS: bool = true;
    const HAS_GENERATION: bool = true;
    const FIELDS: &'static [&'static str] = &["status.replicas"];

    fn default(object: &mut ReplicaSet) {
        object.spec.replicas.get_or_insert(1);
        if let Some(template) = &mut object.spec.template {
            pod::default_template(template);
        }
    }

    fn validate(object: &ReplicaSet) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = &object.spec;
        non_negative(spec.replicas.map(i64::from), "spec.replicas", &mut causes);
        non_negative(
            spec.min_ready_seconds.map(i64::from),
            "spec.minReadySeconds",
            &mut causes,
        );
        validate_selected_template(&spec.selector, spec.template.as_ref(), &mut causes);
        causes
    }

    fn validate_update(new: &ReplicaSet, old: &ReplicaSet) -> Vec<Cause> {
        match new.spec.selector == old.spec.selector {
            true => Vec::new(),
            false => vec![Cause::invalid(
                "spec.selector",
                &new.spec.selector,
                IMMUTABLE,
            )],
        }
    }

    fn validate_status(new: &ReplicaSet, _old: &ReplicaSet) -> Vec<Cause> {
        let mut causes = Vec::new();
        let Some(status) = &new.status else {
            return causes;
        };
        let all = Some(status.replicas);
        let counts = [
            (all, "replicas"),
            (status.fully_labeled_replicas, "fullyLabeledReplicas"),
            (status.ready_replicas, "readyReplicas"),
            (status.available_replicas, "availableReplicas"),
        ];
        for (count, field) in counts {
            non_negative(
                count.map(i64::from),
                &format!("status.{field}"),
                &mut causes,
            );
        }
        non_negative(
            status.observed_generation,
            "status.observedGeneration",
            &mut causes,
        );
        let ready = status.ready_replicas;
        let bounds = [
            (
                status.fully_labeled_replicas,
                all,
                "fullyLabeledReplicas",
                "status.replicas",
            ),
            (
                status.ready_replicas,
                all,
                "readyReplicas",
                "status.replicas",
            ),
            (
                status.available_replicas,
                all,
                "availableReplicas",
                "status.replicas",
            ),
            (
                status.available_replicas,
                ready,
                "availableReplicas",
                "readyReplicas",
            ),
        ];
        for (count, bound, field, name) in bounds {
            at_most(count, bound, &format!("status.{field}"), name, &mut causes);
        }
        causes
    }

    fn scale(object: &ReplicaSet) -> Option<Scale> {
        Some(Scale {
            replicas: object.spec.replicas.unwrap_or(1),
            current: object.status.as_ref().map_or(0, |s| s.replicas),
            selector: scale_selector(&object.spec.selector),
        })
    }

    fn set_replicas(object: &mut ReplicaSet, replicas: i32) {
        object.spec.replicas = Some(replicas);
    }

    fn fields(object: &ReplicaSet) -> Vec<(&'static str, String)> {
        let replicas = object.status.as_ref().map_or(0, |s| s.replicas);
        vec![("status.replicas", replicas.to_string())]
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("DESIRED"),
            Column::new("CURRENT"),
            Column::new("READY"),
            Column::new("AGE"),
            Column::wide("CONTAINERS"),
            Column::wide("IMAGES"),
            Column::wide("SELECTOR"),
        ];
        COLUMNS
    }

    fn row(object: &ReplicaSet, now: Timestamp) -> Vec<String> {
        let status = object.status.clone().unwrap_or_default();
        let mut cells = vec![
            printing::name(&object.metadata),
            object.spec.replicas.unwrap_or(1).to_string(),
            status.replicas.to_string(),
            status.ready_replicas.unwrap_or(0).to_string(),
            printing::creation_age(&object.metadata, now),
        ];
        cells.extend(wide_cells(
            object.spec.template.as_ref(),
            &object.spec.selector,
        ));
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_missing_template_and_selector_are_named() {
        let mut object: ReplicaSet =
            serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {}}))
                .expect("decodes");
        ReplicaSetRules::default(&mut object);
        assert_eq!(object.spec.replicas, Some(1));
        let causes = ReplicaSetRules::validate(&object);
        let fields: Vec<&str> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, ["spec.selector", "spec.template"]);
    }

    #[test]
    fn pods_of_a_replica_set_always_restart() {
        let object: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [], "restartPolicy": "Never", "activeDeadlineSeconds": 3},
                },
            },
        }))
        .expect("decodes");
        let causes = ReplicaSetRules::validate(&object);
        let has = |field: &str| causes.iter().any(|c| c.field == field);
        assert!(has("spec.template.spec.restartPolicy"));
        assert!(has("spec.template.spec.activeDeadlineSeconds"));
    }

    #[test]
    fn the_row_is_kubectls() {
        let object: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web"}, "spec": {"replicas": 2},
            "status": {"replicas": 2, "readyReplicas": 1},
        }))
        .expect("decodes");
        let row = ReplicaSetRules::row(&object, Timestamp::UNIX_EPOCH);
        assert_eq!(row, ["web", "2", "2", "1", "<unknown>", "", "", "<none>"]);
    }
}
