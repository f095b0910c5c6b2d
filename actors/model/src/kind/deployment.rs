//! `apps/v1` `Deployment` (Kubernetes, "Deployments").

use super::pod;
use super::rules::{Column, KindRules, Names, Scale};
use super::workload::{
    IMMUTABLE, at_most, non_negative, scale_selector, validate_selected_template, wide_cells,
};
use crate::percent::{NOT_A_PERCENTAGE, percentage};
use crate::printing;
use crate::status::Cause;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

pub(super) struct DeploymentRules;

const ROLLING_UPDATE: &str = "RollingUpdate";
const RECREATE: &str = "Recreate";

impl KindRules for DeploymentRules {
    type Object = Deployment;

    const NAMES: Names = Names {
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short: &["deploy"],
        categories: &["all"],
        group: "apps",
        version: "v1",
        namespaced: true,
    };
    const HAS_STATUS: bool = true;
    const HAS_GENERATION: bool = true;

    fn default(object: &mut Deployment) {
        let spec = &mut object.spec;
        spec.replicas.get_or_insert(1);
        let strategy = spec.strategy.get_or_insert_default();
        let kind = strategy
            .type_
            .get_or_insert_with(|| ROLLING_UPDATE.to_string());
        if kind == ROLLING_UPDATE {
            let quarter = || IntOrString::String("25%".to_string());
            let rolling = strategy.rolling_update.get_or_insert_default();
            rolling.max_unavailable.get_or_insert_with(quarter);
            rolling.max_surge.get_or_insert_with(quarter);
        }
        spec.revision_history_limit.get_or_insert(10);
        spec.progress_deadline_seconds.get_or_insert(600);
        pod::default_template(&mut spec.template);
    }

    fn validate(object: &Deployment) -> Vec<Cause> {
        let mut causes = Vec::new();
        let spec = &object.spec;
        non_negative(spec.replicas.map(i64::from), "spec.replicas", &mut causes);
        validate_selected_template(&spec.selector, Some(&spec.template), &mut causes);
        if let Some(strategy) = &spec.strategy {
            validate_strategy(strategy, &mut causes);
        }
        non_negative(
            spec.min_ready_seconds.map(i64::from),
            "spec.minReadySeconds",
            &mut causes,
        );
        let limit = spec.revision_history_limit.map(i64::from);
        non_negative(limit, "spec.revisionHistoryLimit", &mut causes);
        if let Some(deadline) = spec.progress_deadline_seconds {
            let path = "spec.progressDeadlineSeconds";
            non_negative(Some(i64::from(deadline)), path, &mut causes);
            if deadline <= spec.min_ready_seconds.unwrap_or(0) {
                causes.push(Cause::invalid(
                    path,
                    deadline,
                    "must be greater than minReadySeconds",
                ));
            }
        }
        causes
    }

    fn validate_update(new: &Deployment, old: &Deployment) -> Vec<Cause> {
        match new.spec.selector == old.spec.selector {
            true => Vec::new(),
            false => vec![Cause::invalid(
                "spec.selector",
                &new.spec.selector,
                IMMUTABLE,
            )],
        }
    }

