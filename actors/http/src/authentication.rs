//! Who asks (Kubernetes, "Authenticating"): by client certificate, by bearer token, or nobody; and
//! whom they impersonate.
//!
//! | shown | who it is |
//! |---|---|
//! | a certificate of the cluster's CA | its common name, in the groups of its organisations |
//! | a bearer token | the service account that it was issued to |
//! | nothing | anonymous, who may only see whether the server is well and which version it is |
//! | what is not good | nobody: refused, whatever it asks for |

mod impersonation;

use crate::error;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_protocol::front::{AccessAttributes, Authenticated, Front};
use serde_json::{Value, json};

/// Names the caller of a request for `path`: the one who is impersonated, if someone is.
/// `certificate` is who the verified client certificate says.
///
/// # Errors
/// `Unauthorized`: the credentials that were shown are not good, or none were and some are needed;
/// `Forbidden`: the caller may not impersonate.
pub async fn authenticate(
    front: &dyn Front,
    certificate: Option<&Identity>,
    path: &str,
    headers: &HeaderMap,
) -> Result<Authenticated, StatusError> {
    let who = match (certificate, bearer(headers)?) {
        (Some(who), _) => Authenticated::new(who.clone()),
        (None, Some(token)) => front.authenticate(token, &[]).await?,
        (None, None) => return anonymous(front, path, headers),
    };
    impersonation::impersonate(front, who, headers)
}

/// Adds what is known of a caller beside its name and groups to a `UserInfo`.
pub fn describe(caller: &Authenticated, user: &mut Value) {
    if !caller.uid.is_empty() {
        user["uid"] = caller.uid.as_str().into();
    }
    if !caller.extra.is_empty() {
        user["extra"] = json!(caller.extra);
    }
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, StatusError> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value.to_str().map_err(|_| error::unauthorized())?;
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value, ""));
    match scheme.eq_ignore_ascii_case("bearer") {
        true => Ok(Some(token.trim()).filter(|t| !t.is_empty())),
        // Other ways to say who one is are not known here; to be taken for nobody would surprise.
        false => Err(error::unauthorized()),
    }
}

/// One who shows nothing.
fn anonymous(
    front: &dyn Front,
    path: &str,
    headers: &HeaderMap,
) -> Result<Authenticated, StatusError> {
    let who = Identity::anonymous();
    let asked = AccessAttributes {
        verb: "get".to_string(),
        path: path.to_string(),
        ..AccessAttributes::default()
    };
    match front.authorize(&who, &asked).allowed && !impersonation::is_wanted(headers) {
        true => Ok(Authenticated::new(who)),
        false => Err(error::unauthorized()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
