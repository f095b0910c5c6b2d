//! The stored object.

use super::ObjectKey;
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use memchr::memmem::Finder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::borrow::Borrow;
use std::fmt;
use std::io::Write;
use std::sync::{Arc, LazyLock, OnceLock};

/// Stored JSON that is not an object of the kind that it is stored under.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode {key} as {what}")]
pub struct DecodeError {
    /// Which object.
    pub key: ObjectKey,
    /// The Rust type that was expected.
    pub what: &'static str,
    /// What is wrong with the JSON.
    #[source]
    pub source: serde_json::Error,
}

/// An object as the store holds it.
///
/// Invariants: `json` is canonical (made by [`canonical_json`]: it begins with `apiVersion`,
/// `kind`, `metadata`) and has no `metadata.resourceVersion`, which is `revision`. The entries of
/// `metadata.managedFields` come first in the metadata, so that they can be left out unread.
#[derive(Serialize, Deserialize)]
pub struct Stored {
    /// Where it lives.
    pub key: ObjectKey,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// The revision of its last change: `metadata.resourceVersion`. Zero: not yet stored.
    pub revision: u64,
    /// The canonical JSON, without `metadata.resourceVersion`.
    pub json: Bytes,
    /// Boxed: it is large, and most objects of a large cluster are never looked into.
    #[serde(skip)]
    meta: OnceLock<Box<ObjectMeta>>,
    #[serde(skip)]
    typed: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// Most objects' JSON has fewer bytes, or not many more.
const ABOUT_BYTES: usize = 2 << 10;
/// What precedes the fields of `metadata` in canonical JSON.
const METADATA: &[u8] = b"\"metadata\":{";
/// What then precedes the entries of managers, if there are any.
const MANAGED_FIELDS: &[u8] = b"\"managedFields\":";

impl Stored {
    /// Wraps canonical JSON.
    pub fn new(key: ObjectKey, uid: Arc<str>, revision: u64, json: Bytes) -> Self {
        Self {
            key,
            uid,
            revision,
            json,
            meta: OnceLock::new(),
            typed: OnceLock::new(),
        }
    }

    /// The same object at another revision. The decoded form is not carried over, because it
    /// holds the revision.
    pub fn at_revision(&self, revision: u64) -> Self {
        Self::new(
            self.key.clone(),
            self.uid.clone(),
            revision,
            self.json.clone(),
        )
    }

    /// The whole JSON with `metadata.resourceVersion`: one copy, no parsing.
    pub fn to_json(&self) -> Vec<u8> {
        if self.revision == 0 {
            return self.json.to_vec();
        }
        let Some(at) = find(&self.json, METADATA).map(|at| at + METADATA.len()) else {
            return self.json.to_vec();
        };
        let (head, tail) = self.json.split_at(at);
        let comma = if tail.first() == Some(&b'}') { "" } else { "," };
        let field = format!("\"resourceVersion\":\"{}\"{comma}", self.revision);
        let mut json = Vec::with_capacity(self.json.len() + field.len());
        json.extend_from_slice(head);
        json.extend_from_slice(field.as_bytes());
        json.extend_from_slice(tail);
        json
    }

    /// The JSON of `metadata.managedFields`; `None` when there are none.
    pub fn managed_fields(&self) -> Option<&[u8]> {
        let (start, end) = managed_fields_at(&self.json)?;
        self.json.get(start..end)
    }

    /// The JSON with `metadata.resourceVersion`, without `metadata.managedFields`.
    pub fn to_plain_json(&self) -> Vec<u8> {
        match managed_fields_at(&self.json) {
            None => self.to_json(),
            Some((start, end)) => {
                let key = start - MANAGED_FIELDS.len();
                let comma = usize::from(self.json.get(end) == Some(&b','));
                let mut json = Vec::with_capacity(self.json.len());
                json.extend_from_slice(&self.json[..key]);
                if self.revision > 0 {
                    let more = if comma == 1 { "," } else { "" };
                    let field = format!("\"resourceVersion\":\"{}\"{more}", self.revision);
                    json.extend_from_slice(field.as_bytes());
                }
                json.extend_from_slice(&self.json[end + comma..]);
                json
            }
        }
    }

    /// Whether it may have owners; without decoding it.
    pub fn may_have_owners(&self) -> bool {
        may_have_owners(&self.json)
    }

    /// Whether it may have finalizers; without decoding it.
    pub fn may_have_finalizers(&self) -> bool {
        static NAME: LazyLock<Finder> = LazyLock::new(|| Finder::new("finalizers"));
        NAME.find(&self.json).is_some()
    }

