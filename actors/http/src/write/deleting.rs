//! Deletion of one object and of many.

use super::read_body;
use crate::options;
use crate::read::{answered, key};
use crate::representation::{Purpose, decode, negotiate};
use crate::request::Context;
use crate::response::{Response, answer, full, warn};
use crate::served::{Part, Served};
use http::StatusCode;
use hyper::body::Incoming;
use kabuki_model::request::{Content, DeleteOptions, Propagation, Request};
use kabuki_model::status::Cause;
use kabuki_model::{StatusError, Stored};
use serde::Deserialize;
use serde_json::json;

/// Kinds whose deletion is answered with the object as it last was, as in Kubernetes; that of
/// others with a `Status`.
const SHOWN: &[&str] = &[
    "pods",
    "services",
    "serviceaccounts",
    "persistentvolumeclaims",
    "persistentvolumes",
    "podtemplates",
    "resourcequotas",
];

/// `metav1.DeleteOptions` as sent.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Option<Preconditions>,
    #[serde(default)]
    dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// Deletes one object.
pub async fn delete(
    context: &Context,
    served: &Served,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Objects)?.asked(&context.query)?;
    let options = read_options(context, incoming).await?;
    let foreground = options.propagation == Some(Propagation::Foreground);
    let request = Request::Delete {
        key: key(context, served)?,
        options,
    };
    let what = context.perform(request);
    let what = what.await?;
    let Content::Object(object) = &what.content else {
        return Err(StatusError::internal(
            "a deletion was answered with no object",
        ));
    };
    let stays = stays(object);
    if stays || SHOWN.contains(&served.kind.resource.as_str()) {
        let status = match stays && foreground {
            true => StatusCode::ACCEPTED,
            false => StatusCode::OK,
        };
        return answered(&negotiated, served, Part::Whole, status, what);
    }
    let mut details = json!({
        "name": &*object.key.name, "kind": served.kind.names.plural, "uid": &*object.uid,
    });
    if !served.group.is_empty() {
        details["group"] = served.group.into();
    }
    let negotiated = negotiate(&context.headers, Purpose::Plain)?;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    });
    let body = full(negotiated.value(&status)?);
    let mut response = answer(StatusCode::OK, negotiated.content_type(), body);
    warn(response.headers_mut(), &what.warnings);
    Ok(response)
}

/// Deletes every object that the selectors match.
pub async fn delete_collection(
    context: &Context,
    served: &Served,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Objects)?.asked(&context.query)?;
    let request = Request::DeleteCollection {
        selection: options::selection(context, served)?,
        options: read_options(context, incoming).await?,
    };
    let what = context.perform(request);
    answered(
        &negotiated,
        served,
        Part::Whole,
        StatusCode::OK,
        what.await?,
    )
}

/// Whether a deleted object is still there: marked, and kept by its grace period or finalizers.
fn stays(object: &Stored) -> bool {
    let meta = object.meta();
    let graceful = meta.deletion_grace_period_seconds.is_some_and(|s| s > 0);
    let kept = meta.finalizers.as_ref().is_some_and(|f| !f.is_empty());
    let marked = meta.deletion_timestamp.is_some();
    // A namespace is kept by finalizers of its own.
    marked && (graceful || kept || object.key.resource.as_str() == "namespaces")
}

/// The options, from the body or else from the query.
async fn read_options(context: &Context, incoming: Incoming) -> Result<DeleteOptions, StatusError> {
    let mut room = context.shared.limits.body();
    let body = read_body(context, incoming, &mut room).await?;
    let sent = match body.is_empty() {
        true => of_query(context)?,
        false => {
            let json = decode(&context.headers, None, body)?;
            let sent: Sent = serde_json::from_slice(&json).map_err(|e| {
                StatusError::bad_request(format!("the deletion's options are not valid: {e}"))
            })?;
            sent
        }
    };
    settle(sent)
}

fn of_query(context: &Context) -> Result<Sent, StatusError> {
    let query = &context.query;
    let policy = query.get("propagationPolicy").filter(|p| !p.is_empty());
    Ok(Sent {
        grace_period_seconds: query.number("gracePeriodSeconds")?,
        propagation_policy: policy.map(str::to_string),
        orphan_dependents: query.optional_flag("orphanDependents"),
        preconditions: None,
        dry_run: query.all("dryRun").map(str::to_string).collect(),
    })
}

fn settle(sent: Sent) -> Result<DeleteOptions, StatusError> {
    let refuse = |cause| Err(StatusError::invalid_options("DeleteOptions", cause));
    let field = "propagationPolicy";
    let propagation = match (sent.propagation_policy.as_deref(), sent.orphan_dependents) {
        (Some(policy), Some(_)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            return refuse(Cause::invalid(field, policy, why));
        }
        (Some("Background"), None) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), None) => Some(Propagation::Foreground),
        (Some("Orphan"), None) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some(other), None) => {
            let allowed = &["Foreground", "Background", "Orphan"];
            return refuse(Cause::unsupported(field, other, allowed));
        }
        (None, None) => None,
    };
    if let Some(other) = sent.dry_run.iter().find(|d| *d != "All") {
        return refuse(Cause::unsupported("dryRun", other, &["All"]));
    }
    let preconditions = sent.preconditions.unwrap_or_default();
    let revision = match preconditions.resource_version.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            StatusError::bad_request(format!(
                "preconditions.resourceVersion: {text:?} is no revision"
            ))
        })?),
    };
    Ok(DeleteOptions {
        grace_period_s: sent.grace_period_seconds,
        propagation,
        uid: preconditions.uid.map(Into::into),
        revision,
        dry_run: !sent.dry_run.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_deletion_are_settled_or_refused() {
        let sent = |json: &str| serde_json::from_str::<Sent>(json).expect("JSON");
        let options = settle(sent(
            r#"{"kind":"DeleteOptions","gracePeriodSeconds":0,"orphanDependents":true,
                "preconditions":{"uid":"u","resourceVersion":"7"},"dryRun":["All"]}"#,
        ))
        .expect("good options");
        assert_eq!(options.grace_period_s, Some(0));
        assert_eq!(options.propagation, Some(Propagation::Orphan));
        assert_eq!(
            (options.uid.as_deref(), options.revision),
            (Some("u"), Some(7))
        );
        assert!(options.dry_run);
        let refused = settle(sent(r#"{"propagationPolicy":"Sideways"}"#)).expect_err("unknown");
        assert_eq!(
            refused.message,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \
             \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\""
        );
        assert!(settle(sent(r#"{"dryRun":["Some"]}"#)).is_err());
        assert!(settle(sent(r#"{"preconditions":{"resourceVersion":"x"}}"#)).is_err());
    }
}
