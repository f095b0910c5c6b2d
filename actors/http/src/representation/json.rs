//! JSON from stored bytes: cut and spliced, never decoded.

use bytes::Bytes;
use kabuki_model::Stored;
use kabuki_model::request::ObjectList;
use serde_json::{Value, json};

/// What precedes the fields of `metadata` in canonical JSON, which has it in its first bytes.
const METADATA: &[u8] = b"\"metadata\":{";

/// Where `metadata` begins in canonical JSON.
fn metadata_at(json: &[u8]) -> Option<usize> {
    json.windows(METADATA.len()).position(|w| w == METADATA)
}

/// Appends an object as the item of a list: without `apiVersion` and `kind`, which the list says.
pub(super) fn push_item(buffer: &mut Vec<u8>, object: &Stored) {
    let Some(at) = metadata_at(&object.json) else {
        buffer.extend_from_slice(&object.to_json());
        return;
    };
    let (head, tail) = object.json[at..].split_at(METADATA.len());
    buffer.push(b'{');
    buffer.extend_from_slice(head);
    push_revision(buffer, object.revision, tail.first() != Some(&b'}'));
    buffer.extend_from_slice(tail);
}

fn push_revision(buffer: &mut Vec<u8>, revision: u64, more: bool) {
    if revision > 0 {
        let comma = if more { "," } else { "" };
        let field = format!("\"resourceVersion\":\"{revision}\"{comma}");
        buffer.extend_from_slice(field.as_bytes());
    }
}

/// Appends an object's metadata alone, as a `PartialObjectMetadata`. As the item of a list, it
/// does not say what it is.
pub(super) fn push_partial(buffer: &mut Vec<u8>, object: &Stored, version: &str, item: bool) {
    buffer.push(b'{');
    if !item {
        let head =
            format!("\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/{version}\",");
        buffer.extend_from_slice(head.as_bytes());
    }
    let fields = metadata_at(&object.json)
        .map(|at| &object.json[at + METADATA.len()..])
        .and_then(|rest| rest.get(..end_of_object(rest)?))
        .unwrap_or_default();
    buffer.extend_from_slice(METADATA);
    push_revision(buffer, object.revision, !fields.is_empty());
    buffer.extend_from_slice(fields);
    buffer.extend_from_slice(b"}}");
}

/// Where the object ends whose first field begins here.
fn end_of_object(json: &[u8]) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Some(at),
            },
            _ => {}
        }
    }
    None
}

/// The metadata of a list.
pub(super) fn list_meta(list: &ObjectList) -> Value {
    let mut meta = json!({"resourceVersion": list.revision.to_string()});
    if !list.continue_token.is_empty() {
        meta["continue"] = list.continue_token.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        meta["remainingItemCount"] = remaining.into();
    }
    meta
}

/// What precedes the items of a list.
pub(super) fn list_head(kind: &str, api_version: &str, list: &ObjectList) -> Vec<u8> {
    let meta = list_meta(list);
    let head = format!(
        "{{\"kind\":{kind:?},\"apiVersion\":{api_version:?},\"metadata\":{meta},\"items\":["
    );
    head.into_bytes()
}

/// One event of a watch.
pub(super) fn event(name: &str, object: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(object.len() + 32);
    event.extend_from_slice(b"{\"type\":\"");
    event.extend_from_slice(name.as_bytes());
    event.extend_from_slice(b"\",\"object\":");
    event.extend_from_slice(object);
    event.extend_from_slice(b"}\n");
    event.into()
}

/// What a bookmark carries: a revision, and whether it ends the initial objects.
pub(super) fn bookmark(kind: &str, api_version: &str, revision: u64, initial_end: bool) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    json!({"kind": kind, "apiVersion": api_version, "metadata": metadata})
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::object::canonical_json;
    use kabuki_model::{ObjectKey, Resource};

    fn stored(metadata: Value) -> Stored {
        let value = json!({"metadata": metadata, "spec": {"a": 1}});
        let json = canonical_json("v1", "Pod", value.as_object().expect("object").clone());
        let key = ObjectKey::new(Resource::PODS, "default", "web");
        Stored::new(key, "u".into(), 7, json)
    }

    #[test]
    fn items_and_metadata_are_cut_out_of_stored_bytes() {
        let tricky = json!({"name": "a}\"]{", "labels": {"x": "\\"}, "managedFields": [{"k": []}]});
        for metadata in [tricky, json!({})] {
            let object = stored(metadata.clone());
            let mut expected = metadata;
            expected["resourceVersion"] = "7".into();
            let mut item = Vec::new();
            push_item(&mut item, &object);
            let item: Value = serde_json::from_slice(&item).expect("valid");
            assert_eq!(item, json!({"metadata": expected, "spec": {"a": 1}}));
            let mut partial = Vec::new();
            push_partial(&mut partial, &object, "v1", false);
            let partial: Value = serde_json::from_slice(&partial).expect("valid");
            let shown = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": expected,
            });
            assert_eq!(partial, shown);
        }
    }
}
