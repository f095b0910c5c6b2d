//! Reviews (Kubernetes, "Authorization Overview", "Checking API access"): what somebody may do,
//! by the same function that every request passes. They are answered at once and never stored.

mod rules;

use crate::authorize::{Attributes, allowance, path_allowance};
use crate::draft::Faults;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, UserInfo,
};
use kabuki_model::k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview,
    SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
};
use kabuki_model::request::{Answer, Content};
use kabuki_model::request::{FieldValidation, WriteOptions};
use kabuki_model::review::ReviewKind;
use kabuki_model::status::{Cause, Reason};
use kabuki_model::view::View;
use kabuki_model::{Resource, StatusError, schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Display;

/// The largest review, in bytes of JSON: no honest one has a hundredth of it.
const MAX_BYTES: usize = 256 << 10;

/// Answers a review. `who` must be allowed to ask ([`crate::authorize_request`]).
pub fn review(
    view: &dyn View,
    who: &Identity,
    kind: ReviewKind,
    namespace: &str,
    object: &[u8],
) -> Result<Answer, StatusError> {
    match kind {
        ReviewKind::Token => Err(needs_keys("tokens are reviewed")),
        ReviewKind::SelfSubject => {
            let (mut review, warnings) = parse::<SelfSubjectReview>(kind, object)?;
            review.status = Some(SelfSubjectReviewStatus {
                user_info: Some(UserInfo {
                    username: Some(who.user.clone()),
                    groups: Some(who.all_groups()),
                    ..UserInfo::default()
                }),
            });
            answer(&review, warnings)
        }
        ReviewKind::SelfSubjectAccess => {
            let (mut review, warnings) = parse::<SelfSubjectAccessReview>(kind, object)?;
            let spec = &review.spec;
            let asked = asked(
                kind,
                spec.resource_attributes.as_ref(),
                spec.non_resource_attributes.as_ref(),
                Vec::new(),
            )?;
            review.status = Some(judge(view, who, &asked));
            answer(&review, warnings)
        }
        ReviewKind::SubjectAccess => {
            let (mut review, warnings) = parse::<SubjectAccessReview>(kind, object)?;
            review.status = Some(of_another(view, kind, &review.spec, Vec::new())?);
            answer(&review, warnings)
        }
        ReviewKind::LocalSubjectAccess => {
            let (mut review, warnings) = parse::<LocalSubjectAccessReview>(kind, object)?;
            let misplaced = misplaced(&review.spec, namespace);
            review.status = Some(of_another(view, kind, &review.spec, misplaced)?);
            answer(&review, warnings)
        }
        ReviewKind::SelfSubjectRules => {
            let (mut review, warnings) = parse::<SelfSubjectRulesReview>(kind, object)?;
            let namespace = review.spec.namespace.as_deref().unwrap_or_default();
            if namespace.is_empty() {
                return Err(StatusError::bad_request("no namespace on request"));
            }
            review.status = Some(rules::rules(who));
            answer(&review, warnings)
        }
    }
}

/// What only a server that holds the keys can do.
pub(crate) fn needs_keys(what: &str) -> StatusError {
    let why = format!("{what} by the servers of a cluster alone, which hold its keys");
    StatusError::new(Reason::MethodNotAllowed, why)
}

/// Reads a review; fields that it does not have are warned of.
///
/// # Errors
/// It is none, or has no right form.
pub fn parse<T: DeserializeOwned>(
    kind: ReviewKind,
    object: &[u8],
) -> Result<(T, Vec<String>), StatusError> {
    let named = Named {
        api_version: &kind.api_version(),
        kind: kind.kind(),
    };
    named.parse(object)
}

/// How an object that is never stored is called.
pub struct Named<'a> {
    /// `authentication.k8s.io/v1`
    pub api_version: &'a str,
    /// `TokenReview`
    pub kind: &'a str,
}

impl Named<'_> {
    /// Reads such an object; fields that it does not have are warned of.
    ///
    /// # Errors
    /// It is none, or has no right form.
    pub fn parse<T: DeserializeOwned>(
        &self,
        object: &[u8],
    ) -> Result<(T, Vec<String>), StatusError> {
        if object.len() > MAX_BYTES {
            let why = format!(
                "the {} has {} bytes; the limit is {MAX_BYTES}",
                self.kind,
                object.len()
            );
            return Err(StatusError::new(Reason::RequestEntityTooLarge, why));
        }
        let lenient = WriteOptions {
            validation: FieldValidation::Ignore,
            ..WriteOptions::default()
        };
        let sent = crate::draft::parse(object, &lenient, &mut Faults::default())?;
        let mut value = Value::Object(sent);
        for (field, want) in [("apiVersion", self.api_version), ("kind", self.kind)] {
            match value.get(field).and_then(Value::as_str) {
                None | Some("") => value[field] = want.into(),
                Some(given) if given == want => {}
                Some(given) => {
                    return Err(StatusError::bad_request(format!(
                        "the {field} in the data ({given}) does not match the expected {field} \
                         ({want:?})"
                    )));
                }
            }
        }
        // Whoever asks leaves out what it has nothing to say about.
        for field in ["metadata", "spec"] {
            if value.get(field).is_none_or(Value::is_null) {
                value[field] = Value::Object(serde_json::Map::new());
            }
        }
        let refused = |error: &dyn Display| {
            let version = self.api_version.rsplit('/').next().unwrap_or_default();
            StatusError::bad_request(format!(
                "{} in version {version:?} cannot be handled as a {}: {error}",
                self.kind, self.kind
            ))
        };
        let Some(of) = schema::find(self.api_version, self.kind) else {
            return Err(refused(&"it is not among the types"));
        };
        let unknown = schema::check(of, &value).map_err(|e| refused(&e))?;
        // An empty one stands for all reviews that have one.
        let unknown = unknown.iter().filter(|path| *path != "spec");
        let warnings = unknown.map(|path| format!("unknown field {path:?}"));
        let warnings = warnings.collect();
        let read = serde_json::from_value(value).map_err(|e| refused(&e))?;
        Ok((read, warnings))
    }
}

