//! Bootstrap tokens: Secrets by which machines join the cluster (Kubernetes, "Authenticating with
//! Bootstrap Tokens"). Beside Kubernetes' keys they have some of our own:
//!
//! | key | what |
//! |---|---|
//! | `token-id`, `token-secret` | the token; the id is part of the Secret's name, too |
//! | `expiration` | RFC 3339; without it the token is good until it is deleted |
//! | `usage-bootstrap-authentication` | `true`, else nobody joins by it |
//! | `description` | for people |
//! | `kabuki-role` | `server`, `worker` or `any` |
//! | `kabuki-one-time` | `true`: it is good for one node |
//! | `kabuki-used-by`, `kabuki-used-key` | the node that used it, and the hash of its key |

use crate::object::{ObjectKey, Resource, Stored};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The type of the Secrets.
pub const TYPE: &str = "bootstrap.kubernetes.io/token";
/// Where they are.
pub const NAMESPACE: &str = "kube-system";
/// Their names begin with it; the token's id follows.
pub const NAME_PREFIX: &str = "bootstrap-token-";

const ID: &str = "token-id";
const SECRET: &str = "token-secret";
const EXPIRATION: &str = "expiration";
const AUTHENTICATION: &str = "usage-bootstrap-authentication";
const DESCRIPTION: &str = "description";
const ROLE: &str = "kabuki-role";
const ONE_TIME: &str = "kabuki-one-time";
const USED_BY: &str = "kabuki-used-by";
const USED_KEY: &str = "kabuki-used-key";

/// What a token lets its bearer become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRole {
    /// A server.
    Server,
    /// A worker.
    Worker,
    /// Either.
    Any,
}

impl TokenRole {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Worker => "worker",
            Self::Any => "any",
        }
    }
}

impl FromStr for TokenRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Server, Self::Worker, Self::Any];
        let found = all.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no role: use server, worker or any"))
    }
}

/// Who used a token that is good for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedBy {
    /// The node's name.
    pub node: String,
    /// The hash of the node's key: the same machine may ask again.
    pub key: String,
}

/// A token.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    /// The public part.
    pub id: String,
    /// The part that proves it.
    pub secret: String,
    /// Until when it is good.
    pub expires: Option<Timestamp>,
    /// What its bearer may become.
    pub role: TokenRole,
    /// Whether it is good for one node only.
    pub one_time: bool,
    /// Who used it, of one that is good for one node.
    pub used_by: Option<UsedBy>,
    /// For people.
    pub description: String,
}

impl fmt::Debug for BootstrapToken {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootstrapToken")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// The key of the Secret of the token with this id.
pub fn key(id: &str) -> ObjectKey {
    ObjectKey::new(Resource::SECRETS, NAMESPACE, &format!("{NAME_PREFIX}{id}"))
}

/// Whether a Secret is meant to be a token, readable or not.
pub fn is_token(secret: &Stored) -> bool {
    *secret.key.namespace == *NAMESPACE
        && secret.key.name.starts_with(NAME_PREFIX)
        && secret
            .typed::<Secret>()
            .is_ok_and(|s| s.type_.as_deref() == Some(TYPE))
}

/// When the token of a Secret ends. `Ok(None)` never; an error says why it cannot be told.
pub fn expiration(secret: &Stored) -> Result<Option<Timestamp>, String> {
    let typed = secret.typed::<Secret>().map_err(|e| e.to_string())?;
    expires(typed.data.as_ref().unwrap_or(&BTreeMap::new()))
}

fn expires(data: &BTreeMap<String, ByteString>) -> Result<Option<Timestamp>, String> {
    let Some(text) = text(data, EXPIRATION)? else {
        return Ok(None);
    };
    let at = text.parse::<Timestamp>();
    at.map(Some)
        .map_err(|_| format!("its {EXPIRATION} {text:?} is no time (RFC 3339)"))
}

fn text(data: &BTreeMap<String, ByteString>, key: &str) -> Result<Option<String>, String> {
    let Some(value) = data.get(key) else {
        return Ok(None);
    };
    let text = String::from_utf8(value.0.clone());
    text.map(Some).map_err(|_| format!("its {key} is no text"))
}

impl BootstrapToken {
    /// Reads a Secret. An error says what is wrong with it; such a token is good for nothing.
    pub fn read(secret: &Stored) -> Result<Self, String> {
        let typed = secret.typed::<Secret>().map_err(|e| e.to_string())?;
        if typed.type_.as_deref() != Some(TYPE) {
            return Err(format!("it is not of the type {TYPE}"));
        }
        let none = BTreeMap::new();
        let data = typed.data.as_ref().unwrap_or(&none);
        let needed = |key: &str| text(data, key)?.ok_or_else(|| format!("it has no {key}"));
        let id = needed(ID)?;
        if *secret.key.name != *format!("{NAME_PREFIX}{id}") {
            return Err(format!("its {ID} {id:?} is not that of its name"));
        }
        if text(data, AUTHENTICATION)?.as_deref() != Some("true") {
            return Err(format!("its {AUTHENTICATION} is not \"true\""));
        }
        let role = text(data, ROLE)?.map(|role| role.parse()).transpose()?;
        let used_by = match (text(data, USED_BY)?, text(data, USED_KEY)?) {
            (None, _) => None,
            (Some(node), key) => Some(UsedBy {
                node,
                key: key.unwrap_or_default(),
            }),
        };
        Ok(Self {
            secret: needed(SECRET)?,
            expires: expires(data)?,
            role: role.unwrap_or(TokenRole::Any),
            one_time: text(data, ONE_TIME)?.as_deref() == Some("true"),
            used_by,
            description: text(data, DESCRIPTION)?.unwrap_or_default(),
            id,
        })
    }

