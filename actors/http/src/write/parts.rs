//! Parts that one creates: a pod's binding and eviction, a service account's token; and objects
//! that are answered at once and never stored.

use super::read_body;
use crate::options;
use crate::read::{answered, key};
use crate::representation::{Negotiated, Purpose, decode, negotiate};
use crate::request::Context;
use crate::response::{Response, answer, full};
use crate::served::{Part, Served};
use http::StatusCode;
use hyper::body::Incoming;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::request::{Answer, Binding, Content, DeleteOptions, Request};
use kabuki_model::review::ReviewKind;
use kabuki_model::status::Cause;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde_json::{Value, json};
use std::sync::Arc;

/// Binds a pod to a node (`v1` `Binding`).
pub async fn bind(
    context: &Context,
    served: &Served,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Plain)?;
    let sent = read_value(context, incoming).await?;
    let pod = key(context, served)?;
    same_name(&sent, &pod)?;
    let target = sent.get("target").unwrap_or(&Value::Null);
    let refuse = |field: &str, cause: Cause| {
        let mut error = StatusError::invalid_options("Binding", cause);
        error.message = error.message.replacen("Binding.meta.k8s.io", "Binding", 1);
        error.resource = field.to_string();
        Err(error)
    };
    if let Some(kind) = target.get("kind").and_then(Value::as_str)
        && !matches!(kind, "" | "Node")
    {
        let cause = Cause::unsupported("target.kind", kind, &["Node", "<empty>"]);
        return refuse("pods", cause);
    }
    let node = match target.get("name").and_then(Value::as_str) {
        None | Some("") => return refuse("pods", Cause::required("target.name", "")),
        Some(node) => node,
    };
    let dry_run = options::dry_run(context, "CreateOptions")?;
    let given = sent.pointer("/metadata/uid").and_then(Value::as_str);
    let given = given.filter(|uid| !uid.is_empty());
    let uid = match given {
        Some(uid) if !dry_run => uid.into(),
        _ => {
            let found = stored(context, pod.clone()).await?;
            if dry_run {
                would_bind(context, &found, given, node).await?;
                return done(&negotiated);
            }
            found.uid.clone()
        }
    };
    let binding = Binding {
        pod,
        uid,
        node: node.into(),
    };
    match context.perform(Request::Bind(vec![binding])).await?.content {
        Content::Bindings(outcomes) => match outcomes.into_iter().flatten().next() {
            Some(refusal) => Err(refusal),
            None => done(&negotiated),
        },
        _ => Err(StatusError::internal(
            "a binding was answered with no outcome",
        )),
    }
}

async fn stored(context: &Context, key: ObjectKey) -> Result<Arc<Stored>, StatusError> {
    let get = Request::Get {
        key: key.clone(),
        subresource: None,
    };
    let found = context.perform(get).await?.into_object();
    found.ok_or_else(|| StatusError::not_found(&key))
}

/// Refuses a binding that would be refused, without binding.
async fn would_bind(
    context: &Context,
    pod: &Stored,
    uid: Option<&str>,
    node: &str,
) -> Result<(), StatusError> {
    if let Some(uid) = uid.filter(|uid| **uid != *pod.uid) {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            pod.uid
        );
        return Err(StatusError::conflict(&pod.key, &why));
    }
    stored(context, ObjectKey::new(Resource::NODES, "", node)).await?;
    let typed = pod.typed::<Pod>();
    let typed = typed.map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))?;
    let mut bound = (*typed).clone();
    kabuki_model::kind::pod::bind(&mut bound, node, jiff::Timestamp::now())
        .map_err(|e| StatusError::conflict(&pod.key, &e.to_string()))
}