fn answer(review: &impl Serialize, warnings: Vec<String>) -> Result<Answer, StatusError> {
    let json = serde_json::to_vec(review);
    let json = json.map_err(|e| StatusError::internal(format!("a review is no JSON: {e}")))?;
    Ok(Answer {
        content: Content::Document(json.into()),
        warnings,
    })
}

/// What is asked about.
enum Asked<'a> {
    Object(&'a ResourceAttributes),
    Path(&'a NonResourceAttributes),
}

fn asked<'a>(
    kind: ReviewKind,
    object: Option<&'a ResourceAttributes>,
    path: Option<&'a NonResourceAttributes>,
    mut causes: Vec<Cause>,
) -> Result<Asked<'a>, StatusError> {
    let asked = match (object, path) {
        (Some(object), None) => Some(Asked::Object(object)),
        (None, Some(path)) => Some(Asked::Path(path)),
        (Some(_), Some(path)) => {
            causes.push(Cause::invalid(
                "spec.nonResourceAttributes",
                path,
                "cannot be specified in combination with resourceAttributes",
            ));
            None
        }
        (None, None) => {
            causes.push(Cause::invalid(
                "spec.resourceAttributes",
                Value::Null,
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
            None
        }
    };
    match asked {
        Some(asked) if causes.is_empty() => Ok(asked),
        _ => {
            let resource = Resource::named(&format!("{}.{}", kind.plural(), kind.group()));
            Err(StatusError::invalid(kind.kind(), &resource, "", causes))
        }
    }
}

fn of_another(
    view: &dyn View,
    kind: ReviewKind,
    spec: &SubjectAccessReviewSpec,
    mut causes: Vec<Cause>,
) -> Result<SubjectAccessReviewStatus, StatusError> {
    let user = spec.user.clone().unwrap_or_default();
    let groups = spec.groups.clone().unwrap_or_default();
    if user.is_empty() && groups.is_empty() {
        let why = "at least one of user or group must be specified";
        causes.push(Cause::invalid("spec.user", "", why));
    }
    let (object, path) = (&spec.resource_attributes, &spec.non_resource_attributes);
    let asked = asked(kind, object.as_ref(), path.as_ref(), causes)?;
    Ok(judge(view, &Identity::new(user, groups), &asked))
}

/// What is wrong with a review in a namespace that is about something elsewhere.
fn misplaced(spec: &SubjectAccessReviewSpec, namespace: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(object) = &spec.resource_attributes {
        let given = object.namespace.as_deref().unwrap_or_default();
        if given != namespace {
            causes.push(Cause::invalid(
                "spec.resourceAttributes.namespace",
                given,
                "must match metadata.namespace",
            ));
        }
    }
    if let Some(path) = &spec.non_resource_attributes {
        causes.push(Cause::invalid(
            "spec.nonResourceAttributes",
            path,
            "disallowed on this kind of request",
        ));
    }
    causes
}

fn judge(view: &dyn View, who: &Identity, asked: &Asked) -> SubjectAccessReviewStatus {
    let why = match asked {
        Asked::Path(path) => path_allowance(
            who,
            path.verb.as_deref().unwrap_or_default(),
            path.path.as_deref().unwrap_or_default(),
        ),
        Asked::Object(object) => on_object(view, who, object),
    };
    SubjectAccessReviewStatus {
        allowed: why.is_some(),
        reason: why.map(str::to_string),
        ..SubjectAccessReviewStatus::default()
    }
}

fn on_object(view: &dyn View, who: &Identity, asked: &ResourceAttributes) -> Option<&'static str> {
    fn text(field: &Option<String>) -> &str {
        field.as_deref().unwrap_or_default()
    }
    let (plural, group) = (text(&asked.resource), text(&asked.group));
    let resource = match group {
        "" => Resource::named(plural),
        group => Resource::named(&format!("{plural}.{group}")),
    };
    let only_node = asked.field_selector.as_ref().and_then(|selector| {
        let mut requirements = selector.requirements.iter().flatten();
        requirements.find_map(|r| {
            let one = r.values.as_deref().unwrap_or_default();
            let equal = r.key == "spec.nodeName" && r.operator == "In" && one.len() == 1;
            one.first().filter(|_| equal).cloned()
        })
    });
    let attributes = Attributes {
        verb: text(&asked.verb),
        resource: &resource,
        subresource: text(&asked.subresource),
        namespace: text(&asked.namespace),
        name: text(&asked.name),
        only_node,
    };
    allowance(view, who, &attributes)
}

#[cfg(test)]
mod tests;
