//! The list of kinds.

use super::any::{Decoded, Typed};
use super::configmap::ConfigMapRules;
use super::pod::PodRules;
use super::rules::{Column, KindRules, Names};
use crate::object::Resource;
use crate::status::Cause;
use serde_json::Value;
use std::sync::LazyLock;

/// Whether a kind's objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They belong to the whole cluster.
    Cluster,
}

/// One kind: what the generic mechanisms need to know of it.
pub struct Kind {
    /// The full resource name, for example `deployments.apps`.
    pub resource: Resource,
    /// How it is called.
    pub names: Names,
    /// Whether `status` is a subresource.
    pub has_status: bool,
    /// Whether `status` may be given at creation.
    pub status_on_create: bool,
    /// Whether `metadata.generation` counts changes of `spec`.
    pub has_generation: bool,
    /// The fields that field selectors know beyond `metadata.name` and `metadata.namespace`.
    pub fields: &'static [&'static str],
    /// The columns of its table.
    pub columns: &'static [Column],
    decode: fn(Value) -> Result<Decoded, Cause>,
    schema: fn() -> Value,
}

impl Kind {
    fn new<R: KindRules>() -> Self {
        let names = R::NAMES;
        let resource = match names.group {
            "" => Resource::named(names.plural),
            group => Resource::named(&format!("{}.{group}", names.plural)),
        };
        Self {
            resource,
            names,
            has_status: R::HAS_STATUS,
            status_on_create: R::STATUS_ON_CREATE,
            has_generation: R::HAS_GENERATION,
            fields: R::FIELDS,
            columns: R::columns(),
            decode: Typed::<R>::decode,
            schema: || schemars::schema_for!(R::Object).to_value(),
        }
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(self.names.group, self.names.version)
    }

    /// Whether its objects live in namespaces.
    pub fn scope(&self) -> Scope {
        match self.names.namespaced {
            true => Scope::Namespaced,
            false => Scope::Cluster,
        }
    }

    /// Decodes JSON as an object of this kind; not yet defaulted or validated.
    pub fn decode(&self, value: Value) -> Result<Decoded, Cause> {
        (self.decode)(value)
    }

    /// The JSON schema of the kind, with descriptions. Made anew at each call.
    pub fn schema(&self) -> Value {
        (self.schema)()
    }
}

static KINDS: LazyLock<Vec<Kind>> =
    LazyLock::new(|| vec![Kind::new::<ConfigMapRules>(), Kind::new::<PodRules>()]);

/// Every kind, in the order of `api-resources`.
pub fn all() -> &'static [Kind] {
    &KINDS
}

/// The kind of a resource.
pub fn of(resource: &Resource) -> Option<&'static Kind> {
    all().iter().find(|k| k.resource == *resource)
}

/// The kind that a person names: plural, singular, short name, kind (any case), each also with
/// its group (`deployments.apps`) or version and group (`deployments.v1.apps`).
pub fn by_name(name: &str) -> Option<&'static Kind> {
    let name = name.to_lowercase();
    let (plain, rest) = name
        .split_once('.')
        .map_or((&*name, None), |(p, r)| (p, Some(r)));
    all().iter().find(|k| {
        let named = plain == k.names.plural
            || plain == k.names.singular
            || plain == k.names.kind.to_lowercase()
            || k.names.short.contains(&plain);
        let versioned = format!("{}.{}", k.names.version, k.names.group);
        named
            && rest.is_none_or(|r| {
                r == k.names.group || r.trim_end_matches('.') == versioned.trim_end_matches('.')
            })
    })
}

/// `v1` for the core group, else `group/version`.
pub(super) fn api_version(group: &str, version: &str) -> String {
    match group {
        "" => version.to_string(),
        group => format!("{group}/{version}"),
    }
}
