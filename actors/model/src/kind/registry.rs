//! The list of kinds.

use super::amounts::Amounts;
use super::any::{AnyObject, Decoded, Typed};
use super::configmap::ConfigMapRules;
use super::deployment::DeploymentRules;
use super::endpoints::EndpointsRules;
use super::endpointslice::EndpointSliceRules;
use super::event::EventRules;
use super::form::Form;
use super::lease::LeaseRules;
use super::namespace::NamespaceRules;
use super::node::NodeRules;
use super::pod::PodRules;
use super::replicaset::ReplicaSetRules;
use super::rules::{Column, KindRules, Names};
use super::runtimeclass::RuntimeClassRules;
use super::secret::SecretRules;
use super::service::ServiceRules;
use super::serviceaccount::ServiceAccountRules;
use super::servicecidr::ServiceCidrRules;
use crate::object::{DecodeError, Resource, Stored};
use crate::status::Cause;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use std::sync::{LazyLock, OnceLock};

/// Whether a kind's objects live in namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They belong to the whole cluster.
    Cluster,
}

/// The fields that an object can be selected by, with their values.
pub type FieldValues = Vec<(&'static str, String)>;

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
    /// The other groups and versions that it is served in.
    pub forms: &'static [Form],
    decode: fn(Value) -> Result<Decoded, Cause>,
    decode_stored: fn(&[u8]) -> serde_json::Result<Box<dyn AnyObject>>,
    schema: fn() -> Value,
    amounts: OnceLock<Option<Amounts>>,
    fields_of: fn(&Stored) -> Result<FieldValues, DecodeError>,
    cells_of: fn(&Stored, Timestamp) -> Result<Vec<String>, DecodeError>,
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
            forms: R::FORMS,
            decode: Typed::<R>::decode,
            decode_stored: Typed::<R>::decode_stored,
            schema: || schemars::schema_for!(R::Object).to_value(),
            amounts: OnceLock::new(),
            fields_of: |o| Ok(R::fields(&*o.typed::<R::Object>()?)),
            cells_of: |o, now| Ok(R::row(&*o.typed::<R::Object>()?, now)),
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

    /// Decodes JSON as an object of this kind, with its quantities in canonical form; not yet
    /// defaulted or validated.
    pub fn decode(&self, mut value: Value) -> Result<Decoded, Cause> {
        self.canonical_quantities(&mut value)?;
        (self.decode)(value)
    }

    /// The typed form of a stored object, without `managedFields`, to be changed or compared with.
    ///
    /// # Errors
    /// It is not an object of this kind.
    pub fn decode_stored(&self, object: &Stored) -> serde_json::Result<Box<dyn AnyObject>> {
        (self.decode_stored)(&object.to_plain_json())
    }

    /// Brings the quantities of an object's JSON into canonical form.
    pub fn canonical_quantities(&self, value: &mut Value) -> Result<(), Cause> {
        let amounts = self
            .amounts
            .get_or_init(|| Amounts::of_schema(&self.schema()));
        match amounts {
            Some(amounts) => amounts.canonicalise(value),
            None => Ok(()),
        }
    }

    /// The fields of its objects, with what protobuf and server-side apply know of them. `None`
    /// for kinds that the table of types does not have.
    pub fn message(&self) -> Option<&'static crate::schema::Message> {
        crate::schema::find(&self.api_version(), self.names.kind)
    }

    /// The fields of a stored object that field selectors know beyond name and namespace. Its
    /// typed form is decoded once and shared.
    pub fn fields_of(&self, object: &Stored) -> Result<FieldValues, DecodeError> {
        (self.fields_of)(object)
    }

    pub(crate) fn cells_of(
        &self,
        object: &Stored,
        now: Timestamp,
    ) -> Result<Vec<String>, DecodeError> {
        (self.cells_of)(object, now)
    }

    /// The JSON schema of the kind, with descriptions. Made anew at each call.
    pub fn schema(&self) -> Value {
        (self.schema)()
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kind({})", self.resource)
    }
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    vec![
        Kind::new::<ConfigMapRules>(),
        Kind::new::<EndpointsRules>(),
        Kind::new::<EventRules>(),
        Kind::new::<NamespaceRules>(),
        Kind::new::<NodeRules>(),
        Kind::new::<PodRules>(),
        Kind::new::<SecretRules>(),
        Kind::new::<ServiceAccountRules>(),
        Kind::new::<ServiceRules>(),
        Kind::new::<DeploymentRules>(),
        Kind::new::<ReplicaSetRules>(),
        Kind::new::<LeaseRules>(),
        Kind::new::<EndpointSliceRules>(),
        Kind::new::<ServiceCidrRules>(),
        Kind::new::<RuntimeClassRules>(),
    ]
});

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
        let forms = k.forms.iter().map(|f| (f.group, f.version));
        let mut served = std::iter::once((k.names.group, k.names.version)).chain(forms);
        named
            && rest.is_none_or(|r| {
                served.any(|(group, version)| {
                    let versioned = format!("{version}.{group}");
                    r == group || r.trim_end_matches('.') == versioned.trim_end_matches('.')
                })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_in_the_order_of_api_resources() {
        let listed: Vec<(&str, &str)> = all()
            .iter()
            .map(|k| (k.names.group, k.names.plural))
            .collect();
        let mut sorted = listed.clone();
        sorted.sort_unstable();
        assert_eq!(listed, sorted);
        assert_eq!(listed.len(), 15);
    }

    #[test]
    fn every_kind_keeps_its_promises() {
        for kind in all() {
            let decoded = kind.decode(json!({"metadata": {"name": "x"}, "spec": {}}));
            let Ok(mut decoded) = decoded else {
                panic!("{kind:?} cannot be decoded");
            };
            decoded.object.default();
            let defaulted = decoded.object.to_value();
            decoded.object.default();
            assert_eq!(
                decoded.object.to_value(),
                defaulted,
                "{kind:?}: defaults are set once"
            );
            let row = decoded.object.row(Timestamp::UNIX_EPOCH);
            assert_eq!(
                row.len(),
                kind.columns.len(),
                "{kind:?}: one cell for each column"
            );
            let fields: Vec<&str> = decoded.object.fields().iter().map(|f| f.0).collect();
            assert!(
                fields.iter().all(|f| kind.fields.contains(f)),
                "{kind:?}: {fields:?}"
            );
            assert_eq!(
                of(&kind.resource).map(|k| k.names.kind),
                Some(kind.names.kind)
            );
            assert!(Resource::BUILT_IN.contains(&kind.resource), "{kind:?}");
        }
    }

    #[test]
    fn a_kind_is_found_by_every_name() {
        for name in [
            "deploy",
            "deployment",
            "deployments",
            "Deployment",
            "deployments.apps",
            "deployments.v1.apps",
        ] {
            assert_eq!(
                by_name(name).map(|k| k.names.kind),
                Some("Deployment"),
                "{name}"
            );
        }
        assert!(by_name("deployments.batch").is_none());
        assert_eq!(by_name("ev").map(|k| k.names.kind), Some("Event"));
        let other = by_name("events.v1.events.k8s.io");
        assert_eq!(other.map(|k| k.names.kind), Some("Event"));
    }
}
