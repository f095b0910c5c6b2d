//! Pulling an image from a registry.
//!
//! Ask each endpoint with each credential until one has the manifest; choose the platform;
//! fetch the configuration; download and unpack the layers that are missing, several at a
//! time; only then add the image. Dropping the future stops all of it: partial downloads
//! stay for the next attempt, half-unpacked layers go.

use std::sync::Arc;

use bytes::Bytes;

mod download;

use super::{
    assemble::{LayerPlan, Origin, assemble},
    config::ConfigFile,
    credentials::{Credential, Keyring},
    digest::Digest,
    error::{ImageError, Result},
    manifest::{self, Document, MAX_INDEX_DEPTH, Manifest, Platform},
    progress::ProgressFn,
    reference::Reference,
    registry::{Endpoint, Session, SharedSession},
    store::{Image, ImageStore, blocking},
};

pub(crate) use download::download;

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// Credentials of the pod's pull secrets; without a match the pull is anonymous.
    pub keyring: Keyring,
    pub progress: Option<ProgressFn>,
}

/// A manifest for this machine and where it came from.
struct Found {
    session: SharedSession,
    manifest: Manifest,
    /// Digest of what the reference itself leads to: of the index, if it is one.
    digest: Digest,
}

impl ImageStore {
    /// Makes `reference` present, asking the registry even if it is present already (a tag
    /// may have moved); layers that are there are not fetched again.
    ///
    /// Cancel-safe. Pulls of the same layers at the same time share the work.
    pub async fn pull(&self, reference: &Reference, options: PullOptions) -> Result<Arc<Image>> {
        let found = self.find(reference, &options.keyring).await?;
        let config_descriptor = &found.manifest.config;
        let config_bytes = found
            .session
            .small_blob(&config_descriptor.digest, config_descriptor.size)
            .await?;
        let config = ConfigFile::parse(&config_bytes, &config_descriptor.digest)?;
        check_platform(&config, reference)?;
        let layers = plan(&found, &config)?;
        self.finish(
            reference,
            &found.digest,
            config_bytes,
            layers,
            options.progress,
        )
        .await
    }

    async fn finish(
        &self,
        reference: &Reference,
        digest: &Digest,
        config: Bytes,
        layers: Vec<LayerPlan>,
        progress: Option<ProgressFn>,
    ) -> Result<Arc<Image>> {
        let pins = self
            .inner
            .pin(layers.iter().map(|layer| layer.chain).collect());
        assemble(&self.inner, layers, progress).await?;
        let inner = self.inner.clone();
        let digests = vec![reference.digested(digest)];
        // A reference by digest says what the content is, not what the tag means today.
        let tags = match reference.digest() {
            Some(_) => Vec::new(),
            None => reference.tagged().into_iter().collect(),
        };
        blocking("adding an image", move || {
            let image = inner.add(&config, tags, digests);
            drop(pins);
            image
        })
        .await
    }

    /// Tries endpoints and credentials; the registry's own answer is the one that is told.
    async fn find(&self, reference: &Reference, keyring: &Keyring) -> Result<Found> {
        let mut last = None;
        for endpoint in Endpoint::all(reference, &self.inner.options.registries) {
            match self.find_at(&endpoint, reference, keyring).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    let registry = endpoint.host().to_owned();
                    tracing::debug!(registry, %error, "an endpoint does not have the image");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| ImageError::NotPresent(reference.to_string())))
    }

    async fn find_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        keyring: &Keyring,
    ) -> Result<Found> {
        let known = keyring.matching(&endpoint.credential_reference(reference)?);
        let mut credentials: Vec<Option<Credential>> = known.into_iter().map(Some).collect();
        if credentials.is_empty() {
            credentials.push(None);
        }
        let mut denied = None;
        for credential in credentials {
            let clients = &self.inner.clients;
            let session = Session::open(clients, endpoint.clone(), reference, credential).await?;
            match resolve(Arc::new(session), reference).await {
                Err(error @ ImageError::Unauthorized { .. }) => denied = Some(error),
                result => return result,
            }
        }
        Err(denied.unwrap_or_else(|| ImageError::NotPresent(reference.to_string())))
    }
}

/// Follows indexes to the manifest for this machine.
async fn resolve(session: SharedSession, reference: &Reference) -> Result<Found> {
    let what = format!("manifest of \"{reference}\"");
    let name = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    let (mut bytes, digest) = session.manifest(&name).await?;
    for _ in 0..MAX_INDEX_DEPTH {
        match Document::parse(&bytes, &what)? {
            Document::Manifest(manifest) => {
                return Ok(Found {
                    session,
                    manifest,
                    digest,
                });
            }
            Document::Index(entries) => {
                let host = Platform::host();
                let entry = manifest::select(&entries, &host, &reference.to_string())?;
                (bytes, _) = session.manifest(&entry.digest.to_string()).await?;
            }
        }
    }
    Err(ImageError::BadManifest {
        what,
        reason: format!("indexes are nested deeper than {MAX_INDEX_DEPTH}"),
    })
}

/// An image without an index says what it is for only in its configuration.
pub(crate) fn check_platform(config: &ConfigFile, reference: &impl ToString) -> Result<()> {
    let host = Platform::host();
    let fits = (config.os.is_empty() || config.os == host.os)
        && (config.architecture.is_empty() || config.architecture == host.architecture);
    if fits {
        return Ok(());
    }
    Err(ImageError::NoPlatform {
        reference: reference.to_string(),
        wanted: host.to_string(),
        offered: format!("{}/{}", config.os, config.architecture),
    })
}

fn plan(found: &Found, config: &ConfigFile) -> Result<Vec<LayerPlan>> {
    let diff_ids = &config.rootfs.diff_ids;
    let layers = &found.manifest.layers;
    if diff_ids.len() != layers.len() {
        return Err(ImageError::BadManifest {
            what: format!("image configuration {}", found.manifest.config.digest),
            reason: format!(
                "it describes {} layers, the manifest has {}",
                diff_ids.len(),
                layers.len()
            ),
        });
    }
    let chains = config.chains();
    let parts = layers.iter().zip(diff_ids).zip(chains);
    let plan = parts.map(|((layer, diff_id), chain)| LayerPlan {
        diff_id: *diff_id,
        chain,
        label: layer.digest,
        size: layer.size,
        origin: Origin::Registry(found.session.clone()),
    });
    Ok(plan.collect())
}
