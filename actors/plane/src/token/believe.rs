//! Whether the claims of a token whose signature is good still hold (Kubernetes, "Managing Service
//! Accounts", "Bound service account tokens"). Pure.

use super::{AUDIENCE, ISSUER};
use jiff::Timestamp;
use kabuki_model::identity::Identity;
use kabuki_model::service_token::{Claims, Reference, TokenError};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_protocol::front::Authenticated;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Clocks of servers may be apart by so much, in seconds; and whoever ends in order may use its
/// token for so long after its time.
const LEEWAY_S: i64 = 60;

/// Why a token is not believed. None of these repeats any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// It is no token of a service account.
    #[error(transparent)]
    Form(#[from] TokenError),
    /// None of the cluster's keys signed it.
    #[error("the token was not signed by this cluster")]
    Signature,
    /// It is of another issuer.
    #[error("the token was not issued by this cluster")]
    Issuer,
    /// Its user is not its service account.
    #[error("the token's subject is not its service account")]
    Subject,
    /// It is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    Early,
    /// It is meant for others.
    #[error("token audiences {have:?} is invalid for the target audiences {want:?}")]
    Audience {
        /// Those that it is meant for.
        have: Vec<String>,
        /// Those that it was shown to.
        want: Vec<String>,
    },
    /// What it is bound to is gone, or has been replaced.
    #[error("service account token has been invalidated: its {0} is gone")]
    Gone(&'static str),
}

/// Who bears a token with these claims, shown to one of `audiences` (none: the API itself).
pub(super) fn believe(
    view: &dyn View,
    claims: &Claims,
    audiences: &[String],
    now: Timestamp,
) -> Result<Authenticated, Disbelief> {
    let now = now.as_second();
    let private = &claims.kubernetes;
    if claims.iss != ISSUER {
        return Err(Disbelief::Issuer);
    }
    if now > claims.exp.saturating_add(LEEWAY_S) {
        return Err(Disbelief::Expired);
    }
    if now < claims.nbf.saturating_sub(LEEWAY_S) {
        return Err(Disbelief::Early);
    }
    let own = [AUDIENCE.to_string()];
    let wanted = match audiences {
        [] => &own,
        audiences => audiences,
    };
    let meant = wanted.iter().filter(|a| claims.aud.contains(a));
    let meant: Vec<String> = meant.cloned().collect();
    if meant.is_empty() {
        return Err(Disbelief::Audience {
            have: claims.aud.clone(),
            want: wanted.to_vec(),
        });
    }
    let (namespace, account) = (&private.namespace, &private.serviceaccount);
    let who = Identity::service_account(namespace, &account.name);
    if who.user != claims.sub {
        return Err(Disbelief::Subject);
    }
    let holds = |resource: Resource, namespace: &str, what: &Reference, name: &'static str| {
        let key = ObjectKey::new(resource, namespace, &what.name);
        let object = view.get(&key).filter(|o| *o.uid == *what.uid);
        let object = object.filter(|o| !left(o, now));
        object.map(drop).ok_or(Disbelief::Gone(name))
    };
    holds(
        Resource::SERVICE_ACCOUNTS,
        namespace,
        account,
        "service account",
    )?;
    if let Some(pod) = &private.pod {
        holds(Resource::PODS, namespace, pod, "pod")?;
    }
    if let Some(secret) = &private.secret {
        holds(Resource::SECRETS, namespace, secret, "secret")?;
    }
    // The node of a pod is told for information; only of a token for a node it is a condition.
    if let (Some(node), None) = (&private.node, &private.pod) {
        holds(Resource::NODES, "", node, "node")?;
    }
    Ok(Authenticated {
        who,
        uid: account.uid.clone(),
        extra: extra(claims),
        audiences: meant,
    })
}

/// Whether an object should be gone by now.
fn left(object: &Arc<Stored>, now: i64) -> bool {
    let deleted = object.meta().deletion_timestamp.as_ref();
    deleted.is_some_and(|at| at.0.as_second() < now.saturating_sub(LEEWAY_S))
}

/// What a token tells of its bearer beside its name (`UserInfo.extra`).
fn extra(claims: &Claims) -> BTreeMap<String, Vec<String>> {
    let mut extra = BTreeMap::new();
    let mut say = |name: &str, value: &str| {
        if !value.is_empty() {
            let name = format!("authentication.kubernetes.io/{name}");
            extra.insert(name, vec![value.to_string()]);
        }
    };
    if !claims.jti.is_empty() {
        say("credential-id", &format!("JTI={}", claims.jti));
    }
    for (what, reference) in [
        ("pod", &claims.kubernetes.pod),
        ("node", &claims.kubernetes.node),
    ] {
        if let Some(reference) = reference {
            say(&format!("{what}-name"), &reference.name);
            say(&format!("{what}-uid"), &reference.uid);
        }
    }
    extra
}