    /// The Secret of this token.
    pub fn to_value(&self) -> Value {
        let mut texts = json!({
            ID: self.id, SECRET: self.secret, AUTHENTICATION: "true", ROLE: self.role.as_str(),
        });
        if let Some(at) = self.expires {
            texts[EXPIRATION] = at.to_string().into();
        }
        if !self.description.is_empty() {
            texts[DESCRIPTION] = self.description.as_str().into();
        }
        if self.one_time {
            texts[ONE_TIME] = "true".into();
        }
        if let Some(used) = &self.used_by {
            texts[USED_BY] = used.node.as_str().into();
            texts[USED_KEY] = used.key.as_str().into();
        }
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": TYPE,
            "metadata": {"name": format!("{NAME_PREFIX}{}", self.id), "namespace": NAMESPACE},
            "stringData": texts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> BootstrapToken {
        BootstrapToken {
            id: "abcdef".to_string(),
            secret: "s".repeat(26),
            expires: Some("2030-01-01T00:00:00Z".parse().expect("a time")),
            role: TokenRole::Worker,
            one_time: true,
            used_by: Some(UsedBy {
                node: "web-1".to_string(),
                key: "00ff".to_string(),
            }),
            description: "for the rack".to_string(),
        }
    }

    /// As it is stored: defaulted, which moves `stringData` to `data`.
    fn stored(value: &Value, name: &str) -> Stored {
        let secret: Secret = serde_json::from_value(value.clone()).expect("a Secret");
        let texts = secret.string_data.clone().unwrap_or_default().into_iter();
        let data = texts.map(|(k, v)| (k, ByteString(v.into_bytes())));
        let secret = Secret {
            data: Some(data.collect()),
            string_data: None,
            ..secret
        };
        let json = serde_json::to_vec(&secret).expect("JSON");
        let key = ObjectKey::new(Resource::SECRETS, NAMESPACE, name);
        Stored::new(key, "u".into(), 1, json.into())
    }

    #[test]
    fn a_token_survives_its_secret() {
        let secret = stored(&token().to_value(), "bootstrap-token-abcdef");
        assert!(is_token(&secret));
        assert_eq!(expiration(&secret), Ok(token().expires));
        assert_eq!(BootstrapToken::read(&secret), Ok(token()));
    }

    #[test]
    fn kubernetes_own_tokens_are_understood() {
        let value = json!({
            "metadata": {}, "type": TYPE, "stringData": {
                ID: "abcdef", SECRET: "0123456789abcdef", AUTHENTICATION: "true",
                "usage-bootstrap-signing": "true",
            },
        });
        let read = BootstrapToken::read(&stored(&value, "bootstrap-token-abcdef"));
        let read = read.expect("a token");
        assert_eq!((read.role, read.one_time), (TokenRole::Any, false));
        assert_eq!((read.expires, read.used_by), (None, None));
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let cases: [(&str, Value, &str); 5] = [
            (EXPIRATION, json!("tomorrow"), "is no time"),
            (AUTHENTICATION, json!("false"), "is not \"true\""),
            (ROLE, json!("king"), "\"king\" is no role"),
            (ID, json!("ghijkl"), "is not that of its name"),
            (SECRET, Value::Null, "has no token-secret"),
        ];
        for (key, value, expected) in cases {
            let mut secret = token().to_value();
            match value {
                Value::Null => drop(
                    secret["stringData"]
                        .as_object_mut()
                        .and_then(|d| d.remove(key)),
                ),
                value => secret["stringData"][key] = value,
            }
            let read = BootstrapToken::read(&stored(&secret, "bootstrap-token-abcdef"));
            let why = read.expect_err("it is wrong");
            assert!(why.contains(expected), "{key}: {why}");
        }
    }

    #[test]
    fn a_token_is_not_shown_by_accident() {
        assert!(!format!("{:?}", token()).contains(&token().secret));
    }
}
