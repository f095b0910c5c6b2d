//! Requests for tokens, and reviews of tokens.

use super::issue::{Grant, grant};
use super::{Disbelief, Tokens};
use jiff::Timestamp;
use kabuki_admission::review::{parse, review};
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus, TokenReview,
    TokenReviewStatus, UserInfo,
};
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kabuki_model::request::{Answer, Content, Request};
use kabuki_model::review::ReviewKind;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, StatusError};
use kabuki_protocol::front::Authenticated;
use serde::Serialize;

impl Tokens {
    /// Answers a request that needs no write but may need keys: tokens and reviews. The caller must
    /// be allowed to make it. `number` is random.
    ///
    /// # Errors
    /// What the request asks for cannot be.
    pub fn answer(
        &self,
        view: &dyn View,
        who: &Identity,
        request: &Request,
        now: Timestamp,
        number: u128,
    ) -> Result<Answer, StatusError> {
        match request {
            Request::Token {
                account,
                audiences,
                expiration_s,
                bound_pod,
            } => {
                let bound = bound_pod.as_ref().map(|(name, uid)| BoundObjectReference {
                    api_version: Some("v1".to_string()),
                    kind: Some("Pod".to_string()),
                    name: Some(name.clone()),
                    uid: Some(uid.clone()),
                });
                let spec = TokenRequestSpec {
                    audiences: Some(audiences.clone()),
                    bound_object_ref: bound,
                    expiration_seconds: (*expiration_s != 0).then_some(*expiration_s),
                    ..TokenRequestSpec::default()
                };
                let (token, grant) = self.issue(view, account, &spec, now, number)?;
                let expires_s = grant.expires_s;
                Ok(plain(Content::Token { token, expires_s }))
            }
            Request::TokenRequest {
                account,
                object,
                dry_run,
            } => self.request(view, (account, *dry_run), object, now, number),
            Request::Review {
                kind: ReviewKind::Token,
                object,
                ..
            } => self.review(view, object, now),
            Request::Review {
                kind,
                namespace,
                object,
            } => review(view, who, *kind, namespace, object),
            _ => Err(StatusError::internal("this is no request for a token")),
        }
    }

    fn issue(
        &self,
        view: &dyn View,
        account: &ObjectKey,
        spec: &TokenRequestSpec,
        now: Timestamp,
        number: u128,
    ) -> Result<(String, Grant), StatusError> {
        let keys = self.keys(view)?;
        let grant = grant(view, account, spec, now, uuid(number))?;
        Ok((self.sign(&keys, &grant.claims)?, grant))
    }

    fn request(
        &self,
        view: &dyn View,
        (account, dry_run): (&ObjectKey, bool),
        object: &[u8],
        now: Timestamp,
        number: u128,
    ) -> Result<Answer, StatusError> {
        let (mut request, warnings) = parse_request(object)?;
        check_place(&request, account)?;
        let mut spec = request.spec.take().unwrap_or_default();
        let (token, grant) = self.issue(view, account, &spec, now, number)?;
        spec.audiences = Some(grant.claims.aud);
        spec.expiration_seconds = Some(grant.asked_s);
        request.spec = Some(spec);
        request.metadata.name = Some(account.name.to_string());
        request.metadata.namespace = Some(account.namespace.to_string());
        let second = |s: i64| Timestamp::from_second(s).ok().map(Time);
        request.metadata.creation_timestamp = second(now.as_second());
        request.status = (!dry_run).then(|| TokenRequestStatus {
            token: Some(token),
            expiration_timestamp: second(grant.expires_s),
        });
        document(&request, warnings)
    }

    fn review(
        &self,
        view: &dyn View,
        object: &[u8],
        now: Timestamp,
    ) -> Result<Answer, StatusError> {
        let (mut review, warnings) = parse::<TokenReview>(ReviewKind::Token, object)?;
        if review.spec.token.is_empty() {
            let why = "token is required for TokenReview in authentication";
            return Err(StatusError::bad_request(why));
        }
        let audiences = review.spec.audiences.clone().unwrap_or_default();
        let outcome = self.authenticate(view, &review.spec.token, &audiences, now)?;
        review.status = Some(match outcome {
            Ok(found) => told(found),
            Err(why) => untold(&why),
        });
        document(&review, warnings)
    }
}

fn told(found: Authenticated) -> TokenReviewStatus {
    TokenReviewStatus {
        authenticated: Some(true),
        user: Some(UserInfo {
            groups: Some(found.who.all_groups()),
            username: Some(found.who.user),
            uid: Some(found.uid),
            extra: Some(found.extra).filter(|e| !e.is_empty()),
        }),
        audiences: Some(found.audiences),
        error: None,
    }
}

fn untold(why: &Disbelief) -> TokenReviewStatus {
    TokenReviewStatus {
        error: Some(format!("[invalid bearer token, {why}]")),
        ..TokenReviewStatus::default()
    }
}

fn parse_request(object: &[u8]) -> Result<(TokenRequest, Vec<String>), StatusError> {
    let named = kabuki_admission::review::Named {
        api_version: "authentication.k8s.io/v1",
        kind: "TokenRequest",
    };
    named.parse(object)
}

/// A request may name its service account, but no other.
fn check_place(request: &TokenRequest, account: &ObjectKey) -> Result<(), StatusError> {
    for (given, want, what) in [
        (&request.metadata.name, &account.name, "name"),
        (&request.metadata.namespace, &account.namespace, "namespace"),
    ] {
        if let Some(given) = given.as_deref().filter(|g| !g.is_empty() && *g != &**want) {
            return Err(StatusError::bad_request(format!(
                "the {what} of the object ({given}) does not match the {what} on the request \
                 ({want})"
            )));
        }
    }
    Ok(())
}

fn document(object: &impl Serialize, warnings: Vec<String>) -> Result<Answer, StatusError> {
    let json = serde_json::to_vec(object);
    let json = json.map_err(|e| StatusError::internal(format!("an answer is no JSON: {e}")))?;
    Ok(Answer {
        warnings,
        ..plain(Content::Document(json.into()))
    })
}

fn plain(content: Content) -> Answer {
    Answer {
        content,
        warnings: Vec::new(),
    }
}

/// A UUID (RFC 9562, version 4) of random bits.
fn uuid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_string();
    let parts = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ];
    parts.join("-")
}
