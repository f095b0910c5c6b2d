//! `v1` `Event` (Kubernetes API reference, "Event v1 core").

use super::form::{Form, show_renamed, store_renamed};
use super::rules::{Column, KindRules, Names};
use crate::printing::{self, age};
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;

pub(super) struct EventRules;

/// The longest message of an event that gives an `eventTime`.
const MAX_MESSAGE_BYTES: usize = 1024;
/// The longest name of a reporting instance.
const MAX_INSTANCE_BYTES: usize = 128;
/// Fields with another name in `events.k8s.io/v1` (API reference, "Event v1 events.k8s.io").
const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];
/// Where events about objects without a namespace may be.
const CLUSTER_EVENT_NAMESPACES: &[&str] = &["", "default", "kube-system"];

impl KindRules for EventRules {
    type Object = Event;

    const NAMES: Names = Names {
        kind: "Event",
        plural: "events",
        singular: "event",
        short: &["ev"],
        categories: &[],
        group: "",
        version: "v1",
        namespaced: true,
    };
    const FIELDS: &'static [&'static str] = &[
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];

    const FORMS: &'static [Form] = &[Form {
        group: "events.k8s.io",
        version: "v1",
        show: |fields| show_renamed(fields, RENAMED),
        store: |fields| store_renamed(fields, RENAMED),
        fields: &[
            ("reason", "reason"),
            ("regarding.kind", "involvedObject.kind"),
            ("regarding.namespace", "involvedObject.namespace"),
            ("regarding.name", "involvedObject.name"),
            ("regarding.uid", "involvedObject.uid"),
            ("regarding.apiVersion", "involvedObject.apiVersion"),
            (
                "regarding.resourceVersion",
                "involvedObject.resourceVersion",
            ),
            ("regarding.fieldPath", "involvedObject.fieldPath"),
            ("reportingController", "reportingComponent"),
            ("type", "type"),
        ],
        schema: || schemars::schema_for!(k8s_openapi::api::events::v1::Event).to_value(),
    }];

    fn validate(object: &Event) -> Vec<Cause> {
        let mut causes = Vec::new();
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let about = object
            .involved_object
            .namespace
            .as_deref()
            .unwrap_or_default();
        let fits = match about {
            "" => CLUSTER_EVENT_NAMESPACES.contains(&namespace),
            about => about == namespace,
        };
        if !fits {
            let why = "does not match event.namespace";
            causes.push(Cause::invalid("involvedObject.namespace", about, why));
        }
        if object.event_time.is_some() {
            validate_modern(object, &mut causes);
        }
        causes
    }

    fn fields(object: &Event) -> Vec<(&'static str, String)> {
        let about = &object.involved_object;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let source = object.source.as_ref().and_then(|s| s.component.clone());
        vec![
            ("involvedObject.kind", text(&about.kind)),
            ("involvedObject.namespace", text(&about.namespace)),
            ("involvedObject.name", text(&about.name)),
            ("involvedObject.uid", text(&about.uid)),
            ("involvedObject.apiVersion", text(&about.api_version)),
            (
                "involvedObject.resourceVersion",
                text(&about.resource_version),
            ),
            ("involvedObject.fieldPath", text(&about.field_path)),
            ("reason", text(&object.reason)),
            ("reportingComponent", text(&object.reporting_component)),
            (
                "source",
                source.unwrap_or_else(|| text(&object.reporting_component)),
            ),
            ("type", text(&object.type_)),
        ]
    }

    fn columns() -> &'static [Column] {
        const COLUMNS: &[Column] = &[
            Column::new("LAST SEEN"),
            Column::new("TYPE"),
            Column::new("REASON"),
            Column::new("OBJECT"),
            Column::wide("SUBOBJECT"),
            Column::wide("SOURCE"),
            Column::new("MESSAGE"),
            Column::wide("FIRST SEEN"),
            Column::wide("COUNT"),
            Column::wide("NAME"),
        ];
        COLUMNS
    }

    fn row(object: &Event, now: Timestamp) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let began = object
            .first_timestamp
            .as_ref()
            .map(|t| t.0)
            .or_else(|| object.event_time.as_ref().map(|t| t.0));
        let (last, count) = last_seen(object, began);
        let shown = |at: Option<Timestamp>| {
            at.map_or_else(|| printing::UNKNOWN.to_string(), |at| age(at, now))
        };
        let about = &object.involved_object;
        let kind = text(&about.kind).to_lowercase();
        let target = match about.name.as_deref() {
            Some(name) if !name.is_empty() => format!("{kind}/{name}"),
            _ => kind,
        };
        vec![
            shown(last),
            text(&object.type_),
            text(&object.reason),
            target,
            text(&about.field_path),
            source(object),
            text(&object.message).trim().to_string(),
            shown(began),
            count.to_string(),
            printing::name(&object.metadata),
        ]
    }
}

