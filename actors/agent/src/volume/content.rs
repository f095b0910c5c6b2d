//! Fetching what volumes are made from: objects and tokens, all at the same time.

use super::VolumeError;
use crate::services::{PodEntry, Services};
use futures::future::{try_join, try_join_all};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kabuki_lifecycle::process::{PodFacts, References};
use kabuki_lifecycle::volume::{self, Contents, TokenWish};
use kabuki_model::request::{Content, Request};
use kabuki_model::status::Reason;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Objects that come a moment after the pod (the certificate of a new namespace) are waited for
/// in steps of this, this often, before the volume counts as failed.
const PATIENCE: (Duration, u32) = (Duration::from_millis(20), 10);
/// The account of pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

/// A token, and when the next one is due.
#[derive(Debug, Clone)]
pub(super) struct HeldToken {
    pub token: String,
    pub renew_at: Timestamp,
}

/// The objects as they were read, by what they are; missing ones are not here.
pub(super) type Objects = HashMap<ObjectKey, Arc<Stored>>;

/// The keys of all objects that the pod's volumes name.
pub(super) fn keys(pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut all = References::default();
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        all.extend(volume::references(volume));
    }
    let maps = all.config_maps.iter();
    let maps = maps.map(|n| ObjectKey::new(Resource::CONFIG_MAPS, namespace, n));
    let secrets = all.secrets.iter();
    let secrets = secrets.map(|n| ObjectKey::new(Resource::SECRETS, namespace, n));
    maps.chain(secrets).collect()
}

/// Reads the objects; those that every cluster makes for each namespace are waited for.
pub(super) async fn objects(services: &Services, pod: &Pod) -> Result<Objects, VolumeError> {
    let reads = keys(pod).into_iter().map(|key| async move {
        let mut found = read(services, &key).await?;
        let mut tries = PATIENCE.1;
        while found.is_none() && tries > 0 && *key.name == *ROOT_CA {
            tokio::time::sleep(PATIENCE.0).await;
            found = read(services, &key).await?;
            tries -= 1;
        }
        Ok::<_, VolumeError>(found.map(|object| (key, object)))
    });
    let found = try_join_all(reads).await?;
    Ok(found.into_iter().flatten().collect())
}

/// The ConfigMap with the cluster's certificate, which a controller puts into each namespace.
const ROOT_CA: &str = "kube-root-ca.crt";

async fn read(services: &Services, key: &ObjectKey) -> Result<Option<Arc<Stored>>, VolumeError> {
    let request = Request::Get {
        key: key.clone(),
        subresource: None,
    };
    match services.api.request(request).await {
        Ok(answer) => Ok(answer.into_object()),
        Err(error) if error.reason == Reason::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads objects and asks for the tokens that are not held yet or not for long any more.
pub(super) async fn fetch(
    services: &Services,
    entry: &PodEntry,
    pod: &Pod,
    held: &HashMap<TokenWish, HeldToken>,
) -> Result<(Objects, HashMap<TokenWish, HeldToken>), VolumeError> {
    let now = Timestamp::now();
    let due = volume::token_wishes(pod)
        .into_iter()
        .filter(|wish| held.get(wish).is_none_or(|h| h.renew_at <= now));
    let tokens = due.map(|wish| async move {
        let token = token(services, entry, pod, &wish).await?;
        Ok::<_, VolumeError>((wish, token))
    });
    let (objects, tokens) = try_join(objects(services, pod), try_join_all(tokens)).await?;
    Ok((objects, tokens.into_iter().collect()))
}

/// Asks for a token of the pod's account, bound to the pod.
pub(super) async fn token(
    services: &Services,
    entry: &PodEntry,
    pod: &Pod,
    wish: &TokenWish,
) -> Result<HeldToken, VolumeError> {
    let spec = pod.spec.as_ref();
    let account = spec.and_then(|s| s.service_account_name.as_deref());
    let account = account.filter(|a| !a.is_empty()).unwrap_or(DEFAULT_ACCOUNT);
    let audiences = Some(wish.audience.clone()).filter(|a| !a.is_empty());
    let request = Request::Token {
        account: ObjectKey::new(Resource::SERVICE_ACCOUNTS, &entry.namespace, account),
        audiences: audiences.into_iter().collect(),
        expiration_s: wish.expiration_s,
        bound_pod: Some((entry.name.clone(), entry.uid.clone())),
    };
    let asked = Timestamp::now();
    let failed =
        |why: &dyn std::fmt::Display| VolumeError::Refused(format!("failed to fetch token: {why}"));
    let answer = services.api.request(request).await;
    let Content::Token { token, expires_s } = answer.map_err(|e| failed(&e))?.content else {
        return Err(failed(&StatusError::internal("the answer is no token")));
    };
    let life = SignedDuration::from_secs(expires_s.saturating_sub(asked.as_second()));
    let wait = volume::rotate_after(life, rand::random());
    Ok(HeldToken {
        token,
        renew_at: asked.checked_add(wait).unwrap_or(asked),
    })
}

/// What volumes are made from, decoded.
pub(super) fn contents(
    objects: &Objects,
    tokens: &HashMap<TokenWish, HeldToken>,
) -> Result<Contents, VolumeError> {
    let mut all = Contents::default();
    for (key, object) in objects {
        let name = key.name.to_string();
        match key.resource == Resource::SECRETS {
            true => drop(all.secrets.insert(name, typed::<Secret>(object)?)),
            false => drop(all.config_maps.insert(name, typed::<ConfigMap>(object)?)),
        }
    }
    let tokens = tokens.iter();
    all.tokens = tokens.map(|(w, h)| (w.clone(), h.token.clone())).collect();
    Ok(all)
}

fn typed<T: DeserializeOwned + Send + Sync + 'static>(
    object: &Stored,
) -> Result<Arc<T>, VolumeError> {
    let typed = object.typed::<T>();
    typed.map_err(|error| StatusError::internal(error.to_string()).into())
}

/// What the node adds to the manifest, as far as volumes show it.
pub(super) fn facts(services: &Services) -> PodFacts {
    PodFacts {
        node: services.allocatable.clone(),
        ..PodFacts::default()
    }
}
