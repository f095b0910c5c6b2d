//! Another CA for the cluster, while it runs. Three steps, each of which an administrator takes
//! (`kabuki ca rotate`), and none before every member has followed the one before:
//!
//! | step | what the Secret says then | what members do |
//! |---|---|---|
//! | begin | `next.crt`, `next.key`; the bundle has both CAs; the old one signs | trust both |
//! | sign | the new one signs; the bundle has both | get certificates of the new one |
//! | finish | only the new one is left | forget the old one |
//!
//! Members follow when they renew their certificates: within a day, and at once when asked
//! ([`RENEW`]). Everything here is pure but for the new key.

use super::charter::{CharterError, authority_of, marks, secret_texts};
use super::node::{CaMarks, merge};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kabuki_cluster::authority::{Authority, PkiError};
use kabuki_cluster::certificate::{all_of_pem, sha256};
use kabuki_cluster::facts::member;
use kabuki_cluster::renewal::RENEW;
use kabuki_model::Stored;
use kabuki_model::request::Request;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far a change of the CA has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// There is one CA.
    Steady,
    /// There is a new one, which does not sign yet.
    Begun,
    /// The new one signs, the old one is still trusted.
    Signing,
}

/// How far it has come, and who has not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How far.
    pub phase: Phase,
    /// How many members there are.
    pub members: usize,
    /// The members that have not followed the last step yet.
    pub waiting: Vec<String>,
    /// The SHA-256 of the CA that signs.
    pub signer: String,
    /// The SHA-256 of every CA that is trusted.
    pub trusted: Vec<String>,
}

/// Why a step cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Some members would be lost.
    #[error(
        "{} of {members} nodes have not followed the last step yet: {}; each does when it renews \
         its certificate, within a day: see `kabuki ca status`, remove nodes that will not come \
         back with `kabuki delete node NAME`, or go on without them with --force (they must then \
         join again)",
        .waiting.len(),
        .waiting.join(", ")
    )]
    Waiting {
        /// How many there are.
        members: usize,
        /// Those that have not.
        waiting: Vec<String>,
    },
    /// The Secret cannot be used.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// The new CA could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The phase that it leads to.
    pub to: Phase,
    /// The write that takes it; it is bound to what the step was decided from.
    pub write: Request,
}

/// How far the change of the CA has come, of its Secret and all Nodes.
pub fn progress(secret: &Stored, nodes: &[Arc<Stored>]) -> Result<Progress, CharterError> {
    let (authority, bundle) = authority_of(secret)?;
    let texts = secret_texts(secret)?;
    let damaged = |why: String| CharterError::Damaged {
        key: secret.key.clone(),
        why,
    };
    let trusted = all_of_pem(&bundle).map_err(damaged)?;
    let phase = match (texts.contains_key("next.crt"), trusted.len()) {
        (true, _) => Phase::Begun,
        (false, 0 | 1) => Phase::Steady,
        (false, _) => Phase::Signing,
    };
    let wanted = marks(&authority, &bundle);
    let members: Vec<&Arc<Stored>> = nodes.iter().filter(|n| member(n).is_some()).collect();
    let waiting = members.iter().filter(|n| CaMarks::of(n) != wanted);
    Ok(Progress {
        phase,
        members: members.len(),
        waiting: waiting.map(|n| n.key.name.to_string()).collect(),
        signer: wanted.signer,
        trusted: trusted
            .iter()
            .map(|c| kabuki_cluster::certificate::hex(&sha256(c)))
            .collect(),
    })
}

/// The next step. Without `force` it is refused while a member would be lost.
pub fn next_step(
    secret: &Stored,
    nodes: &[Arc<Stored>],
    force: bool,
) -> Result<Step, RotationError> {
    let progress = progress(secret, nodes)?;
    if !progress.waiting.is_empty() && progress.phase != Phase::Steady && !force {
        return Err(RotationError::Waiting {
            members: progress.members,
            waiting: progress.waiting,
        });
    }
    let (authority, bundle) = authority_of(secret)?;
    let texts = secret_texts(secret)?;
    let (to, data) = match progress.phase {
        Phase::Steady => (Phase::Begun, begin(&authority)?),
        Phase::Begun => (Phase::Signing, sign(secret, &texts, &bundle)?),
        Phase::Signing => (
            Phase::Steady,
            json!({"bundle.crt": STANDARD.encode(authority.certificate_pem())}),
        ),
    };
    let patch = json!({
        "metadata": {"resourceVersion": secret.revision.to_string()}, "data": data,
    });
    Ok(Step {
        to,
        write: merge(&secret.key, &patch),
    })
}

fn begin(old: &Authority) -> Result<Value, PkiError> {
    let new = Authority::generate()?;
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
    Ok(json!({
        "next.crt": STANDARD.encode(new.certificate_pem()),
        "next.key": STANDARD.encode(new.key_pem()),
        "bundle.crt": STANDARD.encode(both),
    }))
}

fn sign(
    secret: &Stored,
    texts: &BTreeMap<String, String>,
    bundle: &str,
) -> Result<Value, CharterError> {
    let damaged = |why: String| CharterError::Damaged {
        key: secret.key.clone(),
        why,
    };
    let text = |name: &str| {
        let value = texts.get(name);
        value.ok_or_else(|| damaged(format!("it has no {name}")))
    };
    let new = Authority::from_pem(text("next.crt")?, text("next.key")?);
    let new = new.map_err(|e| damaged(e.to_string()))?;
    Ok(json!({
        "ca.crt": STANDARD.encode(new.certificate_pem()),
        "ca.key": STANDARD.encode(new.key_pem()),
        "bundle.crt": STANDARD.encode(bundle),
        "next.crt": Value::Null, "next.key": Value::Null,
    }))
}

/// The writes that ask every member to renew its certificate now; `mark` is the time.
pub fn ask_to_renew(nodes: &[Arc<Stored>], mark: &str) -> Vec<Request> {
    let members = nodes.iter().filter(|n| member(n).is_some());
    let patch = json!({"metadata": {"annotations": {RENEW: mark}}});
    members.map(|n| merge(&n.key, &patch)).collect()
}
