//! `node.k8s.io/v1` `RuntimeClass`: how a pod's containers are run, what that costs beside them,
//! and where it can be done (Kubernetes, "Runtime Class").

use super::metadata::validate_labels;
use super::path::Path;
use super::pod::{validate_overhead, validate_tolerations};
use super::rules::{Column, KindRules, Names};
use super::workload::IMMUTABLE;
use crate::printing;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::jiff::Timestamp;

pub(super) struct RuntimeClassRules;

impl KindRules for RuntimeClassRules {
    type Object = RuntimeClass;

    const NAMES: Names = Names {
        kind: "RuntimeClass",
        plural: "runtimeclasses",
        singular: "runtimeclass",
        short: &[],
        categories: &[],
        group: "node.k8s.io",
        version: "v1",
        namespaced: false,
    };

    fn validate(class: &RuntimeClass) -> Vec<Cause> {
        let mut causes = Vec::new();
        let handler = &class.handler;
        Path::Root("handler").check(handler, syntax::dns_label(handler), &mut causes);
        if let Some(overhead) = &class.overhead {
            let path = Path::Root("overhead.podFixed");
            validate_overhead(overhead.pod_fixed.as_ref(), &path, &mut causes);
        }
        let Some(scheduling) = &class.scheduling else {
            return causes;
        };
        let path = Path::Root("scheduling.nodeSelector");
        validate_labels(scheduling.node_selector.as_ref(), &path, &mut causes);
        let path = Path::Root("scheduling.tolerations");
        let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
        validate_tolerations(tolerations, &path, &mut causes);
        for (index, toleration) in tolerations.iter().enumerate() {
            if tolerations[..index].contains(toleration) {
                causes.push(Cause::duplicate(path.index(index), toleration));
            }
        }
        causes
    }

    fn validate_update(new: &RuntimeClass, old: &RuntimeClass) -> Vec<Cause> {
        match new.handler == old.handler {
            true => Vec::new(),
            false => vec![Cause::invalid("handler", &new.handler, IMMUTABLE)],
        }
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("NAME"),
            Column::new("HANDLER"),
            Column::new("AGE"),
        ];
        COLUMNS
    }

    fn row(class: &RuntimeClass, now: Timestamp) -> Vec<String> {
        vec![
            printing::name(&class.metadata),
            class.handler.clone(),
            printing::creation_age(&class.metadata, now),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn class(fields: Value) -> RuntimeClass {
        let mut class = json!({"metadata": {"name": "slow"}, "handler": "kabuki"});
        for (field, value) in fields.as_object().expect("fields") {
            class[field] = value.clone();
        }
        serde_json::from_value(class).expect("a class")
    }

    fn wrong(fields: Value) -> String {
        let causes = RuntimeClassRules::validate(&class(fields));
        let lines = causes.iter().map(|c| format!("{}: {}", c.field, c.message));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_class_names_a_handler_and_says_what_it_costs_and_where_it_works() {
        let whole = json!({"overhead": {"podFixed": {"cpu": "250m", "memory": "120Mi"}},
            "scheduling": {"nodeSelector": {"a": "b"},
                "tolerations": [{"key": "k", "operator": "Exists"}]}});
        assert_eq!(wrong(whole.clone()), "");
        let row = RuntimeClassRules::row(&class(whole.clone()), Timestamp::UNIX_EPOCH);
        assert_eq!(row, ["slow", "kabuki", "<unknown>"]);
        for (fields, why) in [
            (json!({"handler": ""}), "handler: "),
            (json!({"handler": "a.b"}), "handler: "),
            (
                json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
                "overhead.podFixed[cpu]: ",
            ),
            (
                json!({"scheduling": {"nodeSelector": {"a b": "c"}}}),
                "scheduling.nodeSelector: ",
            ),
            (
                json!({"scheduling": {"tolerations": [{"operator": "Equal"}]}}),
                "scheduling.tolerations[0]",
            ),
            (
                json!({"scheduling": {"tolerations": [{"key": "a"}, {"key": "a"}]}}),
                "scheduling.tolerations[1]: Duplicate value",
            ),
        ] {
            let found = wrong(fields);
            assert!(found.contains(why), "{why}: {found}");
        }
        let other = class(json!({"handler": "runc"}));
        let causes = RuntimeClassRules::validate_update(&other, &class(json!({})));
        assert_eq!(causes[0].field, "handler");
        assert!(RuntimeClassRules::validate_update(&other, &other).is_empty());
    }
}
