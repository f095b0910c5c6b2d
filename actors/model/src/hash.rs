//! The hash of a pod template: the `pod-template-hash` label, which keeps the pods of one
//! ReplicaSet apart from those of another.
//!
//! It is FNV-1a over the template's JSON with sorted fields, so it depends on the template and
//! the collision count alone: not on the machine, the version of a library, or the order in
//! which fields were written.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// The label that holds the hash.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// Letters and digits that make no words: no vowels, nothing that looks like another.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a template, as ten letters at most. `collisions` is `status.collisionCount`.
/// The label itself does not count.
pub fn pod_template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(POD_TEMPLATE_HASH);
    }
    let mut hash = Fnv::new();
    hash.value(&value);
    if let Some(collisions) = collisions {
        hash.bytes(&collisions.to_le_bytes());
    }
    safe_encoded(hash.folded())
}

/// A number as text that may stand in a name.
fn safe_encoded(number: u32) -> String {
    let letter = |c: u8| char::from(ALPHABET[usize::from(c - b'0') % ALPHABET.len()]);
    number.to_string().bytes().map(letter).collect()
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Every value is marked with its type and length, so that no two have the same bytes.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Array(items) => {
                self.bytes(b"[");
                self.bytes(&(items.len() as u64).to_le_bytes());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Object(fields) => {
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort_by_key(|(name, _)| *name);
                self.bytes(b"{");
                self.bytes(&(sorted.len() as u64).to_le_bytes());
                for (name, value) in sorted {
                    self.text(name);
                    self.value(value);
                }
            }
            Value::String(text) => self.text(text),
            scalar => self.text(&scalar.to_string()),
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(b"\"");
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    fn folded(&self) -> u32 {
        (self.0 ^ (self.0 >> 32)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }))
        .expect("a template")
    }

    #[test]
    fn the_hash_is_the_same_for_ever() {
        // A different value here would roll every Deployment of every cluster anew.
        let hash = pod_template_hash(&template("nginx"), None);
        assert_eq!(hash, pod_template_hash(&template("nginx"), None));
        assert!(
            hash.len() <= 10 && hash.bytes().all(|b| ALPHABET.contains(&b)),
            "{hash}"
        );
        assert_eq!(hash, "clfjdhccbk");
    }

    #[test]
    fn template_and_collisions_change_it_and_its_own_label_does_not() {
        let hash = pod_template_hash(&template("nginx"), None);
        assert_ne!(hash, pod_template_hash(&template("redis"), None));
        assert_ne!(hash, pod_template_hash(&template("nginx"), Some(1)));
        let mut labelled = template("nginx");
        let labels = labelled
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        labels.insert(POD_TEMPLATE_HASH.to_string(), hash.clone());
        assert_eq!(hash, pod_template_hash(&labelled, None));
    }
}
