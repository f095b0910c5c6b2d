//! The node's images: pulls for pods, one at a time for each image and set of secrets, and what
//! people ask of images.
//!
//! An image that is present is found without a message. Not known here: back-off, which the
//! pod's state machine decides.

use crate::api;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kabuki_kit::{CallError, ChildSpec, Slot};
use kabuki_lifecycle::{ImageFailure, PullPolicy, PullReport};
use kabuki_model::Resource;
use kabuki_protocol::ApiHandle;
use kabuki_runtime::image::{
    Digest, Image, ImageError, ImageStore, Keyring, ProgressFn, PullOptions, Reference,
};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::RactorMessage;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A pull that takes longer has hung: no image that nodes run is that large.
const PULL_LIMIT: Duration = Duration::from_secs(3600);

type Pulled = Result<(Arc<Image>, Duration), Arc<ImageError>>;

#[derive(RactorMessage)]
pub(crate) enum ImageMessage {
    Pull {
        job: Box<PullJob>,
        reply: RpcReplyPort<Pulled>,
    },
    Finished {
        key: PullKey,
        outcome: Pulled,
    },
}

/// What makes two pulls the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PullKey {
    reference: String,
    /// Who asks with which secrets: others may not be allowed the image.
    secrets: String,
}

pub(crate) struct PullJob {
    key: PullKey,
    reference: Reference,
    keyring: Keyring,
    progress: Option<ProgressFn>,
}

/// Reaches the node's images.
#[derive(Clone)]
pub(crate) struct ImageHandle {
    slot: Slot<ImageMessage>,
    store: ImageStore,
    api: ApiHandle,
}

/// An image as a container needs it.
pub(crate) struct Ensured {
    pub image_id: String,
    pub pulled: Option<PullReport>,
}

/// Why there is no image.
pub(crate) struct Refusal {
    pub failure: ImageFailure,
    pub message: String,
}

impl ImageHandle {
    pub fn new(store: ImageStore, api: ApiHandle) -> Self {
        Self {
            slot: Slot::new("images"),
            store,
            api,
        }
    }

    pub fn child(&self) -> ChildSpec {
        let store = self.store.clone();
        ChildSpec::worker("images", &self.slot, move |_| {
            (
                Images {
                    store: store.clone(),
                },
                (),
            )
        })
    }

    /// The images themselves.
    pub fn store(&self) -> &ImageStore {
        &self.store
    }

    /// Makes an image present for a pod. `started` is called when it must be fetched.
    pub async fn ensure(
        &self,
        pod: &Pod,
        image: &str,
        policy: PullPolicy,
        started: impl FnOnce(),
    ) -> Result<Ensured, Refusal> {
        let reference = Reference::parse(image).map_err(|e| refusal(&e))?;
        let present = self.store.resolve(image).map_err(|e| refusal(&e))?;
        match (present, policy) {
            (Some(present), PullPolicy::IfNotPresent | PullPolicy::Never) => {
                self.store.touch(&present.id);
                return Ok(Ensured {
                    image_id: image_id(&present, &reference),
                    pulled: None,
                });
            }
            (None, PullPolicy::Never) => {
                let message = format!("image {image:?} is not present");
                return Err(Refusal {
                    failure: ImageFailure::NeverPull,
                    message,
                });
            }
            _ => {}
        }
        started();
        let begun = Instant::now();
        let (keyring, secrets) = self.keyring(pod).await?;
        let key = PullKey {
            reference: reference.to_string(),
            secrets,
        };
        let job = PullJob {
            key,
            reference: reference.clone(),
            keyring,
            progress: None,
        };
        let (pulled, took) = self.pull_job(job).await.map_err(|error| match error {
            PullError::Image(error) => refusal(&error),
            PullError::Call(error) => Refusal {
                failure: ImageFailure::Pull,
                message: error.to_string(),
            },
        })?;
        let report = PullReport {
            took_ms: millis(took),
            waited_ms: millis(begun.elapsed()),
            size_bytes: pulled.size_bytes,
        };
        Ok(Ensured {
            image_id: image_id(&pulled, &reference),
            pulled: Some(report),
        })
    }

    /// Pulls because a person asked for it.
    pub async fn pull(
        &self,
        reference: Reference,
        keyring: Keyring,
        progress: ProgressFn,
    ) -> Result<Arc<Image>, PullError> {
        // Its progress belongs to this caller alone, so it shares with nobody.
        let secrets = format!("by hand {:x}", rand::random::<u64>());
        let key = PullKey {
            reference: reference.to_string(),
            secrets,
        };
        let job = PullJob {
            key,
            reference,
            keyring,
            progress: Some(progress),
        };
        self.pull_job(job).await.map(|(image, _)| image)
    }

    async fn pull_job(&self, job: PullJob) -> Result<(Arc<Image>, Duration), PullError> {
        let job = Box::new(job);
        let pulled = self
            .slot
            .call(|reply| ImageMessage::Pull { job, reply }, PULL_LIMIT)
            .await;
        pulled.map_err(PullError::Call)?.map_err(PullError::Image)
    }

