//! Selectors: which objects a list, a watch or a controller is about.
//!
//! [`LabelSelector`] comes from the text syntax (`app=web,tier in (a,b),!old`) or from the
//! structured form in manifests; [`FieldSelector`] from `metadata.name=web,status.phase!=Failed`;
//! [`Selection`] is a whole list request, compiled once and asked of every object.

mod field;
mod label;
mod parse;
mod structured;

pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement};
pub use structured::validate_label_selector;

use crate::kind::{self, Kind};
use crate::object::{Resource, Stored};
use crate::request::ListRequest;
use crate::status::StatusError;
use std::sync::Arc;

/// A text or structure that is no selector. Displays as Kubernetes words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

impl From<SelectorError> for StatusError {
    fn from(error: SelectorError) -> Self {
        Self::bad_request(error.0)
    }
}

/// A compiled list request.
#[derive(Debug, Clone)]
pub struct Selection {
    resource: Resource,
    namespace: Option<Arc<str>>,
    labels: LabelSelector,
    fields: FieldSelector,
    kind: Option<&'static Kind>,
}

impl Selection {
    /// Compiles the selectors of a request. Fails with `BadRequest` on a selector that cannot
    /// be read or that names a field that the kind cannot be selected by.
    pub fn compile(request: &ListRequest) -> Result<Self, StatusError> {
        let labels: LabelSelector = request.labels.parse().map_err(|e| {
            StatusError::bad_request(format!(
                "unable to parse label selector {:?}: {e}",
                request.labels
            ))
        })?;
        let fields: FieldSelector = request
            .fields
            .parse()
            .map_err(|e: SelectorError| StatusError::bad_request(e.0))?;
        let kind = kind::of(&request.resource);
        fields.check(kind.map_or(&[], |k| k.fields))?;
        Ok(Self {
            resource: request.resource.clone(),
            namespace: request.namespace.clone().filter(|n| !n.is_empty()),
            labels,
            fields,
            kind,
        })
    }

    /// Which resource.
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Only this namespace; `None` is all of them.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The label selector.
    pub fn labels(&self) -> &LabelSelector {
        &self.labels
    }

    /// The field selector.
    pub fn fields(&self) -> &FieldSelector {
        &self.fields
    }

    /// Whether every object of the namespace matches, so that nothing need be looked at.
    pub fn selects_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The value that a field must be equal to, for a lookup through an index.
    pub fn field_equals(&self, field: &str) -> Option<&str> {
        self.fields.required_value(field)
    }

    /// Whether an object is selected. Its typed form is only decoded for fields of the kind.
    pub fn matches(&self, object: &Stored) -> bool {
        object.key.resource == self.resource
            && self
                .namespace
                .as_deref()
                .is_none_or(|n| n == &*object.key.namespace)
            && (self.labels.is_empty() || self.labels.matches_meta(object.meta()))
            && self.fields_match(object)
    }

    fn fields_match(&self, object: &Stored) -> bool {
        if self.fields.is_empty() {
            return true;
        }
        let (name, namespace) = (&*object.key.name, &*object.key.namespace);
        if !self.fields.needs_kind() {
            return self.fields.matches(name, namespace, &[]);
        }
        // An object that cannot be decoded has no fields to be selected by.
        self.kind
            .and_then(|k| k.fields_of(object).ok())
            .is_some_and(|fields| self.fields.matches(name, namespace, &fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectKey;
    use crate::status::Reason;

    fn config_map(namespace: &str, name: &str) -> Stored {
        let json = format!(
            r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"{namespace}","labels":{{"app":"{name}"}}}}}}"#
        );
        let key = ObjectKey::new(Resource::CONFIG_MAPS, namespace, name);
        Stored::new(key, "u".into(), 1, json.into())
    }

    fn selection(namespace: Option<&str>, labels: &str, fields: &str) -> Selection {
        let mut request = ListRequest::all(Resource::CONFIG_MAPS, namespace);
        request.labels = labels.to_string();
        request.fields = fields.to_string();
        Selection::compile(&request).expect("compiles")
    }

    #[test]
    fn a_selection_is_the_conjunction_of_its_parts() {
        let object = config_map("a", "web");
        assert!(selection(None, "", "").matches(&object));
        assert!(selection(Some("a"), "app=web", "metadata.name=web").matches(&object));
        assert!(!selection(Some("b"), "", "").matches(&object));
        assert!(!selection(None, "app=db", "").matches(&object));
        assert!(!selection(None, "app", "metadata.name!=web").matches(&object));
        assert!(selection(None, "", "metadata.namespace=a").matches(&object));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let mut request = ListRequest::all(Resource::CONFIG_MAPS, None);
        request.fields = "spec.size=3".to_string();
        let error = Selection::compile(&request).expect_err("refused");
        assert_eq!(error.reason, Reason::BadRequest);
        assert_eq!(error.message, "field label not supported: spec.size");
    }
}
