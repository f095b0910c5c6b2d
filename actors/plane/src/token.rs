//! The tokens of service accounts: issuing them, and finding out who bears one.
//!
//! ```text
//! gateway ──> Tokens ──> issue (pure) ──> keys: signed
//!                   ──> keys: signature ──> believe (pure) ──> who it is
//! ```
//!
//! | module | what |
//! |---|---|
//! | `keys` | the cluster's signing keys, in its state |
//! | `issue` | what a token will claim |
//! | `believe` | whether what it claims still holds |
//! | `seen` | signatures that were checked lately |
//! | `answer` | requests for tokens and token reviews |
//!
//! Who talks to it: the gateway, for whoever asks. Every server issues and checks by the state that
//! it has; nothing is written.
//!
//! Invariants: no token, and no key, is ever logged or part of an error; a token ends with its
//! time, its service account, and whatever it is bound to.

mod answer;
mod believe;
mod issue;
mod keys;
mod seen;

#[cfg(test)]
mod tests;

pub use believe::Disbelief;
pub use keys::{KEYS_TYPE, Keys, keys_key, new_secret, rotation};

use crate::admitting::charter::CharterError;
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use kabuki_cluster::certificate::sha256;
use kabuki_model::StatusError;
use kabuki_model::service_token::{Claims, Unverified, compact};
use kabuki_model::view::View;
use kabuki_protocol::front::Authenticated;
use seen::Seen;
use serde_json::{Value, json};
use std::sync::Arc;

/// Who issues tokens: the API of the cluster, as its pods see it.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Whom tokens are for that name nobody: the API itself.
pub const AUDIENCE: &str = ISSUER;

/// Issues and checks tokens. Clones share everything.
#[derive(Clone, Default)]
pub struct Tokens {
    keys: Arc<ArcSwapOption<Keys>>,
    seen: Arc<Seen>,
}

impl Tokens {
    /// Who bears a token that was shown to one of `audiences` (none: the API itself).
    ///
    /// # Errors
    /// `Ok(Err)`, when it is not believed; `Err`, when the keys cannot be used.
    pub fn authenticate(
        &self,
        view: &dyn View,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Result<Authenticated, Disbelief>, StatusError> {
        let keys = self.keys(view)?;
        let claims = match self.claims(&keys, token) {
            Ok(claims) => claims,
            Err(why) => return Ok(Err(why)),
        };
        Ok(believe::believe(view, &claims, audiences, now))
    }

    /// The public keys and where they are, as an OpenID provider tells them (OpenID Connect
    /// Discovery 1.0): the discovery document and the key set.
    ///
    /// # Errors
    /// The keys cannot be used.
    pub fn openid(&self, view: &dyn View) -> Result<(Value, Value), StatusError> {
        let document = json!({
            "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [kabuki_model::service_token::ALGORITHM],
        });
        Ok((document, self.keys(view)?.to_jwks()))
    }

    /// What a token claims, when one of the keys signed it.
    fn claims(&self, keys: &Keys, token: &str) -> Result<Arc<Claims>, Disbelief> {
        let hash = sha256(token.as_bytes());
        if let Some(claims) = self.seen.get(keys.revision, &hash) {
            return Ok(claims);
        }
        let read = Unverified::parse(token)?;
        if !keys.verify(&read.key_id, read.signed, &read.signature) {
            return Err(Disbelief::Signature);
        }
        let claims = Arc::new(read.claims);
        self.seen.put(keys.revision, hash, claims.clone());
        Ok(claims)
    }

    fn sign(&self, keys: &Keys, claims: &Claims) -> Result<String, StatusError> {
        let text = claims.to_sign(keys.signing());
        let signature = keys.sign(text.as_bytes());
        let signature = signature
            .map_err(|why| StatusError::internal(format!("a token cannot be signed: {why}")))?;
        Ok(compact(&text, &signature))
    }

    /// The keys of the state; decoded again only when they have changed.
    fn keys(&self, view: &dyn View) -> Result<Arc<Keys>, StatusError> {
        let unusable = |e: CharterError| StatusError::unavailable(e.to_string());
        let revision = view.get(&keys_key()).map(|s| s.revision);
        if let Some(keys) = self.keys.load_full()
            && Some(keys.revision) == revision
        {
            return Ok(keys);
        }
        let keys = Arc::new(Keys::read(view).map_err(unusable)?);
        self.keys.store(Some(keys.clone()));
        Ok(keys)
    }
}
