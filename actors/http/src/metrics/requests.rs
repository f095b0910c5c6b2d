//! What was counted of requests.

use super::exposition::Exposition;
use crate::request::RequestInfo;
use crate::served::{self, Part};
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of latencies, in seconds (Kubernetes' own, fewer).
const BOUNDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];
/// What kind of request something is. Made of words of ours alone, so that clients cannot make
/// up new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    part: &'static str,
}

#[derive(Default)]
struct Latency {
    count: u64,
    sum_s: f64,
    buckets: [u64; BOUNDS.len()],
}

/// The counts since the start.
#[derive(Default)]
pub struct Metrics {
    counts: Mutex<BTreeMap<(Label, u16), u64>>,
    latencies: Mutex<BTreeMap<Label, Latency>>,
}

impl Metrics {
    /// What to count a request as.
    pub fn label(&self, info: &RequestInfo) -> Label {
        let verb = match info.verb.as_str() {
            "get" => "GET",
            "list" => "LIST",
            "watch" => "WATCH",
            "create" | "post" => "POST",
            "update" | "put" => "PUT",
            "patch" => "PATCH",
            "delete" => "DELETE",
            "deletecollection" => "DELETECOLLECTION",
            _ => "OTHER",
        };
        let mut parts = std::iter::once("").chain(Part::names());
        let part = parts.find(|p| *p == info.subresource);
        let found = served::find(&info.group, &info.version, &info.resource);
        match found.filter(|_| info.resource_request) {
            Some(served) => Label {
                verb,
                group: served.group,
                version: served.version,
                resource: served.kind.names.plural,
                part: part.unwrap_or("other"),
            },
            None => Label {
                verb,
                group: "",
                version: "",
                resource: "",
                part: "",
            },
        }
    }

    /// Counts a request that was answered. Of watches and streams this is their beginning.
    pub fn observe(&self, label: Label, status: StatusCode, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((label, status.as_u16())).or_default() += 1;
        drop(counts);
        let took = took.as_secs_f64();
        let mut all = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let latency = all.entry(label).or_default();
        latency.count += 1;
        latency.sum_s += took;
        for (bucket, bound) in latency.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(took <= bound);
        }
    }

    pub(super) fn expose(&self, text: &mut Exposition) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "apiserver_request_total";
        let help = "Requests by verb, group, version, resource, subresource and code.";
        text.begin(name, help, "counter");
        for ((label, code), count) in counts.iter() {
            let code = code.to_string();
            let mut labels = label.pairs().to_vec();
            labels.push(("code", &code));
            text.value(name, &labels, *count as f64);
        }
        drop(counts);
        let all = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let help = "How long requests took in seconds; of watches, their beginning.";
        text.begin("apiserver_request_duration_seconds", help, "histogram");
        for (label, latency) in all.iter() {
            latency.expose(text, label);
        }
    }
}

impl Label {
    fn pairs(&self) -> [(&'static str, &'static str); 5] {
        [
            ("verb", self.verb),
            ("group", self.group),
            ("version", self.version),
            ("resource", self.resource),
            ("subresource", self.part),
        ]
    }
}

impl Latency {
    fn expose(&self, text: &mut Exposition, label: &Label) {
        let bounds = BOUNDS.map(|b| b.to_string());
        let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
        let counts = self.buckets.iter().chain([&self.count]);
        for (bound, count) in bounds.zip(counts) {
            let mut labels = label.pairs().to_vec();
            labels.push(("le", bound));
            let name = "apiserver_request_duration_seconds_bucket";
            text.value(name, &labels, *count as f64);
        }
        let labels = label.pairs();
        text.value(
            "apiserver_request_duration_seconds_sum",
            &labels,
            self.sum_s,
        );
        text.value(
            "apiserver_request_duration_seconds_count",
            &labels,
            self.count as f64,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;
    use http::Method;

    #[test]
    fn what_clients_make_up_gets_no_label_of_its_own() {
        let metrics = Metrics::default();
        let query = Query::default();
        for path in ["/api/v1/nonsense-1", "/api/v1/nonsense-2", "/whatever"] {
            let info = RequestInfo::parse(&Method::GET, path, &query);
            let label = metrics.label(&info);
            metrics.observe(label, StatusCode::NOT_FOUND, Duration::ZERO);
        }
        let info = RequestInfo::parse(&Method::GET, "/api/v1/pods/a/made-up", &query);
        metrics.observe(metrics.label(&info), StatusCode::NOT_FOUND, Duration::ZERO);
        let mut text = Exposition::default();
        metrics.expose(&mut text);
        let text = text.into_text();
        assert!(
            !text.contains("nonsense") && !text.contains("made-up"),
            "{text}"
        );
        assert!(text.contains("resource=\"pods\",subresource=\"other\",code=\"404\"} 1"));
    }
}