    /// The pod's pull secrets and those of its service account, and a text that tells them from
    /// other pods'. A secret that is missing is passed over, as kubelet does.
    async fn keyring(&self, pod: &Pod) -> Result<(Keyring, String), Refusal> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let spec = pod.spec.as_ref();
        let own = spec
            .iter()
            .flat_map(|s| s.image_pull_secrets.iter().flatten());
        let mut names: BTreeSet<String> = own.map(|s| s.name.clone()).collect();
        if names.is_empty()
            && let Some(account) = spec.and_then(|s| s.service_account_name.as_deref())
            && let Ok(Some(held)) = api::get::<ServiceAccount>(
                &self.api,
                Resource::SERVICE_ACCOUNTS,
                namespace,
                account,
            )
            .await
        {
            names.extend(
                held.image_pull_secrets
                    .iter()
                    .flatten()
                    .map(|s| s.name.clone()),
            );
        }
        let mut keyring = Keyring::default();
        for name in &names {
            let fetched = api::get::<Secret>(&self.api, Resource::SECRETS, namespace, name).await;
            let secret = fetched.map_err(|error| Refusal {
                failure: ImageFailure::Pull,
                message: format!("cannot read pull secret {name:?}: {error}"),
            })?;
            match secret {
                Some(secret) => add(&mut keyring, &secret).map_err(|e| refusal(&e))?,
                None => tracing::warn!(secret.name = name, "pull secret is missing"),
            }
        }
        let mark = names.into_iter().collect::<Vec<_>>().join(",");
        Ok((keyring, format!("{namespace}/{mark}")))
    }
}

/// Why a pull failed.
pub(crate) enum PullError {
    Image(Arc<ImageError>),
    Call(CallError),
}

impl std::fmt::Display for PullError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

fn add(keyring: &mut Keyring, secret: &Secret) -> Result<(), ImageError> {
    let data = |key: &str| {
        secret
            .data
            .as_ref()
            .and_then(|d| d.get(key))
            .map(|d| d.0.as_slice())
    };
    if let Some(json) = data(".dockerconfigjson") {
        keyring.add_docker_config_json(json)?;
    }
    if let Some(json) = data(".dockercfg") {
        keyring.add_docker_cfg(json)?;
    }
    Ok(())
}

/// `imageID`: what names the image's content, by its repository where that is known.
fn image_id(image: &Image, reference: &Reference) -> String {
    let start = format!("{}@", reference.name());
    let digests = &image.repo_digests;
    let own = digests
        .iter()
        .find(|d| d.starts_with(&start))
        .or_else(|| digests.first());
    own.cloned().unwrap_or_else(|| image.id.to_string())
}

fn refusal(error: &ImageError) -> Refusal {
    let failure = match error.waiting_reason() {
        "InvalidImageName" => ImageFailure::InvalidName,
        "RegistryUnavailable" => ImageFailure::Unreachable,
        "ImageInspectError" => ImageFailure::Inspect,
        _ => ImageFailure::Pull,
    };
    Refusal {
        failure,
        message: error.to_string(),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The ids of images that containers of `ids` (as `imageID` says them) use.
pub(crate) fn in_use(store: &ImageStore, names: impl Iterator<Item = String>) -> Vec<Digest> {
    let found = names.filter_map(|name| store.resolve(&name).ok().flatten());
    found.map(|image| image.id).collect()
}

struct Images {
    store: ImageStore,
}

#[derive(Default)]
struct ImagesState {
    running: HashMap<PullKey, Vec<RpcReplyPort<Pulled>>>,
}

impl Actor for Images {
    type Msg = ImageMessage;
    type State = ImagesState;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<ImageMessage>,
        (): (),
    ) -> Result<ImagesState, ActorProcessingErr> {
        Ok(ImagesState::default())
    }

    async fn handle(
        &self,
        myself: ActorRef<ImageMessage>,
        message: ImageMessage,
        state: &mut ImagesState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ImageMessage::Pull { job, reply } => {
                let waiting = state.running.entry(job.key.clone()).or_default();
                waiting.push(reply);
                if waiting.len() > 1 {
                    return Ok(());
                }
                let store = self.store.clone();
                tokio::spawn(async move {
                    let begun = Instant::now();
                    let options = PullOptions {
                        keyring: job.keyring,
                        progress: job.progress,
                    };
                    let pulled = store.pull(&job.reference, options).await;
                    let outcome = pulled.map(|i| (i, begun.elapsed())).map_err(Arc::new);
                    let _ = myself.cast(ImageMessage::Finished {
                        key: job.key,
                        outcome,
                    });
                });
            }
            ImageMessage::Finished { key, outcome } => {
                for reply in state.running.remove(&key).unwrap_or_default() {
                    let _ = reply.send(outcome.clone());
                }
            }
        }
        Ok(())
    }
}
