//! The resources of each group and version (`metav1` `APIResourceList`).

use crate::served::{self, Part, Served};
use crate::usage::Measured;
use kabuki_model::review::ReviewKind;
use serde_json::{Value, json};

/// Every group and version that is served, the core group first.
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let kinds = served::all().iter().map(|s| (s.group, s.version));
    let reviews = ReviewKind::ALL.iter().map(|k| (k.group(), k.version()));
    let measured = [(Measured::GROUP, Measured::VERSION)];
    let mut all: Vec<_> = kinds.chain(reviews).chain(measured).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Every group but the core group.
pub(super) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = group_versions()
        .into_iter()
        .map(|(group, _)| group)
        .collect();
    groups.retain(|group| !group.is_empty());
    groups.dedup();
    groups
}

pub(super) fn is_served(group: &str, version: &str) -> bool {
    group_versions()
        .iter()
        .any(|(g, v)| *g == group && *v == version)
}

/// What is served in one group and version.
pub(super) fn of(group: &str, version: &str) -> impl Iterator<Item = &'static Served> {
    served::all()
        .iter()
        .filter(move |s| s.group == group && s.version == version)
}

/// The objects of a group that are answered and never stored.
pub(super) fn reviews_of(group: &str, version: &str) -> impl Iterator<Item = ReviewKind> {
    let all = ReviewKind::ALL.iter().copied();
    all.filter(move |k| k.group() == group && k.version() == version)
}

/// What is measured and never stored.
pub(super) fn measured_of(group: &str, version: &str) -> &'static [Measured] {
    match (group, version) {
        (Measured::GROUP, Measured::VERSION) => Measured::ALL,
        _ => &[],
    }
}

pub(super) fn resource_list(group: &str, version: &str) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    for served in of(group, version) {
        resources.push(whole(served));
        resources.extend(served.parts().map(|part| part_of(served, part)));
    }
    resources.extend(reviews_of(group, version).map(|review| {
        json!({
            "name": review.plural(), "singularName": review.singular(),
            "namespaced": review.namespaced(), "kind": review.kind(), "verbs": ["create"],
        })
    }));
    resources.extend(measured_of(group, version).iter().map(|measured| {
        json!({
            "name": measured.plural(), "singularName": "",
            "namespaced": measured.namespaced(), "kind": measured.kind(),
            "verbs": Measured::VERBS,
        })
    }));
    let group_version = match group {
        "" => version.to_string(),
        group => format!("{group}/{version}"),
    };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version,
        "resources": resources,
    })
}

fn whole(served: &Served) -> Value {
    let names = &served.kind.names;
    let mut value = json!({
        "name": names.plural, "singularName": names.singular, "namespaced": names.namespaced,
        "kind": names.kind, "verbs": served.verbs().collect::<Vec<_>>(),
    });
    if !names.short.is_empty() {
        value["shortNames"] = names.short.into();
    }
    if !names.categories.is_empty() {
        value["categories"] = names.categories.into();
    }
    value
}

fn part_of(served: &Served, part: Part) -> Value {
    let names = &served.kind.names;
    let mut value = json!({
        "name": format!("{}/{}", names.plural, part.name()), "singularName": "",
        "namespaced": names.namespaced, "kind": names.kind, "verbs": part.verbs(),
    });
    if let Some((group, version, kind)) = served.kind_of(part) {
        value["kind"] = kind.into();
        if (group, version) != (served.group, served.version) {
            value["group"] = group.into();
            value["version"] = version.into();
        }
    }
    value
}