    /// Whether the JSON without `metadata.managedFields` is `plain`, which is canonical and has no
    /// revision.
    pub fn is_plainly(&self, plain: &[u8]) -> bool {
        let Some((start, end)) = managed_fields_at(&self.json) else {
            return self.json == plain;
        };
        let key = start - MANAGED_FIELDS.len();
        let rest = end + usize::from(self.json.get(end) == Some(&b','));
        plain.split_at_checked(key) == Some((&self.json[..key], &self.json[rest..]))
    }

    /// The object as a JSON value, without `metadata.managedFields`.
    pub fn to_plain_value(&self) -> Result<serde_json::Value, DecodeError> {
        serde_json::from_slice(&self.to_plain_json())
            .map_err(|e| self.undecodable::<serde_json::Value>(e))
    }

    /// The whole object as a JSON value.
    pub fn to_value(&self) -> Result<serde_json::Value, DecodeError> {
        serde_json::from_slice(&self.to_json())
            .map_err(|e| self.undecodable::<serde_json::Value>(e))
    }

    /// The metadata without `managedFields`, decoded once. An object whose metadata cannot be decoded has none.
    pub fn meta(&self) -> &ObjectMeta {
        #[derive(Deserialize)]
        struct Partial {
            metadata: ObjectMeta,
        }
        self.meta.get_or_init(|| {
            let json = self.to_plain_json();
            let decoded = serde_json::from_slice::<Partial>(&json);
            Box::new(decoded.map_or_else(|_| ObjectMeta::default(), |p| p.metadata))
        })
    }

    /// The typed form without `managedFields`, decoded once for the first type that is asked for,
    /// and shared.
    pub fn typed<T>(&self) -> Result<Arc<T>, DecodeError>
    where
        T: DeserializeOwned + Send + Sync + 'static,
    {
        if let Some(held) = self.typed.get()
            && let Ok(typed) = held.clone().downcast::<T>()
        {
            return Ok(typed);
        }
        let decoded: T =
            serde_json::from_slice(&self.to_plain_json()).map_err(|e| self.undecodable::<T>(e))?;
        let decoded = Arc::new(decoded);
        // Another reader may have been first, or holds another type: both are fine.
        let _ = self.typed.set(decoded.clone());
        Ok(decoded)
    }

    fn undecodable<T>(&self, source: serde_json::Error) -> DecodeError {
        DecodeError {
            key: self.key.clone(),
            what: std::any::type_name::<T>(),
            source,
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key, self.revision)
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.uid == other.uid
            && self.revision == other.revision
            && self.json == other.json
    }
}

/// The canonical JSON of an object: `apiVersion`, `kind`, `metadata` first, then the other
/// fields in their order, and no `metadata.resourceVersion`. The metadata begin with
/// `managedFields`.
///
/// `object` must be a JSON object; missing heads are written as they are found (absent stays
/// absent, but `metadata` is always there).
pub fn canonical_json(
    api_version: &str,
    kind: &str,
    object: impl Borrow<serde_json::Map<String, serde_json::Value>>,
) -> Bytes {
    let object = object.borrow();
    let metadata = object.get("metadata").and_then(|m| m.as_object());
    let mut json = Vec::with_capacity(ABOUT_BYTES);
    // Writing to memory cannot fail.
    let _ = write!(
        json,
        "{{\"apiVersion\":{api_version:?},\"kind\":{kind:?},\"metadata\":{{"
    );
    let apart = ["resourceVersion", "managedFields"];
    let fields = metadata.into_iter().flatten();
    for (number, field) in fields.filter(|f| !apart.contains(&&**f.0)).enumerate() {
        if number > 0 {
            json.push(b',');
        }
        write_field(&mut json, field);
    }
    json.push(b'}');
    let before = ["apiVersion", "kind", "metadata"];
    for field in object.iter().filter(|f| !before.contains(&&**f.0)) {
        json.push(b',');
        write_field(&mut json, field);
    }
    json.push(b'}');
    let managed = metadata.and_then(|m| m.get("managedFields"));
    match managed.filter(|m| !m.is_null()) {
        None => json.into(),
        Some(managed) => with_managed_fields(json.into(), Some(managed.to_string().as_bytes())),
    }
}

fn write_field(json: &mut Vec<u8>, (name, value): (&String, &serde_json::Value)) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(&mut *json, name);
    json.push(b':');
    let _ = serde_json::to_writer(json, value);
}

