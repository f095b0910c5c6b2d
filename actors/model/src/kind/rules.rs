//! What a kind says of itself.

use crate::status::Cause;
use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How a kind is called (API conventions, "Types (Kinds)" and "Resources").
#[derive(Debug)]
pub struct Names {
    /// `Deployment`
    pub kind: &'static str,
    /// `deployments`
    pub plural: &'static str,
    /// `deployment`
    pub singular: &'static str,
    /// `deploy`
    pub short: &'static [&'static str],
    /// `all`
    pub categories: &'static [&'static str],
    /// `apps`; empty for the core group.
    pub group: &'static str,
    /// `v1`
    pub version: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// One column of the kind's table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The heading, as `kubectl get` shows it, for example `NAME`.
    pub name: &'static str,
    /// Only shown with `-o wide`.
    pub wide: bool,
}

impl Column {
    /// A column that is always shown.
    pub const fn new(name: &'static str) -> Self {
        Self { name, wide: false }
    }

    /// A column that is shown with `-o wide`.
    pub const fn wide(name: &'static str) -> Self {
        Self { name, wide: true }
    }
}

/// What the `scale` subresource shows and sets (`autoscaling/v1` `Scale`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`
    pub replicas: i32,
    /// `status.replicas`
    pub current: i32,
    /// `status.selector`, in selector syntax.
    pub selector: String,
}

/// The rules of one kind. All functions are pure; all but `validate`, `columns` and `row` have
/// a default that does nothing.
pub trait KindRules: Send + Sync + 'static {
    /// The typed form.
    type Object: Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + JsonSchema
        + Clone
        + Send
        + Sync
        + 'static;

    /// How the kind is called.
    const NAMES: Names;
    /// Whether `status` is a subresource: writes of the object leave it alone, and writes of
    /// `status` leave everything else alone.
    const HAS_STATUS: bool = false;
    /// Whether `status` may be given at creation (nodes register themselves with theirs).
    const STATUS_ON_CREATE: bool = false;
    /// Whether `metadata.generation` counts changes of `spec`.
    const HAS_GENERATION: bool = false;

    /// Fills in what Kubernetes documents as defaults. Runs after decoding, before validation.
    fn default(_object: &mut Self::Object) {}

    /// Sets what the server alone sets at creation (for example a pod's first phase).
    fn prepare_create(_object: &mut Self::Object) {}

    /// Carries over what an update may not touch.
    fn prepare_update(_new: &mut Self::Object, _old: &Self::Object) {}

    /// Everything that is wrong with the object, apart from its metadata (which is checked for
    /// every kind alike).
    fn validate(object: &Self::Object) -> Vec<Cause>;

    /// Everything that an update may not change. Runs beside [`KindRules::validate`].
    fn validate_update(_new: &Self::Object, _old: &Self::Object) -> Vec<Cause> {
        Vec::new()
    }

    /// Everything that is wrong with an update of `status`.
    fn validate_status(_new: &Self::Object, _old: &Self::Object) -> Vec<Cause> {
        Vec::new()
    }

    /// Rules for the name beyond an RFC 1123 subdomain, at field path `metadata.name`.
    fn validate_name(name: &str) -> Option<String> {
        crate::kind::rules::subdomain(name)
    }

    /// Seconds between the mark of deletion and removal, from what was requested. Zero removes
    /// at once (subject to finalizers).
    fn grace_period_s(_object: &Self::Object, _requested: Option<i64>) -> i64 {
        0
    }

    /// Called when the object is first marked as being deleted.
    fn mark_deleting(_object: &mut Self::Object) {}

    /// Whether something other than `metadata.finalizers` and the grace period still keeps a
    /// deleted object (a namespace's `spec.finalizers`).
    fn deletion_blocked(_object: &Self::Object) -> bool {
        false
    }

    /// The `scale` subresource; `None` when the kind has none.
    fn scale(_object: &Self::Object) -> Option<Scale> {
        None
    }

    /// Sets `spec.replicas`. Only called for kinds with a scale.
    fn set_replicas(_object: &mut Self::Object, _replicas: i32) {}

    /// The fields that field selectors know beyond `metadata.name` and `metadata.namespace`.
    fn fields(_object: &Self::Object) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The names of [`KindRules::fields`], so that an unknown one can be refused.
    const FIELDS: &'static [&'static str] = &[];

    /// The other groups and versions that the kind is served in.
    const FORMS: &'static [super::form::Form] = &[];

    /// The columns of the kind's table, without `NAMESPACE`.
    fn columns() -> &'static [Column];

    /// One cell for each column. `now` is what ages are counted from.
    fn row(object: &Self::Object, now: Timestamp) -> Vec<String>;
}

/// Why `name` is no RFC 1123 subdomain, as Kubernetes words it.
fn subdomain(name: &str) -> Option<String> {
    let label = |l: &str| {
        let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = l.as_bytes();
        bytes.first().is_some_and(|c| edge(*c))
            && bytes.last().is_some_and(|c| edge(*c))
            && bytes.iter().all(|c| edge(*c) || *c == b'-')
    };
    if name.len() > 253 {
        return Some("must be no more than 253 bytes".to_string());
    }
    (!name.split('.').all(label)).then(|| {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
         or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex \
         used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_string()
    })
}
