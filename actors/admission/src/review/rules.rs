//! All that somebody may do, as rules (`SelfSubjectRulesReview`). They say of kinds what
//! [`crate::allowance`] says of single accesses; a test compares the two.

use crate::authorize::all_powerful;
use kabuki_model::Resource;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::api::authorization::v1::{
    NonResourceRule, ResourceRule, SubjectRulesReviewStatus,
};
use kabuki_model::kind::{self, Kind};
use kabuki_model::review::ReviewKind;
use std::collections::BTreeMap;

pub(super) fn rules(who: &Identity) -> SubjectRulesReviewStatus {
    let paths = |verbs: &[&str], paths: &[&str]| NonResourceRule {
        verbs: texts(verbs),
        non_resource_urls: Some(texts(paths)),
    };
    let mut status = SubjectRulesReviewStatus::default();
    if all_powerful(who).is_some() {
        status.resource_rules = vec![rule(&["*"], "*", vec!["*".to_string()])];
        status.non_resource_rules = vec![paths(&["*"], &["*"])];
        return status;
    }
    for group in ["authentication.k8s.io", "authorization.k8s.io"] {
        let own = ReviewKind::ALL.iter().filter(|k| k.is_about_self());
        let own = own.filter(|k| k.group() == group);
        let names = own.map(|k| k.plural().to_string()).collect();
        status.resource_rules.push(rule(&["create"], group, names));
    }
    if who.node_name().is_some() {
        // What a node may do hangs on the pods that are bound to it: no list of kinds says it.
        status.incomplete = true;
        status.evaluation_error =
            Some("node authorizer doesn't support user rule resolution".to_string());
    } else {
        let mut readable: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for kind in kind::all()
            .iter()
            .filter(|k| k.resource != Resource::SECRETS)
        {
            let names = readable.entry(kind.names.group).or_default();
            names.extend(parts(kind));
        }
        let verbs = &["get", "list", "watch"];
        let readable = readable.into_iter();
        let readable = readable.map(|(group, names)| rule(verbs, group, names));
        status.resource_rules.extend(readable);
    }
    status.non_resource_rules = vec![paths(&["get"], &["*"])];
    status
}

/// A kind, and those of its parts that users may read.
fn parts(kind: &Kind) -> Vec<String> {
    let plural = kind.names.plural;
    let mut names = vec![plural.to_string()];
    if kind.has_status {
        names.push(format!("{plural}/status"));
    }
    if kind.resource == Resource::PODS {
        names.push("pods/log".to_string());
    }
    names
}

fn rule(verbs: &[&str], group: &str, resources: Vec<String>) -> ResourceRule {
    ResourceRule {
        verbs: texts(verbs),
        api_groups: Some(vec![group.to_string()]),
        resources: Some(resources),
        resource_names: None,
    }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_string()).collect()
}