/// Canonical JSON without `metadata.managedFields`, with these (a JSON list).
pub fn with_managed_fields(json: Bytes, managed: Option<&[u8]>) -> Bytes {
    let (Some(managed), Some(at)) = (managed, find(&json, METADATA)) else {
        return json;
    };
    let at = at + METADATA.len();
    let (head, tail) = json.split_at(at);
    let mut whole = Vec::with_capacity(json.len() + MANAGED_FIELDS.len() + managed.len() + 1);
    whole.extend_from_slice(head);
    whole.extend_from_slice(MANAGED_FIELDS);
    whole.extend_from_slice(managed);
    if tail.first() != Some(&b'}') {
        whole.push(b',');
    }
    whole.extend_from_slice(tail);
    whole.into()
}

/// Where the entries of managers are in canonical JSON.
fn managed_fields_at(json: &[u8]) -> Option<(usize, usize)> {
    let metadata = find(json, METADATA)? + METADATA.len();
    let rest = json.get(metadata..)?.strip_prefix(MANAGED_FIELDS)?;
    let start = metadata + MANAGED_FIELDS.len();
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some((start, start + at + 1));
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether the object of canonical JSON, where names are never escaped, may have owners.
pub(crate) fn may_have_owners(json: &[u8]) -> bool {
    static NAME: LazyLock<Finder> = LazyLock::new(|| Finder::new("ownerReferences"));
    NAME.find(json).is_some()
}

/// Of what is near the beginning.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::super::Resource;
    use super::*;

    #[test]
    fn the_revision_is_spliced_into_the_metadata() {
        let value = serde_json::json!({
            "spec": {"metadata": {"a": "b"}}, "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "web", "resourceVersion": "3"},
        });
        let json = canonical_json("v1", "Pod", value.as_object().expect("object").clone());
        let key = ObjectKey::new(Resource::PODS, "default", "web");
        let stored = Stored::new(key, "u".into(), 42, json);
        let shown = stored.to_value().expect("valid");
        assert_eq!(shown["metadata"]["resourceVersion"], "42");
        assert_eq!(shown["spec"]["metadata"]["a"], "b");
        assert_eq!(stored.meta().name.as_deref(), Some("web"));
        assert!(
            stored
                .to_json()
                .starts_with(b"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":")
        );
    }

    #[test]
    fn the_entries_of_managers_can_be_left_out_unread() {
        for metadata in [
            serde_json::json!({"name": "web", "managedFields": [{"manager": "a]}\"", "x": {"k:{}": {}}}]}),
            serde_json::json!({"managedFields": [{}]}),
            serde_json::json!({"name": "web"}),
            serde_json::json!({}),
        ] {
            let value = serde_json::json!({"metadata": metadata, "spec": {"managedFields": [1]}});
            let json = canonical_json("v1", "Pod", value.as_object().expect("object").clone());
            let key = ObjectKey::new(Resource::PODS, "default", "web");
            for revision in [0, 42] {
                let stored = Stored::new(key.clone(), "u".into(), revision, json.clone());
                let mut whole = stored.to_value().expect("valid");
                let managed = whole["metadata"]["managedFields"].take();
                let found = stored
                    .managed_fields()
                    .map(|m| serde_json::from_slice(m).expect("valid"));
                assert_eq!(found, Some(managed.clone()).filter(|m| !m.is_null()));
                let mut plain = stored.to_plain_value().expect("valid");
                assert!(plain["metadata"].get("managedFields").is_none());
                let bare = Stored::new(key.clone(), "u".into(), 0, stored.to_plain_json().into());
                plain["metadata"]["managedFields"] = managed;
                whole["metadata"]["managedFields"] = plain["metadata"]["managedFields"].clone();
                assert_eq!(plain, whole);
                if revision == 0 {
                    assert!(stored.is_plainly(&bare.json) && !stored.is_plainly(b"{}"));
                    assert_eq!(
                        with_managed_fields(bare.json.clone(), stored.managed_fields()),
                        json
                    );
                }
            }
        }
    }

    #[test]
    fn a_stored_object_survives_the_codec() {
        let key = ObjectKey::new(Resource::PODS, "default", "web");
        let stored = Stored::new(key, "u".into(), 42, Bytes::from_static(b"{}"));
        let bytes = crate::codec::encode(&stored).expect("encodes");
        assert_eq!(
            crate::codec::decode::<Stored>(&bytes).expect("decodes"),
            stored
        );
    }
}
