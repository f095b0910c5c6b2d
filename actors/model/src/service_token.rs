//! The tokens of service accounts: what they claim (Kubernetes, "Managing Service Accounts",
//! "Schema for service account private claims") and their compact form (RFC 7515). Reading one
//! proves nothing: whoever believes it has to check its signature, its times and that all it is
//! bound to still exists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// The one algorithm that is used: ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
pub const ALGORITHM: &str = "ES256";
/// No token is longer, in bytes. One of ours has about one thousand; its audiences are the asker's.
pub const MAX_BYTES: usize = 32 << 10;

/// What a token says. The fields are in the order in which Kubernetes writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it may be shown to.
    pub aud: Vec<String>,
    /// When it ends: seconds since the epoch, as all times here.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// A number that no other token has.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// Whose it is, and what it ends with.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Private,
    /// From when on it is good.
    pub nbf: i64,
    /// The user: `system:serviceaccount:NAMESPACE:NAME`.
    pub sub: String,
}

/// The claims that only Kubernetes knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The service account's namespace.
    pub namespace: String,
    /// The node of the pod, or the node that the token is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// The pod that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// The Secret that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The service account.
    pub serviceaccount: Reference,
    /// When its bearer should have fetched another one; it is good for longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// An object by name, and by the uid that no successor of the name has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(default)]
    pub uid: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Why a text is no token. None of these repeats any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is too long.
    #[error("the token is longer than {MAX_BYTES} bytes")]
    Long,
    /// It is something else.
    #[error("the token is not of the form HEADER.CLAIMS.SIGNATURE")]
    Form,
    /// Its header says too little.
    #[error("the token's header is not understood")]
    Header,
    /// It is signed in another way.
    #[error("the token is not signed with {ALGORITHM}")]
    Algorithm,
    /// Its claims say too little.
    #[error("the token's claims are not those of a service account")]
    Claims,
}

/// A token as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unverified<'a> {
    /// Which key is said to have signed it.
    pub key_id: String,
    /// What it claims.
    pub claims: Claims,
    /// The bytes that were signed.
    pub signed: &'a [u8],
    /// The signature.
    pub signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// It is none, or not one of a service account.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Long);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form);
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Header)?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Algorithm);
        }
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Claims)?;
        Ok(Self {
            key_id: header.kid,
            claims,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        })
    }
}

impl Claims {
    /// What is to be signed: header and claims.
    pub fn to_sign(&self, key_id: &str) -> String {
        let header = Header {
            alg: ALGORITHM.to_string(),
            kid: key_id.to_string(),
        };
        // Texts and numbers are always JSON.
        let part =
            |json: serde_json::Result<Vec<u8>>| URL_SAFE_NO_PAD.encode(json.unwrap_or_default());
        let (header, claims) = (serde_json::to_vec(&header), serde_json::to_vec(self));
        format!("{}.{}", part(header), part(claims))
    }
}

/// The token of what was signed and its signature.
pub fn compact(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            aud: vec!["api".to_string()],
            exp: 2,
            iat: 1,
            iss: "https://here".to_string(),
            jti: "j".to_string(),
            kubernetes: Private {
                namespace: "default".to_string(),
                pod: Some(Reference {
                    name: "web".to_string(),
                    uid: "p".to_string(),
                }),
                serviceaccount: Reference {
                    name: "builder".to_string(),
                    uid: "s".to_string(),
                },
                ..Private::default()
            },
            nbf: 1,
            sub: "system:serviceaccount:default:builder".to_string(),
        }
    }

    #[test]
    fn claims_are_written_as_kubernetes_does() {
        let text = serde_json::to_string(&claims()).expect("JSON");
        assert_eq!(
            text,
            r#"{"aud":["api"],"exp":2,"iat":1,"iss":"https://here","jti":"j","kubernetes.io":{"namespace":"default","pod":{"name":"web","uid":"p"},"serviceaccount":{"name":"builder","uid":"s"}},"nbf":1,"sub":"system:serviceaccount:default:builder"}"#
        );
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let signed = claims().to_sign("k");
        let token = compact(&signed, b"signature");
        let read = Unverified::parse(&token).expect("a token");
        assert_eq!(read.claims, claims());
        assert_eq!((&*read.key_id, read.signed), ("k", signed.as_bytes()));
        assert_eq!(read.signature, b"signature");
    }

    #[test]
    fn what_is_no_token_is_told_apart() {
        let with = |header: &str, claims: &str| {
            let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let token = format!("{}.{}.AAAA", part(header), part(claims));
            Unverified::parse(&token).map(|_| ()).unwrap_err()
        };
        let own = serde_json::to_string(&claims()).expect("JSON");
        assert_eq!(
            with(r#"{"alg":"none","kid":""}"#, &own),
            TokenError::Algorithm
        );
        assert_eq!(
            with(r#"{"alg":"HS256","kid":"k"}"#, &own),
            TokenError::Algorithm
        );
        assert_eq!(with("{}", &own), TokenError::Header);
        assert_eq!(
            with(r#"{"alg":"ES256","kid":"k"}"#, "{}"),
            TokenError::Claims
        );
        for text in ["", ".", "..", "a.b", "a.b.c.d", "\u{e4}.\u{e4}.\u{e4}"] {
            assert!(Unverified::parse(text).is_err(), "{text}");
        }
        let long = "a".repeat(MAX_BYTES + 1);
        assert_eq!(Unverified::parse(&long), Err(TokenError::Long));
    }
}