/// Asks a pod to leave its node (`policy/v1` `Eviction`).
pub async fn evict(
    context: &Context,
    served: &Served,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Plain)?;
    let sent = read_value(context, incoming).await?;
    let pod = key(context, served)?;
    same_name(&sent, &pod)?;
    let mut how = DeleteOptions {
        dry_run: options::dry_run(context, "CreateOptions")?,
        ..DeleteOptions::default()
    };
    if let Some(options) = sent.get("deleteOptions") {
        let at = |path: &str| options.pointer(path);
        how.grace_period_s = at("/gracePeriodSeconds").and_then(Value::as_i64);
        let uid = at("/preconditions/uid").and_then(Value::as_str);
        how.uid = uid.map(Into::into);
        let revision = at("/preconditions/resourceVersion").and_then(Value::as_str);
        how.revision = revision.and_then(|r| r.parse().ok());
        how.dry_run |= at("/dryRun")
            .and_then(Value::as_array)
            .is_some_and(|d| !d.is_empty());
    }
    let request = Request::Evict { pod, options: how };
    context.perform(request).await?;
    done(&negotiated)
}

/// Issues a token of a service account (`authentication.k8s.io/v1` `TokenRequest`).
pub async fn token(
    context: &Context,
    served: &Served,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Plain)?;
    let mut room = context.shared.limits.body();
    let sent = read_body(context, incoming, &mut room).await?;
    let request = Request::TokenRequest {
        account: key(context, served)?,
        object: decode(&context.headers, None, sent)?,
        dry_run: options::dry_run(context, "CreateOptions")?,
    };
    let answer = context.perform(request);
    let created = StatusCode::CREATED;
    answered(&negotiated, served, Part::Token, created, answer.await?)
}

/// Answers an object that is never stored: who somebody is, what somebody may do.
pub async fn review(
    context: &Context,
    kind: ReviewKind,
    incoming: Incoming,
) -> Result<Response, StatusError> {
    let negotiated = negotiate(&context.headers, Purpose::Plain)?;
    let mut room = context.shared.limits.body();
    let sent = read_body(context, incoming, &mut room).await?;
    let request = Request::Review {
        kind,
        namespace: context.info.namespace.as_str().into(),
        object: decode(&context.headers, None, sent)?,
    };
    let Answer { content, warnings } = context.perform(request).await?;
    let Content::Document(json) = content else {
        return Err(StatusError::internal(
            "a review was answered with no review",
        ));
    };
    let mut value: Value = serde_json::from_slice(&json)
        .map_err(|e| StatusError::internal(format!("a review is no JSON: {e}")))?;
    if kind == ReviewKind::SelfSubject {
        // Only the front knows all that was shown.
        crate::authentication::describe(&context.who, &mut value["status"]["userInfo"]);
    }
    let body = full(negotiated.value(&value)?);
    let mut response = answer(StatusCode::CREATED, negotiated.content_type(), body);
    crate::response::warn(response.headers_mut(), &warnings);
    Ok(response)
}

async fn read_value(context: &Context, incoming: Incoming) -> Result<Value, StatusError> {
    let mut room = context.shared.limits.body();
    let sent = read_body(context, incoming, &mut room).await?;
    let json = decode(&context.headers, None, sent)?;
    serde_json::from_slice(&json).map_err(|e| {
        StatusError::bad_request(format!("the body of the request is not valid JSON: {e}"))
    })
}

/// The name in the body, when there is one, is that of the path.
fn same_name(sent: &Value, key: &ObjectKey) -> Result<(), StatusError> {
    match sent.pointer("/metadata/name").and_then(Value::as_str) {
        Some(name) if !name.is_empty() && *name != *key.name => {
            Err(StatusError::bad_request(format!(
                "name in URL does not match name in object: {:?} and {name:?}",
                &*key.name
            )))
        }
        _ => Ok(()),
    }
}

/// What is answered when there is nothing to show.
fn done(negotiated: &Negotiated) -> Result<Response, StatusError> {
    let created = StatusCode::CREATED;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "code": created.as_u16(),
    });
    let body = full(negotiated.value(&status)?);
    Ok(answer(created, negotiated.content_type(), body))
}
