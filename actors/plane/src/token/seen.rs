//! Tokens whose signature was found good, so that it is not computed for every request of their
//! bearers. Only hashes of tokens are kept. What they claim is judged anew each time.

use kabuki_model::service_token::Claims;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many are kept in each of two generations; each takes about one kilobyte.
const GENERATION: usize = 2048;

type Hash = [u8; 32];

/// Tokens that were seen lately, with one set of keys.
#[derive(Default)]
pub(super) struct Seen {
    inner: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    /// The revision of the keys that were used.
    keys: u64,
    young: HashMap<Hash, Arc<Claims>>,
    old: HashMap<Hash, Arc<Claims>>,
}

impl Seen {
    pub(super) fn get(&self, keys: u64, token: &Hash) -> Option<Arc<Claims>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.keys != keys {
            return None;
        }
        if let Some(claims) = inner.young.get(token) {
            return Some(claims.clone());
        }
        let claims = inner.old.remove(token)?;
        inner.keep(*token, claims.clone());
        Some(claims)
    }

    pub(super) fn put(&self, keys: u64, token: Hash, claims: Arc<Claims>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.keys != keys {
            *inner = Generations {
                keys,
                ..Generations::default()
            };
        }
        inner.keep(token, claims);
    }
}

impl Generations {
    fn keep(&mut self, token: Hash, claims: Arc<Claims>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, claims);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::service_token::Private;

    fn claims() -> Arc<Claims> {
        Arc::new(Claims {
            aud: Vec::new(),
            exp: 0,
            iat: 0,
            iss: String::new(),
            jti: String::new(),
            kubernetes: Private::default(),
            nbf: 0,
            sub: String::new(),
        })
    }

    fn hash(number: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let seen = Seen::default();
        seen.put(1, hash(0), claims());
        seen.put(1, hash(1), claims());
        for number in 2..3 * GENERATION {
            seen.put(1, hash(number), claims());
            assert!(seen.get(1, &hash(0)).is_some());
        }
        assert!(seen.get(1, &hash(1)).is_none());
        let inner = seen.inner.lock().expect("not poisoned");
        assert!(inner.young.len() + inner.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn other_keys_know_nothing_of_what_was_seen() {
        let seen = Seen::default();
        seen.put(1, hash(0), claims());
        assert!(seen.get(2, &hash(0)).is_none());
        seen.put(2, hash(1), claims());
        assert!(seen.get(1, &hash(0)).is_none() && seen.get(2, &hash(0)).is_none());
    }
}
