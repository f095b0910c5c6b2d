//! Kinds that are served in several groups and versions. One form is stored; every other is made
//! of it when it is shown, and turned back when it is written. Who sends a form says so
//! (`WriteOptions::api_version`, or the object's own `apiVersion`); from then on there is only the
//! stored one.

use super::registry::{Kind, api_version};
use crate::object::{DecodeError, Stored, canonical_json};
use crate::selector::SelectorError;
use serde_json::{Map, Value};

/// A kind in another group and version than the stored one.
pub struct Form {
    /// `events.k8s.io`
    pub group: &'static str,
    /// `v1`
    pub version: &'static str,
    /// From the fields of the stored form to those of this one.
    pub show: fn(&mut Map<String, Value>),
    /// From the fields of this form to those of the stored one. Gives the names of fields that
    /// this form does not have, and leaves them out.
    pub store: fn(&mut Map<String, Value>) -> Vec<String>,
    /// The fields that field selectors know in this form, each with the stored form's name.
    pub fields: &'static [(&'static str, &'static str)],
    /// The JSON schema, with descriptions. Made anew at each call.
    pub schema: fn() -> Value,
}

impl Form {
    /// `events.k8s.io/v1`
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// A stored object in this form.
    ///
    /// # Errors
    /// A stored object that is no JSON.
    pub fn shown(&self, object: &Stored) -> Result<Stored, DecodeError> {
        let value = object.at_revision(0).to_value()?;
        let Value::Object(mut fields) = value else {
            return Ok(object.at_revision(object.revision));
        };
        let kind = fields.remove("kind");
        (self.show)(&mut fields);
        let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
        let json = canonical_json(&self.api_version(), kind, fields);
        let key = object.key.clone();
        Ok(Stored::new(key, object.uid.clone(), object.revision, json))
    }

    /// A field selector of this form in the words of the stored one.
    ///
    /// # Errors
    /// Fields that this form does not have.
    pub fn selector(&self, text: &str) -> Result<String, SelectorError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(String::new());
        }
        let mut terms = Vec::new();
        let mut begin = 0;
        let mut escaped = false;
        for (at, byte) in text.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b',' => {
                    terms.push(self.term(&text[begin..at])?);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        terms.push(self.term(&text[begin..])?);
        Ok(terms.join(","))
    }

    fn term(&self, term: &str) -> Result<String, SelectorError> {
        let end = term.find(['=', '!']).unwrap_or(term.len());
        let (field, rest) = term.split_at(end);
        if field.is_empty() || field.starts_with("metadata.") {
            return Ok(term.to_string());
        }
        match self.fields.iter().find(|(here, _)| *here == field) {
            Some((_, stored)) => Ok(format!("{stored}{rest}")),
            None => Err(SelectorError(format!("field label not supported: {field}"))),
        }
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Form({})", self.api_version())
    }
}

impl Kind {
    /// The form of this `apiVersion`; `None` for the stored one, and for what is none.
    pub fn form(&self, api_version: &str) -> Option<&'static Form> {
        self.forms.iter().find(|f| f.api_version() == api_version)
    }
}

/// Gives top-level fields their other names: each pair is the stored name and this form's.
pub(super) fn show_renamed(fields: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (stored, here) in names {
        if let Some(value) = fields.remove(*stored) {
            fields.insert((*here).to_string(), value);
        }
    }
}

/// Gives top-level fields their stored names. Those that only the stored form has are taken out
/// and named.
pub(super) fn store_renamed(
    fields: &mut Map<String, Value>,
    names: &[(&str, &str)],
) -> Vec<String> {
    let mut unknown = Vec::new();
    for (stored, _) in names {
        if fields.remove(*stored).is_some() {
            unknown.push((*stored).to_string());
        }
    }
    for (stored, here) in names {
        if let Some(value) = fields.remove(*here) {
            fields.insert((*stored).to_string(), value);
        }
    }
    unknown
}

