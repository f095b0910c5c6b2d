//! The keys that sign the tokens of service accounts, in the replicated state: the Secret
//! `kube-system/kabuki-token-keys`, which users may not read.
//!
//! | entry | what |
//! |---|---|
//! | `signing` | the id of the key that signs |
//! | `KEY-ID.pem` | a key, PKCS #8 in PEM; all of them are believed |
//!
//! A key is replaced in two steps: a new one signs while the old ones are still believed, and an
//! old one goes when all that it signed has ended.

use crate::admitting::charter::{CharterError, NAMESPACE, secret_texts};
use crate::admitting::node::merge;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kabuki_model::request::Request;
use kabuki_model::service_token::ALGORITHM;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The type of the Secret.
pub const KEYS_TYPE: &str = "kabuki.dev/token-keys";
const SIGNING: &str = "signing";
const SUFFIX: &str = ".pem";

/// The Secret of the keys.
pub fn keys_key() -> ObjectKey {
    ObjectKey::new(Resource::SECRETS, NAMESPACE, "kabuki-token-keys")
}

/// The keys of one state.
pub struct Keys {
    /// The revision of the Secret that they come from.
    pub revision: u64,
    signing: String,
    all: BTreeMap<String, EcdsaKeyPair>,
}

impl Keys {
    /// Reads them.
    ///
    /// # Errors
    /// There are none yet, or the Secret is damaged.
    pub fn read(view: &dyn View) -> Result<Self, CharterError> {
        let key = keys_key();
        let stored = view.get(&key);
        Self::of(stored.ok_or(CharterError::Missing { key })?)
    }

    fn of(secret: &Stored) -> Result<Self, CharterError> {
        let damaged = |why: String| CharterError::Damaged {
            key: secret.key.clone(),
            why,
        };
        let texts = secret_texts(secret)?;
        let mut all = BTreeMap::new();
        for (name, pem) in &texts {
            let Some(id) = name.strip_suffix(SUFFIX) else {
                continue;
            };
            // What is wrong with a key is said without any of it.
            let pair = pair(pem).ok_or_else(|| damaged(format!("{name} is no key")))?;
            all.insert(id.to_string(), pair);
        }
        let signing = texts.get(SIGNING).cloned().unwrap_or_default();
        match all.contains_key(&signing) {
            true => Ok(Self {
                revision: secret.revision,
                signing,
                all,
            }),
            false => Err(damaged(
                "none of its keys is the one that signs".to_string(),
            )),
        }
    }

    /// The id of the key that signs.
    pub fn signing(&self) -> &str {
        &self.signing
    }

    /// Signs.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, &'static str> {
        let key = self
            .all
            .get(&self.signing)
            .ok_or("there is no signing key")?;
        let signature = key.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| "the system gives no random numbers")?;
        Ok(signature.as_ref().to_vec())
    }

    /// Whether the key of this id has signed the message.
    pub fn verify(&self, id: &str, message: &[u8], signature: &[u8]) -> bool {
        self.all.get(id).is_some_and(|key| {
            let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key());
            public.verify(message, signature).is_ok()
        })
    }

    /// The public keys as a JSON Web Key Set (RFC 7517).
    pub fn to_jwks(&self) -> Value {
        let keys = self.all.iter().filter_map(|(id, pair)| {
            // An uncompressed point (SEC 1, 2.3.3): 4, then both coordinates.
            let (&4, point) = pair.public_key().as_ref().split_first()? else {
                return None;
            };
            let (x, y) = point.split_at_checked(32)?;
            Some(json!({
                "use": "sig", "kty": "EC", "kid": id, "crv": "P-256", "alg": ALGORITHM,
                "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
            }))
        });
        json!({"keys": keys.collect::<Vec<Value>>()})
    }
}

fn pair(pem: &str) -> Option<EcdsaKeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let der = der.secret_pkcs8_der();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()
}

/// A new key: its id, and itself in PEM.
fn generate() -> Result<(String, String), rcgen::Error> {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let hash = kabuki_cluster::certificate::sha256(&pair.subject_public_key_info());
    // The id that Kubernetes gives: the hash of the public key.
    Ok((URL_SAFE_NO_PAD.encode(hash), pair.serialize_pem()))
}

/// The Secret of a cluster that has none yet.
///
/// # Errors
/// No key can be made.
pub fn new_secret() -> Result<Value, rcgen::Error> {
    let (id, pem) = generate()?;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": KEYS_TYPE,
        "metadata": {"name": "kabuki-token-keys", "namespace": NAMESPACE},
        "data": {SIGNING: STANDARD.encode(&id), (format!("{id}{SUFFIX}")): STANDARD.encode(pem)},
    }))
}

/// The write by which a new key signs from now on. All others are still believed, but for those
/// that signed before the last change when `forget` is set: what they signed is refused then.
///
/// # Errors
/// The Secret is damaged, or no key can be made.
pub fn rotation(secret: &Stored, forget: bool) -> Result<Request, CharterError> {
    let keys = Keys::of(secret)?;
    let damaged = |why: String| CharterError::Damaged {
        key: secret.key.clone(),
        why,
    };
    let (id, pem) = generate().map_err(|e| damaged(e.to_string()))?;
    let mut data = json!({
        SIGNING: STANDARD.encode(&id), (format!("{id}{SUFFIX}")): STANDARD.encode(pem),
    });
    for old in keys.all.keys().filter(|k| forget && **k != keys.signing) {
        data[format!("{old}{SUFFIX}")] = Value::Null;
    }
    let patch = json!({
        "metadata": {"resourceVersion": secret.revision.to_string()}, "data": data,
    });
    Ok(merge(&secret.key, &patch))
}
