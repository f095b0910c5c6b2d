//! Host names, aliases and name resolution.

use super::super::super::path::Path;
use crate::status::Cause;
use crate::syntax;
use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};
use std::net::IpAddr;

/// What the C library's resolver reads of `resolv.conf`, and what Kubernetes therefore allows.
const NAMESERVERS: usize = 3;
const SEARCHES: usize = 32;
const SEARCH_CHARS: usize = 2048;
const UNDERSCORED: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')";

pub(super) fn names(spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    for (field, name) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(name) = name.as_deref().filter(|n| !n.is_empty()) {
            path.child(field)
                .check(name, syntax::dns_label(name), causes);
        }
    }
    let aliases = path.child("hostAliases");
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = aliases.index(index);
        ip(&alias.ip, &path.child("ip"), causes);
        let path = path.child("hostnames");
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            path.index(index)
                .check(name, syntax::dns_subdomain(name), causes);
        }
    }
}

pub(in super::super) fn ip(value: &str, path: &Path, causes: &mut Vec<Cause>) {
    if value.parse::<IpAddr>().is_err() {
        let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        causes.push(Cause::invalid(path, value, why));
    }
}

pub(super) fn dns(spec: &PodSpec, path: &Path, causes: &mut Vec<Cause>) {
    path.child("dnsPolicy").one_of(
        spec.dns_policy.as_deref(),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        causes,
    );
    let path = path.child("dnsConfig");
    let none = spec.dns_policy.as_deref() == Some("None");
    let Some(config) = &spec.dns_config else {
        if none {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            causes.push(Cause::required(path, why));
        }
        return;
    };
    if none && config.nameservers.as_ref().is_none_or(|n| n.is_empty()) {
        let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        return causes.push(Cause::required(path.child("nameservers"), why));
    }
    dns_config(config, &path, causes);
}

fn dns_config(config: &PodDNSConfig, path: &Path, causes: &mut Vec<Cause>) {
    let nameservers = config.nameservers.as_deref().unwrap_or_default();
    let at = path.child("nameservers");
    if nameservers.len() > NAMESERVERS {
        let why = format!("must not have more than {NAMESERVERS} nameservers");
        causes.push(Cause::invalid(at, nameservers, &why));
    }
    for (index, nameserver) in nameservers.iter().enumerate() {
        ip(nameserver, &at.index(index), causes);
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    let at = path.child("searches");
    if searches.len() > SEARCHES {
        let why = format!("must not have more than {SEARCHES} search paths");
        causes.push(Cause::invalid(at, searches, &why));
    }
    if searches.join(" ").len() > SEARCH_CHARS {
        let why = format!(
            "must not have more than {SEARCH_CHARS} characters (including spaces) in the search list"
        );
        causes.push(Cause::invalid(at, searches, &why));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, s)| *s != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        at.index(index).check(search, search_domain(search), causes);
    }
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or_default().is_empty() {
            causes.push(Cause::required(
                path.child("options").index(index),
                "must not be empty",
            ));
        }
    }
}

/// A subdomain whose labels may hold underscores, as those of services (`_http._tcp`) do.
fn search_domain(text: &str) -> Option<String> {
    let label = |label: &str| {
        let rest = label.strip_prefix('_').unwrap_or(label).as_bytes();
        let edge = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        rest.first().is_some_and(edge)
            && rest.last().is_some_and(edge)
            && rest.iter().all(|c| edge(c) || matches!(c, b'-' | b'_'))
    };
    if text.len() > 253 {
        return Some("must be no more than 253 bytes".to_string());
    }
    (!text.split('.').all(label)).then(|| UNDERSCORED.to_string())
}
