//! An answer as it is written down.

use anyhow::Context;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kabuki_tests::harness::Reply;
use serde_json::Value;

/// The fields that differ from run to run.
const MASKED: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "time",
    "lastUpdateTime",
    "lastTransitionTime",
];
/// Texts of protobuf that are shorter may be part of a number.
const SHORTEST_TEXT: usize = 6;

/// What later requests may ask for.
#[derive(Default)]
pub struct Seen {
    revision: String,
    uid: String,
    list_revision: String,
}

impl Seen {
    pub fn fill_in(&self, line: &str) -> String {
        line.replace("{resourceVersion}", &self.revision)
            .replace("{listVersion}", &self.list_revision)
            .replace("{uid}", &self.uid)
    }

    fn remember(&mut self, answer: &Value) {
        let text = |field: &str| answer["metadata"][field].as_str().map(str::to_string);
        match (text("resourceVersion"), text("uid")) {
            (Some(revision), Some(uid)) => (self.revision, self.uid) = (revision, uid),
            (Some(revision), None) => self.list_revision = revision,
            _ => {}
        }
    }
}

fn media(headers: &http::HeaderMap) -> &str {
    let given = headers.get("content-type").and_then(|v| v.to_str().ok());
    given.unwrap_or("")
}

/// The lines of a whole answer.
pub fn of(reply: &Reply, path: &str, seen: &mut Seen) -> anyhow::Result<Vec<String>> {
    let media = media(&reply.headers);
    let mut lines = vec![format!("{} {media}", reply.code).trim_end().to_string()];
    let warnings = reply.headers.get_all("warning").iter();
    lines.extend(warnings.filter_map(|w| Some(format!("warning: {}", w.to_str().ok()?))));
    // What is served grows; its form has tests of its own.
    let grows = matches!(path, "/api" | "/apis" | "/version") || path.starts_with("/openapi");
    if grows {
        return Ok(lines);
    }
    if media.starts_with("application/vnd.kubernetes.protobuf") {
        lines.extend(texts(&reply.body));
        return Ok(lines);
    }
    let mut value: Value = serde_json::from_slice(&reply.body)?;
    seen.remember(&value);
    mask(&mut value);
    lines.extend(
        serde_json::to_string_pretty(&value)?
            .lines()
            .map(str::to_string),
    );
    Ok(lines)
}

/// The lines of a watch that is read for so many events.
pub async fn of_watch(
    answer: Response<Incoming>,
    events: usize,
    seen: &mut Seen,
) -> anyhow::Result<Vec<String>> {
    let media = media(answer.headers()).to_string();
    let mut lines = vec![format!("{} {media}", answer.status().as_u16())];
    let protobuf = media.starts_with("application/vnd.kubernetes.protobuf");
    let mut body = answer.into_body();
    let mut held: Vec<u8> = Vec::new();
    for _ in 0..events {
        let event = loop {
            if let Some(length) = first_event(&held, protobuf) {
                let rest = held.split_off(length);
                break std::mem::replace(&mut held, rest);
            }
            let frame = body.frame().await.context("the watch ended")??;
            held.extend(frame.data_ref().map(|d| d.to_vec()).unwrap_or_default());
        };
        if protobuf {
            lines.extend(texts(&event));
            continue;
        }
        let mut event: Value = serde_json::from_slice(&event)?;
        seen.remember(&event["object"]);
        mask(&mut event);
        lines.extend(
            serde_json::to_string_pretty(&event)?
                .lines()
                .map(str::to_string),
        );
    }
    Ok(lines)
}

/// How long the first event is, once it is whole: a line, or what its length says.
fn first_event(held: &[u8], protobuf: bool) -> Option<usize> {
    if !protobuf {
        return Some(held.iter().position(|b| *b == b'\n')? + 1);
    }
    let length = u32::from_be_bytes(*held.first_chunk()?) as usize + 4;
    (held.len() >= length).then_some(length)
}

/// The texts in protobuf, in their order.
fn texts(bytes: &[u8]) -> Vec<String> {
    let runs = bytes.split(|b| !matches!(b, b' '..=b'~'));
    let long = runs.filter(|run| run.len() >= SHORTEST_TEXT);
    long.map(|run| without_uid(String::from_utf8_lossy(run).trim_end()))
        .collect()
}

/// A text with each uid (8-4-4-4-12 digits) masked.
fn without_uid(text: &str) -> String {
    const UID: usize = 36;
    let dashes = [8, 13, 18, 23];
    let is_uid = |part: &str| {
        let fits = |(at, c): (usize, char)| match dashes.contains(&at) {
            true => c == '-',
            false => c.is_ascii_hexdigit(),
        };
        part.len() == UID && part.char_indices().all(fits)
    };
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.get(..UID).is_some_and(is_uid) {
            masked.push_str("UID");
            rest = &rest[UID..];
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    masked
}

fn mask(value: &mut Value) {
    mask_ages(value);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if MASKED.contains(&name.as_str()) => {
                        *text = name.to_uppercase();
                    }
                    _ => mask(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => *text = without_uid(text),
        _ => {}
    }
}

/// Takes the ages out of a table.
fn mask_ages(table: &mut Value) {
    let columns = table["columnDefinitions"].as_array();
    let at = columns.and_then(|c| c.iter().position(|c| c["name"] == "Age"));
    let Some(at) = at else { return };
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        row["cells"][at] = "AGE".into();
    }
}
