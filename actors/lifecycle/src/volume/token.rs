//! Tokens of the pod's service account: which a pod wants, who reads them, and when each is
//! renewed (Kubernetes, "ServiceAccount token volume projection").

use super::sources;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Pod, ServiceAccountTokenProjection};
use std::collections::BTreeSet;

/// What a token lives when nothing says otherwise, in seconds.
const DEFAULT_LIFE_S: i64 = 3600;
/// A token is renewed when so much of its life is over, in percent.
const RENEW_AT_PERCENT: i64 = 80;
/// One that lives for long is renewed after a day at the latest.
const RENEW_MAX_S: i64 = 24 * 3600;
/// Renewals are spread over so much of the time before, in percent: pods that started together
/// do not ask together.
const SPREAD_PERCENT: i64 = 5;

/// One kind of token that a pod wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenWish {
    /// For whom it is; empty is the API itself.
    pub audience: String,
    /// How long it is to live, in seconds.
    pub expiration_s: i64,
}

impl TokenWish {
    pub(super) fn of(wanted: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: wanted.audience.clone().unwrap_or_default(),
            expiration_s: wanted.expiration_seconds.unwrap_or(DEFAULT_LIFE_S),
        }
    }
}

/// The tokens that the pod's volumes show.
pub fn token_wishes(pod: &Pod) -> BTreeSet<TokenWish> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let wanted = volumes.flat_map(|v| sources(v).filter_map(|s| s.service_account_token.as_ref()));
    wanted.map(TokenWish::of).collect()
}

/// How long a token of this life is used before it is renewed. `draw` is a random number.
pub fn rotate_after(life: SignedDuration, draw: u64) -> SignedDuration {
    let life_s = life.as_secs().max(0);
    let latest = (life_s.saturating_mul(RENEW_AT_PERCENT) / 100).min(RENEW_MAX_S);
    let spread = (life_s.saturating_mul(SPREAD_PERCENT) / 100).min(RENEW_MAX_S / 20);
    let earlier = i64::try_from(draw % (spread.unsigned_abs() + 1)).unwrap_or(0);
    SignedDuration::from_secs((latest - earlier).max(0))
}

/// The user of all containers, when they have one in common: the token is that user's.
pub(super) fn only_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let shared = spec.security_context.as_ref().and_then(|c| c.run_as_user);
    let all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let mut users = all.map(|c| {
        let own = c.security_context.as_ref().and_then(|s| s.run_as_user);
        own.or(shared)
    });
    let first = users.next()??;
    users
        .all(|user| user == Some(first))
        .then(|| u32::try_from(first).ok())
        .flatten()
}