/// When it was last seen, and how often.
fn last_seen(object: &Event, began: Option<Timestamp>) -> (Option<Timestamp>, i32) {
    if let Some(series) = &object.series {
        let at = series.last_observed_time.as_ref().map(|t| t.0);
        return (at, series.count.unwrap_or(0));
    }
    let last = object.last_timestamp.as_ref().map(|t| t.0).or(began);
    (last, object.count.filter(|c| *c > 0).unwrap_or(1))
}

fn source(object: &Event) -> String {
    let filled = |value: &Option<String>| value.clone().filter(|v| !v.is_empty());
    let source = object.source.clone().unwrap_or_default();
    let component = filled(&source.component).or_else(|| filled(&object.reporting_component));
    let host = filled(&source.host).or_else(|| filled(&object.reporting_instance));
    let component = component.unwrap_or_default();
    match host {
        Some(host) => format!("{component}, {host}"),
        None => component,
    }
}

/// What events that give an `eventTime` must also give.
fn validate_modern(object: &Event, causes: &mut Vec<Cause>) {
    let mut required = |value: &Option<String>, field: &str| {
        let given = value.as_deref().is_some_and(|v| !v.is_empty());
        if !given {
            causes.push(Cause::required(field, ""));
        }
        given
    };
    let named = required(&object.reporting_component, "reportingComponent");
    required(&object.reporting_instance, "reportingInstance");
    required(&object.action, "action");
    required(&object.reason, "reason");
    if named {
        let name = object.reporting_component.as_deref().unwrap_or_default();
        if let Some(why) = syntax::qualified_name(name) {
            causes.push(Cause::invalid("reportingComponent", name, &why));
        }
    }
    let limits = [
        (
            &object.reporting_instance,
            "reportingInstance",
            MAX_INSTANCE_BYTES,
        ),
        (&object.action, "action", MAX_INSTANCE_BYTES),
        (&object.reason, "reason", MAX_INSTANCE_BYTES),
        (&object.message, "message", MAX_MESSAGE_BYTES),
    ];
    for (value, field, max) in limits {
        if value.as_ref().is_some_and(|v| v.len() > max) {
            let why = format!("can have at most {max} characters");
            causes.push(Cause::invalid(field, "", &why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn event(value: Value) -> Event {
        serde_json::from_value(value).expect("an Event")
    }

    #[test]
    fn the_row_is_kubectls() {
        let object = event(json!({
            "metadata": {"name": "web.1", "namespace": "a"},
            "involvedObject": {"kind": "Pod", "name": "web", "namespace": "a", "fieldPath": "spec.containers{c}"},
            "type": "Normal", "reason": "Started", "message": " Started container\n", "count": 3,
            "source": {"component": "kubelet", "host": "n1"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:01:00Z",
        }));
        let now = "2026-01-01T00:02:00Z".parse().expect("time");
        let row = EventRules::row(&object, now);
        assert_eq!(
            row,
            [
                "60s",
                "Normal",
                "Started",
                "pod/web",
                "spec.containers{c}",
                "kubelet, n1",
                "Started container",
                "2m",
                "3",
                "web.1",
            ]
        );
        assert_eq!(EventRules::columns().len(), row.len());
        assert!(EventRules::validate(&object).is_empty());
        assert_eq!(
            EventRules::fields(&object)
                .iter()
                .map(|f| f.0)
                .collect::<Vec<_>>(),
            EventRules::FIELDS
        );
    }

    #[test]
    fn an_event_lives_beside_its_object() {
        let about = |of: &str, at: &str| {
            let object =
                event(json!({"metadata": {"namespace": at}, "involvedObject": {"namespace": of}}));
            EventRules::validate(&object).len()
        };
        assert_eq!(about("a", "a"), 0);
        assert_eq!(about("a", "b"), 1);
        assert_eq!(about("", "default"), 0);
        assert_eq!(about("", "b"), 1);
    }

    #[test]
    fn an_event_with_a_time_says_who_reports_what() {
        let object = event(json!({
            "metadata": {"namespace": "a"}, "involvedObject": {"namespace": "a"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "message": "x".repeat(1025),
        }));
        let fields: Vec<String> = EventRules::validate(&object)
            .into_iter()
            .map(|c| c.field)
            .collect();
        assert_eq!(
            fields,
            [
                "reportingComponent",
                "reportingInstance",
                "action",
                "reason",
                "message"
            ]
        );
    }
}