    fn validate_status(new: &Deployment, old: &Deployment) -> Vec<Cause> {
        let mut causes = Vec::new();
        let Some(status) = &new.status else {
            return causes;
        };
        let counts = [
            (status.observed_generation, "observedGeneration"),
            (status.replicas.map(i64::from), "replicas"),
            (status.updated_replicas.map(i64::from), "updatedReplicas"),
            (status.ready_replicas.map(i64::from), "readyReplicas"),
            (
                status.available_replicas.map(i64::from),
                "availableReplicas",
            ),
            (
                status.unavailable_replicas.map(i64::from),
                "unavailableReplicas",
            ),
            (status.collision_count.map(i64::from), "collisionCount"),
        ];
        for (count, field) in counts {
            non_negative(count, &format!("status.{field}"), &mut causes);
        }
        let (all, ready) = (status.replicas, status.ready_replicas);
        let bounds = [
            (
                status.updated_replicas,
                all,
                "updatedReplicas",
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
        let collisions = |d: &Deployment| d.status.as_ref().and_then(|s| s.collision_count);
        if let (Some(was), is) = (collisions(old), collisions(new).unwrap_or(0))
            && is < was
        {
            causes.push(Cause::invalid(
                "status.collisionCount",
                is,
                "cannot be decremented",
            ));
        }
        causes
    }

    fn scale(object: &Deployment) -> Option<Scale> {
        Some(Scale {
            replicas: object.spec.replicas.unwrap_or(1),
            current: object.status.as_ref().and_then(|s| s.replicas).unwrap_or(0),
            selector: scale_selector(&object.spec.selector),
        })
    }

    fn set_replicas(object: &mut Deployment, replicas: i32) {
        object.spec.replicas = Some(replicas);
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("READY"),
            Column::new("UP-TO-DATE"),
            Column::new("AVAILABLE"),
            Column::new("AGE"),
            Column::wide("CONTAINERS"),
            Column::wide("IMAGES"),
            Column::wide("SELECTOR"),
        ];
        COLUMNS
    }

    fn row(object: &Deployment, now: Timestamp) -> Vec<String> {
        let status = object.status.clone().unwrap_or_default();
        let count = |n: Option<i32>| n.unwrap_or(0).to_string();
        let wanted = object.spec.replicas.unwrap_or(1);
        let mut cells = vec![
            printing::name(&object.metadata),
            format!("{}/{wanted}", count(status.ready_replicas)),
            count(status.updated_replicas),
            count(status.available_replicas),
            printing::creation_age(&object.metadata, now),
        ];
        cells.extend(wide_cells(
            Some(&object.spec.template),
            &object.spec.selector,
        ));
        cells
    }
}

fn validate_strategy(strategy: &DeploymentStrategy, causes: &mut Vec<Cause>) {
    match strategy.type_.as_deref().unwrap_or(ROLLING_UPDATE) {
        RECREATE => {
            if strategy.rolling_update.is_some() {
                causes.push(Cause::forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        ROLLING_UPDATE => match &strategy.rolling_update {
            Some(rolling) => validate_rolling(rolling, causes),
            None => causes.push(Cause::required(
                "spec.strategy.rollingUpdate",
                "this should be defaulted and never be nil",
            )),
        },
        other => causes.push(Cause::unsupported(
            "spec.strategy.type",
            other,
            &[RECREATE, ROLLING_UPDATE],
        )),
    }
}

fn validate_rolling(rolling: &RollingUpdateDeployment, causes: &mut Vec<Cause>) {
    let path = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
    let zero = IntOrString::Int(0);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    for (value, field) in [(unavailable, "maxUnavailable"), (surge, "maxSurge")] {
        match value {
            IntOrString::Int(number) => {
                non_negative(Some(i64::from(*number)), &path(field), causes);
            }
            IntOrString::String(text) if percentage(text).is_none() => {
                causes.push(Cause::invalid(path(field), value, NOT_A_PERCENTAGE));
            }
            IntOrString::String(_) => {}
        }
    }
    let number = |value: &IntOrString| match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => percentage(text).unwrap_or(0),
    };
    if number(unavailable) == 0 && number(surge) == 0 {
        causes.push(Cause::invalid(
            path("maxUnavailable"),
            unavailable,
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    if let IntOrString::String(text) = unavailable
        && percentage(text).is_some_and(|p| p > 100)
    {
        causes.push(Cause::invalid(
            path("maxUnavailable"),
            unavailable,
            "must not be greater than 100%",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn deployment(change: impl FnOnce(&mut Value)) -> Deployment {
        let mut value = json!({
            "metadata": {"name": "web"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        });
        change(&mut value);
        let mut object = serde_json::from_value(value).expect("a Deployment");
        DeploymentRules::default(&mut object);
        object
    }

    fn faults(object: &Deployment) -> Vec<String> {
        let own = |c: &Cause| !c.field.starts_with("spec.template.spec");
        let causes = DeploymentRules::validate(object);
        causes
            .iter()
            .filter(|c| own(c))
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect()
    }

    #[test]
    fn defaults_are_those_of_apps_v1() {
        let object = deployment(|_| {});
        assert_eq!(object.spec.replicas, Some(1));
        assert_eq!(object.spec.revision_history_limit, Some(10));
        assert_eq!(object.spec.progress_deadline_seconds, Some(600));
        let strategy = object.spec.strategy.clone().expect("defaulted");
        assert_eq!(strategy.type_.as_deref(), Some("RollingUpdate"));
        let rolling = strategy.rolling_update.expect("defaulted");
        assert_eq!(rolling.max_surge, Some(IntOrString::String("25%".into())));
        assert_eq!(faults(&object), Vec::<String>::new());
    }

    #[test]
    fn every_fault_is_named_as_kubernetes_does() {
        let object = deployment(|v| {
            v["spec"]["replicas"] = json!(-1);
            v["spec"]["template"]["metadata"]["labels"] = json!({"app": "db"});
            v["spec"]["strategy"] =
                json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}});
            v["spec"]["minReadySeconds"] = json!(600);
        });
        assert_eq!(
            faults(&object),
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: `selector` does not match template `labels`",
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
            ]
        );
        let object = deployment(|v| {
            v["spec"]["strategy"] =
                json!({"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "101%"}});
        });
        assert_eq!(faults(&object).len(), 2, "{:?}", faults(&object));
        let object = deployment(|v| {
            v["spec"]["strategy"] = json!({"type": "Recreate", "rollingUpdate": {}})
        });
        assert_eq!(
            faults(&object),
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ]
        );
        let object = deployment(|v| v["spec"]["strategy"] = json!({"type": "Big"}));
        assert_eq!(
            faults(&object),
            [
                "spec.strategy.type: Unsupported value: \"Big\": supported values: \"Recreate\", \"RollingUpdate\"",
            ]
        );
    }

    #[test]
    fn the_selector_cannot_change() {
        let old = deployment(|_| {});
        let new = deployment(|v| v["spec"]["selector"] = json!({"matchLabels": {"app": "db"}}));
        let causes = DeploymentRules::validate_update(&new, &old);
        assert_eq!(causes[0].field, "spec.selector");
        assert!(causes[0].message.ends_with(": field is immutable"));
        assert!(DeploymentRules::validate_update(&old, &old).is_empty());
    }

    #[test]
    fn the_row_is_kubectls() {
        let mut object = deployment(|v| {
            v["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
            v["status"] = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1});
        });
        DeploymentRules::set_replicas(&mut object, 3);
        let now = "2026-01-01T00:01:00Z".parse().expect("time");
        let row = DeploymentRules::row(&object, now);
        assert_eq!(row, ["web", "2/3", "3", "1", "60s", "c", "i", "app=web"]);
        assert_eq!(DeploymentRules::columns().len(), row.len());
        let scale = DeploymentRules::scale(&object).expect("has one");
        assert_eq!(
            (scale.replicas, scale.current, scale.selector.as_str()),
            (3, 3, "app=web")
        );
    }

    #[test]
    fn a_status_cannot_contradict_itself() {
        let old = deployment(|v| v["status"] = json!({"collisionCount": 2}));
        let new = deployment(|v| {
            v["status"] = json!({"replicas": 1, "readyReplicas": 2, "collisionCount": 1})
        });
        let causes = DeploymentRules::validate_status(&new, &old);
        let fields: Vec<&str> = causes.iter().map(|c| c.field.as_str()).collect();
        assert_eq!(fields, ["status.readyReplicas", "status.collisionCount"]);
    }
}
