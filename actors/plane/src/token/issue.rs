//! What a token that is asked for will claim (Kubernetes, "TokenRequest API"). Pure: the state,
//! the time and the number of the token are arguments.

use super::{AUDIENCE, ISSUER};
use jiff::Timestamp;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequestSpec};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::service_token::{Claims, Private, Reference};
use kabuki_model::status::Cause;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use std::sync::Arc;

/// How long a token is good when nothing is said, in seconds.
const DEFAULT_S: i64 = 3600;
/// The shortest that may be asked for.
const MIN_S: i64 = 600;
/// The longest.
const MAX_S: i64 = 1 << 32;
/// What every pod's own token is asked with: programs that read it once and never again go on for
/// a year, and the rest fetch a new one as if it ended then (Kubernetes, "Bound service account
/// token volume", "Safe rollout").
const WARN_ONLY_S: i64 = 3607;
const EXTENDED_S: i64 = 365 * 86_400;

/// What a token will claim.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grant {
    /// All that it says.
    pub(super) claims: Claims,
    /// For how many seconds it was asked, after defaulting.
    pub(super) asked_s: i64,
    /// When it is to be replaced: seconds since the epoch.
    pub(super) expires_s: i64,
}

/// Decides on a token. `number` is given to no other.
pub(super) fn grant(
    view: &dyn View,
    account: &ObjectKey,
    spec: &TokenRequestSpec,
    now: Timestamp,
    number: String,
) -> Result<Grant, StatusError> {
    let asked_s = spec.expiration_seconds.unwrap_or(DEFAULT_S);
    check(spec, asked_s)?;
    let stored = view.get(account);
    let stored = stored.ok_or_else(|| StatusError::not_found(account))?;
    let audiences = match spec.audiences.as_deref() {
        None | Some([]) => vec![AUDIENCE.to_string()],
        Some(asked) => asked.to_vec(),
    };
    let now = now.as_second();
    let mut kubernetes = Private {
        namespace: account.namespace.to_string(),
        serviceaccount: reference(stored),
        ..Private::default()
    };
    if let Some(bound) = &spec.bound_object_ref {
        bind(view, account, bound, &mut kubernetes)?;
    }
    let expires_s = now.saturating_add(asked_s);
    let mut exp = expires_s;
    let pods_own = kubernetes.pod.is_some() && audiences == [AUDIENCE];
    if asked_s == WARN_ONLY_S && pods_own {
        kubernetes.warnafter = Some(expires_s);
        exp = now.saturating_add(EXTENDED_S);
    }
    Ok(Grant {
        claims: Claims {
            aud: audiences,
            exp,
            iat: now,
            iss: ISSUER.to_string(),
            jti: number,
            kubernetes,
            nbf: now,
            sub: Identity::service_account(&account.namespace, &account.name).user,
        },
        asked_s,
        expires_s,
    })
}

fn check(spec: &TokenRequestSpec, asked_s: i64) -> Result<(), StatusError> {
    let mut causes = Vec::new();
    let field = "spec.expirationSeconds";
    if asked_s < MIN_S {
        let why = "may not specify a duration less than 10 minutes";
        causes.push(Cause::invalid(field, asked_s, why));
    }
    if asked_s > MAX_S {
        let why = "may not specify a duration larger than 2^32 seconds";
        causes.push(Cause::invalid(field, asked_s, why));
    }
    if spec.attestations.as_ref().is_some_and(|a| !a.is_empty()) {
        causes.push(Cause::forbidden("spec.attestations", "is not supported"));
    }
    match causes.is_empty() {
        true => Ok(()),
        false => {
            let resource = Resource::named("tokenrequests.authentication.k8s.io");
            Err(StatusError::invalid("TokenRequest", &resource, "", causes))
        }
    }
}

/// Binds the token to an object: it ends with it.
fn bind(
    view: &dyn View,
    account: &ObjectKey,
    bound: &BoundObjectReference,
    claims: &mut Private,
) -> Result<(), StatusError> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (version, kind) = (text(&bound.api_version), text(&bound.kind));
    let (name, uid) = (text(&bound.name), text(&bound.uid));
    let find = |resource: Resource, namespace: &str| -> Result<&Arc<Stored>, StatusError> {
        let key = ObjectKey::new(resource, namespace, &name);
        let found = view.get(&key).ok_or_else(|| StatusError::not_found(&key))?;
        if uid.is_empty() || *found.uid == *uid {
            return Ok(found);
        }
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        Err(StatusError::conflict(&key, &why))
    };
    match (version.as_str(), kind.as_str()) {
        ("v1" | "", "Pod") => {
            let pod = find(Resource::PODS, &account.namespace)?;
            claims.node = node_of(view, pod, account)?;
            claims.pod = Some(reference(pod));
        }
        ("v1" | "", "Secret") => {
            claims.secret = Some(reference(find(Resource::SECRETS, &account.namespace)?));
        }
        ("v1" | "", "Node") => claims.node = Some(reference(find(Resource::NODES, "")?)),
        _ => {
            return Err(StatusError::bad_request(format!(
                "cannot bind token to object of type {version}, Kind={kind}"
            )));
        }
    }
    Ok(())
}

/// The node that the pod is on; the pod must run as the account.
fn node_of(
    view: &dyn View,
    pod: &Stored,
    account: &ObjectKey,
) -> Result<Option<Reference>, StatusError> {
    let typed = pod.typed::<Pod>();
    let typed = typed.map_err(|e| StatusError::internal(format!("stored {}: {e}", pod.key)))?;
    let spec = typed.spec.as_ref();
    let runs_as = spec.and_then(|s| s.service_account_name.as_deref());
    let runs_as = runs_as.filter(|n| !n.is_empty()).unwrap_or("default");
    if runs_as != &*account.name {
        return Err(StatusError::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount \
             name.",
            &*account.name
        )));
    }
    let node = spec.and_then(|s| s.node_name.as_deref());
    let Some(node) = node.filter(|n| !n.is_empty()) else {
        return Ok(None);
    };
    let stored = view.get(&ObjectKey::new(Resource::NODES, "", node));
    Ok(Some(Reference {
        name: node.to_string(),
        uid: stored.map_or(String::new(), |n| n.uid.to_string()),
    }))
}

fn reference(object: &Stored) -> Reference {
    Reference {
        name: object.key.name.to_string(),
        uid: object.uid.to_string(),
    }
}