#[cfg(test)]
mod tests {
    use crate::kind;
    use crate::object::canonical_json;
    use crate::{ObjectKey, Resource, Stored};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn events() -> (&'static kind::Kind, &'static kind::Form) {
        let kind = kind::of(&Resource::EVENTS).expect("a kind");
        (kind, kind.form("events.k8s.io/v1").expect("a form"))
    }

    #[test]
    fn a_stored_event_is_shown_in_its_other_form() {
        let (_, form) = events();
        let fields = json!({
            "metadata": {"name": "a", "namespace": "shop", "managedFields": [{"manager": "m"}]},
            "involvedObject": {"kind": "Pod", "name": "web"}, "message": "pulled", "count": 2,
            "source": {"component": "kubelet"}, "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:01:00Z", "reportingComponent": "kubelet",
            "reportingInstance": "n1", "reason": "Pulled", "type": "Normal",
        });
        let json = canonical_json("v1", "Event", fields.as_object().expect("fields").clone());
        let key = ObjectKey::new(Resource::EVENTS, "shop", "a");
        let stored = Stored::new(key, "u".into(), 9, json);
        let shown = form.shown(&stored).expect("a form");
        assert_eq!(
            shown.to_value().expect("JSON"),
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event",
                "metadata": {
                    "name": "a", "namespace": "shop", "resourceVersion": "9",
                    "managedFields": [{"manager": "m"}],
                },
                "regarding": {"kind": "Pod", "name": "web"}, "note": "pulled",
                "deprecatedCount": 2, "deprecatedSource": {"component": "kubelet"},
                "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
                "deprecatedLastTimestamp": "2026-01-01T00:01:00Z",
                "reportingController": "kubelet", "reportingInstance": "n1",
                "reason": "Pulled", "type": "Normal",
            })
        );
    }

    #[test]
    fn fields_of_the_stored_form_alone_are_unknown_in_the_other() {
        let (_, form) = events();
        let mut fields = json!({"message": "x", "note": "y", "count": 1});
        let fields = fields.as_object_mut().expect("fields");
        assert_eq!((form.store)(fields), ["message", "count"]);
        assert_eq!(Value::Object(fields.clone()), json!({"message": "y"}));
    }

    #[test]
    fn selectors_take_the_names_of_their_form() {
        let (_, form) = events();
        let stored = form.selector(r"regarding.name=a\,b,reason!=X,metadata.name=e");
        assert_eq!(
            stored.expect("known fields"),
            r"involvedObject.name=a\,b,reason!=X,metadata.name=e"
        );
        let refused = form.selector("involvedObject.name=a").expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "field label not supported: involvedObject.name"
        );
        assert_eq!(form.selector("").expect("nothing"), "");
    }

    #[test]
    fn the_fields_of_every_form_are_known() {
        for kind in kind::all() {
            for form in kind.forms {
                for (_, stored) in form.fields {
                    assert!(kind.fields.contains(stored), "{form:?}: {stored}");
                }
                assert!(kind.form(&form.api_version()).is_some());
                let message = crate::schema::find(&form.api_version(), kind.names.kind);
                assert!(message.is_some(), "{form:?} has a shape");
                assert!((form.schema)().get("title").is_some(), "{form:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_and_stored_again_is_the_same(
            names in proptest::collection::btree_set(0_usize..16, 0..8),
        ) {
            let (kind, form) = events();
            let message = kind.message().expect("a shape");
            let known: Vec<&str> = message.fields.iter().map(|f| f.name).collect();
            let fields: Map<String, Value> = names
                .iter()
                .filter_map(|n| known.get(*n))
                .map(|name| (name.to_string(), json!({"of": name})))
                .collect();
            let mut turned = fields.clone();
            (form.show)(&mut turned);
            let here = crate::schema::find(&form.api_version(), "Event").expect("a shape");
            for name in turned.keys() {
                prop_assert!(here.field(name).is_some(), "{} is no field", name);
            }
            prop_assert_eq!((form.store)(&mut turned), Vec::<String>::new());
            prop_assert_eq!(turned, fields);
        }
    }
}
