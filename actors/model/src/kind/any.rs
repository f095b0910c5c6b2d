//! One object of any kind: the typed form behind a trait object, so that everything that is the
//! same for every kind is written once.

use super::metadata::validate_metadata;
use super::rules::{KindRules, Scale};
use crate::object::canonical_json;
use crate::schema;
use crate::status::{Cause, CauseReason};
use bytes::Bytes;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::any::Any;

/// An object of some kind, in its typed form. Methods that take another object require it to be
/// of the same kind and answer as if nothing were wrong when it is not.
pub trait AnyObject: Any + Send + Sync {
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// See [`KindRules::default`].
    fn default(&mut self);
    /// See [`KindRules::prepare_create`].
    fn prepare_create(&mut self);
    /// See [`KindRules::prepare_update`].
    fn prepare_update(&mut self, old: &dyn AnyObject);
    /// See [`KindRules::validate`], [`KindRules::validate_name`] and
    /// [`validate_metadata`](crate::kind::validate_metadata).
    fn validate(&self) -> Vec<Cause>;
    /// See [`KindRules::validate_update`].
    fn validate_update(&self, old: &dyn AnyObject) -> Vec<Cause>;
    /// See [`KindRules::validate_status`].
    fn validate_status(&self, old: &dyn AnyObject) -> Vec<Cause>;
    /// See [`KindRules::grace_period_s`].
    fn grace_period_s(&self, requested: Option<i64>) -> i64;
    /// See [`KindRules::mark_deleting`].
    fn mark_deleting(&mut self);
    /// See [`KindRules::deletion_blocked`].
    fn deletion_blocked(&self) -> bool;
    /// See [`KindRules::scale`].
    fn scale(&self) -> Option<Scale>;
    /// See [`KindRules::set_replicas`].
    fn set_replicas(&mut self, replicas: i32);
    /// See [`KindRules::fields`].
    fn fields(&self) -> Vec<(&'static str, String)>;
    /// See [`KindRules::row`].
    fn row(&self, now: Timestamp) -> Vec<String>;
    /// The typed object itself, for rules that are about one kind alone.
    fn typed(&self) -> &dyn Any;
    /// The typed object itself, for rules that are about one kind alone.
    fn typed_mut(&mut self) -> &mut dyn Any;
    /// Canonical JSON, see [`canonical_json`].
    fn to_json(&self) -> Bytes;
    /// The object as a JSON value.
    fn to_value(&self) -> Value;
    /// Canonical JSON of the object from its [`Self::to_value`].
    fn canonical(&self, value: &Value) -> Bytes;
}

/// A decoded object and what was left out of it.
pub struct Decoded {
    /// The object, not yet defaulted.
    pub object: Box<dyn AnyObject>,
    /// The paths of fields that the kind does not have, for example `spec.containers[0].imag`.
    pub unknown: Vec<String>,
}

pub(super) struct Typed<R: KindRules>(R::Object);

impl<R: KindRules> Typed<R> {
    pub(super) fn decode(value: Value) -> Result<Decoded, Cause> {
        let wrong = |field: String, message: String| Cause {
            reason: CauseReason::FieldValueTypeInvalid,
            field,
            message,
        };
        let names = &R::NAMES;
        let version = super::registry::api_version(names.group, names.version);
        let Some(of) = schema::find(&version, names.kind) else {
            let message = format!("the fields of {version} {} are not known", names.kind);
            return Err(wrong(String::new(), message));
        };
        let unknown = schema::check(of, &value).map_err(|e| wrong(e.field, e.message))?;
        match serde_json::from_value(value) {
            Ok(object) => Ok(Decoded {
                object: Box::new(Self(object)),
                unknown,
            }),
            // The table says what the type can hold; should it err, the place is not known.
            Err(error) => Err(wrong(String::new(), error.to_string())),
        }
    }

    /// From what is known to be an object of the kind: nothing is said of where it is not.
    pub(super) fn decode_stored(json: &[u8]) -> serde_json::Result<Box<dyn AnyObject>> {
        Ok(Box::new(Self(serde_json::from_slice(json)?)))
    }
}

fn same<R: KindRules>(other: &dyn AnyObject) -> Option<&R::Object> {
    (other as &dyn Any).downcast_ref::<Typed<R>>().map(|t| &t.0)
}

/// The name, and the prefix that it was made from, if it was.
fn validate_name<R: KindRules>(meta: &ObjectMeta) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(prefix) = meta.generate_name.as_deref().filter(|p| !p.is_empty()) {
        // What follows the prefix makes a trailing dash part of the name.
        let masked = match prefix.strip_suffix('-') {
            Some(stem) => format!("{stem}a"),
            None => prefix.to_string(),
        };
        if let Some(why) = R::validate_name(&masked) {
            causes.push(Cause::invalid("metadata.generateName", prefix, &why));
        }
    }
    let name = meta.name.as_deref().unwrap_or_default();
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(why) = R::validate_name(name) {
        causes.push(Cause::invalid("metadata.name", name, &why));
    }
    causes
}

impl<R: KindRules> AnyObject for Typed<R> {
    fn meta(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }

    fn default(&mut self) {
        R::default(&mut self.0);
    }

    fn prepare_create(&mut self) {
        R::prepare_create(&mut self.0);
    }

    fn prepare_update(&mut self, old: &dyn AnyObject) {
        if let Some(old) = same::<R>(old) {
            R::prepare_update(&mut self.0, old);
        }
    }

    fn validate(&self) -> Vec<Cause> {
        let meta = self.meta();
        let mut causes = validate_name::<R>(meta);
        causes.extend(validate_metadata(meta, R::NAMES.namespaced));
        causes.extend(R::validate(&self.0));
        causes
    }

    fn validate_update(&self, old: &dyn AnyObject) -> Vec<Cause> {
        same::<R>(old).map_or_else(Vec::new, |old| R::validate_update(&self.0, old))
    }

    fn validate_status(&self, old: &dyn AnyObject) -> Vec<Cause> {
        same::<R>(old).map_or_else(Vec::new, |old| R::validate_status(&self.0, old))
    }

    fn grace_period_s(&self, requested: Option<i64>) -> i64 {
        R::grace_period_s(&self.0, requested)
    }

    fn mark_deleting(&mut self) {
        R::mark_deleting(&mut self.0);
    }

    fn deletion_blocked(&self) -> bool {
        R::deletion_blocked(&self.0)
    }

    fn scale(&self) -> Option<Scale> {
        R::scale(&self.0)
    }

    fn set_replicas(&mut self, replicas: i32) {
        R::set_replicas(&mut self.0, replicas);
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        R::fields(&self.0)
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        R::row(&self.0, now)
    }

    fn typed(&self) -> &dyn Any {
        &self.0
    }

    fn typed_mut(&mut self) -> &mut dyn Any {
        &mut self.0
    }

    fn to_json(&self) -> Bytes {
        self.canonical(&self.to_value())
    }

    fn canonical(&self, value: &Value) -> Bytes {
        let nothing = serde_json::Map::new();
        let names = &R::NAMES;
        let version = super::registry::api_version(names.group, names.version);
        canonical_json(&version, names.kind, value.as_object().unwrap_or(&nothing))
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(&self.0).unwrap_or_default()
    }
}
