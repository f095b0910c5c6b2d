//! Answering a registry's challenge: HTTP Basic, or a token from its token service
//! (distribution "Token Authentication" and its OAuth 2 variant).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use super::{Challenge, Session};
use crate::image::{
    credentials::Credential,
    error::{ImageError, Result},
};

/// Real tokens have a few KiB.
const MAX_TOKEN_BYTES: u64 = 1 << 20;
const CLIENT_ID: &str = "kabuki";

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl Session {
    /// The header that answers the challenges; None if nothing that is known would.
    pub(super) async fn authorize(&self, challenges: &[Challenge]) -> Result<Option<HeaderValue>> {
        if let Some(Credential::Bearer(token)) = &self.credential {
            return self.header(&format!("Bearer {token}")).map(Some);
        }
        let scheme = |name: &str| challenges.iter().find(|challenge| challenge.scheme == name);
        if let Some(challenge) = scheme("bearer") {
            let token = self.fetch_token(challenge).await?;
            return self.header(&format!("Bearer {token}")).map(Some);
        }
        match (&self.credential, scheme("basic")) {
            (Some(Credential::Basic { username, password }), Some(_)) => {
                self.header(&basic(username, password)).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn fetch_token(&self, challenge: &Challenge) -> Result<String> {
        let realm = challenge
            .get("realm")
            .ok_or_else(|| self.refused("its authentication challenge names no token service"))?;
        let acceptable = match realm.split_once("://") {
            Some(("https", _)) => true,
            Some(("http", _)) => self.endpoint.is_plain(),
            _ => false,
        };
        if !acceptable {
            return Err(self.refused(format!(
                "it wants credentials sent to {realm:?}, which is not encrypted"
            )));
        }
        let scope = match challenge.get("scope") {
            Some(scope) => scope.to_owned(),
            None => format!("repository:{}:pull", self.reference.repository()),
        };
        let service = challenge.get("service").unwrap_or_default();
        let request = match &self.credential {
            Some(Credential::Identity { username, token }) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("username", username),
                    ("client_id", CLIENT_ID),
                    ("service", service),
                    ("scope", &scope),
                ];
                self.client
                    .post(realm)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(encode_form(&form))
            }
            credential => {
                let query = [("service", service), ("scope", &scope)];
                let filled = query.iter().filter(|(_, value)| !value.is_empty());
                let request = self.client.get(realm).query(&filled.collect::<Vec<_>>());
                match credential {
                    Some(Credential::Basic { username, password }) => {
                        request.basic_auth(username, Some(password))
                    }
                    _ => request,
                }
            }
        };
        let response = self.send_once(request, None).await?;
        let response = self
            .check(response)
            .await
            .map_err(|error| self.denied(error))?;
        let body = self.read_bounded(response, MAX_TOKEN_BYTES).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| self.refused("its token service did not answer with a token"))?;
        match [answer.token, answer.access_token]
            .into_iter()
            .find(|token| !token.is_empty())
        {
            Some(token) => Ok(token),
            None => Err(self.refused("its token service answered without a token")),
        }
    }

    /// Whatever the token service refuses with, it means that access is denied.
    fn denied(&self, error: ImageError) -> ImageError {
        match error {
            ImageError::NotFound { reference, detail } => {
                ImageError::Unauthorized { reference, detail }
            }
            ImageError::Registry { detail, .. } => ImageError::Unauthorized {
                reference: self.reference.to_string(),
                detail,
            },
            other => other,
        }
    }

    fn header(&self, value: &str) -> Result<HeaderValue> {
        let mut header = HeaderValue::from_str(value)
            .map_err(|_| self.refused("its credentials contain invalid characters"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

fn encode_form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        text.bytes()
            .map(|byte| match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect()
    };
    let pairs = fields
        .iter()
        .map(|(key, value)| format!("{key}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_encoded() {
        let form = encode_form(&[("a", "x y&z"), ("b", "é")]);
        assert_eq!(form, "a=x%20y%26z&b=%C3%A9");
    }
}
