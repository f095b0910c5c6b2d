//! Seals: the proof of who sent a message, because a member session does not tell which actor of
//! the other process speaks, and every member could call every gate.
//!
//! Servers share one key. A worker has a key of its own, derived from it, so that servers need no
//! list of keys and no worker can speak for another node.
//!
//! ```text
//!   sender's name, its boot | encoded body | HMAC-SHA256 over the receiver's name and all before
//! ```

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use kabuki_model::codec;
use kabuki_protocol::cluster::Body;
use kabuki_protocol::join::Role;
use std::sync::Arc;

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The length of a seal, in bytes.
const MAC_BYTES: usize = 32;

/// Why a message was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It is not what it should be.
    #[error("a message of a member cannot be read: {0}")]
    Codec(#[from] codec::CodecError),
    /// The seal is not that of the node that it names.
    #[error("a message that claims to be from {from} was not sealed by it")]
    Forged {
        /// Whom it claims to be from.
        from: String,
    },
    /// The key on disk cannot be one.
    #[error("the seal key has {0} bytes, not {KEY_BYTES}")]
    Key(usize),
}

/// Seals and opens the messages of one node.
#[derive(Clone)]
pub struct Sealer {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    boot: u64,
    role: Role,
    raw: [u8; KEY_BYTES],
    key: hmac::Key,
}

impl Sealer {
    /// The sealer of node `name`, which started as `boot`, with the key that it got when it
    /// joined.
    pub fn new(name: &str, boot: u64, role: Role, key: &[u8]) -> Result<Self, SealError> {
        let raw: [u8; KEY_BYTES] = key.try_into().map_err(|_| SealError::Key(key.len()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_string(),
                boot,
                role,
                key: hmac::Key::new(hmac::HMAC_SHA256, &raw),
                raw,
            }),
        })
    }

    /// This node's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// This node's boot.
    pub fn boot(&self) -> u64 {
        self.inner.boot
    }

    /// This node's role.
    pub fn role(&self) -> Role {
        self.inner.role
    }

    /// Encodes and seals a body for the node `to`.
    pub fn seal(&self, to: &str, to_role: Role, body: &Body) -> Result<Vec<u8>, SealError> {
        let mut message = Vec::new();
        codec::encode_into(&(&self.inner.name, self.inner.boot), &mut message)?;
        codec::encode_into(body, &mut message)?;
        let mac = self.with_key(to, to_role, |key| sign(key, to, &message));
        message.extend_from_slice(mac.as_ref());
        Ok(message)
    }

    /// Opens what came for this node: the sender, its boot and the body. `role_of` tells the role of
    /// the sender; only servers are asked for it, a worker hears servers alone.
    pub fn open<'m>(
        &self,
        message: &'m [u8],
        role_of: impl FnOnce(&str) -> Option<Role>,
    ) -> Result<(&'m str, u64, Body), SealError> {
        let signed = message.len().saturating_sub(MAC_BYTES);
        let (text, mac) = message.split_at(signed);
        let ((from, boot), body): ((&str, u64), _) = codec::decode_first(text)?;
        let forged = || SealError::Forged {
            from: from.to_string(),
        };
        let role = role_of(from).ok_or_else(forged)?;
        let own = self.with_key(from, role, |key| sign(key, &self.inner.name, text));
        verify_slices_are_equal(own.as_ref(), mac).map_err(|_| forged())?;
        Ok((from, boot, codec::decode_borrowed(body)?))
    }

    /// Both ends of a conversation use one key: the servers' among servers, the worker's own
    /// between it and a server.
    fn with_key<R>(&self, peer: &str, peer_role: Role, then: impl FnOnce(&hmac::Key) -> R) -> R {
        match (self.inner.role, peer_role) {
            (Role::Server, Role::Worker) => {
                let derived = worker_key(&self.inner.raw, peer);
                then(&hmac::Key::new(hmac::HMAC_SHA256, &derived))
            }
            _ => then(&self.inner.key),
        }
    }
}

/// The key of a worker, from the servers'.
pub fn worker_key(servers_key: &[u8; KEY_BYTES], name: &str) -> [u8; KEY_BYTES] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, servers_key);
    let mut context = hmac::Context::with_key(&key);
    context.update(b"node\0");
    context.update(name.as_bytes());
    let mut derived = [0; KEY_BYTES];
    derived.copy_from_slice(context.sign().as_ref());
    derived
}

/// The seal of a message to `to`. Names cannot contain a zero, so that no two messages have one text.
fn sign(key: &hmac::Key, to: &str, message: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(to.as_bytes());
    context.update(b"\0");
    context.update(message);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard() -> Body {
        Body::Heard {
            sent_us: 7,
            leader: None,
            revision: 1,
        }
    }

    fn server(name: &str) -> Sealer {
        Sealer::new(name, 1, Role::Server, &[7; KEY_BYTES]).expect("a sealer")
    }

    fn worker(name: &str) -> Sealer {
        let key = worker_key(&[7; KEY_BYTES], name);
        Sealer::new(name, 1, Role::Worker, &key).expect("a sealer")
    }

    #[test]
    fn servers_understand_each_other_and_their_workers() {
        let (a, b, w) = (server("a"), server("b"), worker("w"));
        let told = a.seal("b", Role::Server, &heard()).expect("seals");
        let (from, boot, body) = b.open(&told, |_| Some(Role::Server)).expect("opens");
        assert_eq!((from, boot, body), ("a", 1, heard()));
        let told = a.seal("w", Role::Worker, &heard()).expect("seals");
        w.open(&told, |_| Some(Role::Server)).expect("opens");
        let told = w.seal("b", Role::Server, &heard()).expect("seals");
        b.open(&told, |_| Some(Role::Worker)).expect("opens");
    }

    #[test]
    fn nobody_speaks_for_another() {
        let (a, w) = (server("a"), worker("w"));
        // Another worker, a server's name, another receiver, a changed byte.
        let key = worker_key(&[7; KEY_BYTES], "w");
        let liar = Sealer::new("v", 1, Role::Worker, &key).expect("a sealer");
        let told = liar.seal("a", Role::Server, &heard()).expect("seals");
        assert!(a.open(&told, |_| Some(Role::Worker)).is_err());
        let liar = Sealer::new("b", 1, Role::Worker, &key).expect("a sealer");
        let told = liar.seal("a", Role::Server, &heard()).expect("seals");
        assert!(a.open(&told, |_| Some(Role::Server)).is_err());
        let told = w.seal("b", Role::Server, &heard()).expect("seals");
        assert!(a.open(&told, |_| Some(Role::Worker)).is_err());
        let told = w.seal("a", Role::Server, &heard()).expect("seals");
        for at in 0..told.len() {
            let mut changed = told.clone();
            changed[at] ^= 1;
            let opened = a.open(&changed, |_| Some(Role::Worker));
            assert!(opened.is_err(), "byte {at} is not the sender's");
            assert!(a.open(&told[..at], |_| Some(Role::Worker)).is_err());
        }
        assert!(a.open(&told, |_| Some(Role::Worker)).is_ok());
        assert!(a.open(b"nonsense", |_| Some(Role::Worker)).is_err());
    }
}
