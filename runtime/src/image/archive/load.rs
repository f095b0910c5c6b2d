//! Adding the images of an archive to the store.

use std::{io::Read, path::PathBuf, sync::Arc};

use bytes::Bytes;

use super::{Archive, Listed};
use crate::image::{
    assemble::{LayerPlan, Origin, assemble},
    config::ConfigFile,
    digest::Digest,
    error::{ImageError, Result},
    progress::ProgressFn,
    pull::check_platform,
    reference::Reference,
    store::{Image, ImageStore, Inner, blocking},
};

/// How to load an archive.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// The image's name instead of those in the archive, which must hold one image only.
    pub name: Option<String>,
    pub progress: Option<ProgressFn>,
}

/// An image of an archive, checked and ready to be unpacked.
struct Prepared {
    config: Bytes,
    layers: Vec<LayerPlan>,
    tags: Vec<String>,
    digests: Vec<String>,
}

impl ImageStore {
    /// Loads the images of an archive file.
    pub async fn load_file(
        &self,
        path: impl Into<PathBuf>,
        options: LoadOptions,
    ) -> Result<Vec<Arc<Image>>> {
        let path = path.into();
        self.load(options, move |inner| Archive::open(&path, &inner.layout))
            .await
    }

    /// Loads the images of an archive that is read from a stream, on a blocking thread.
    pub async fn load_reader(
        &self,
        source: impl Read + Send + 'static,
        options: LoadOptions,
    ) -> Result<Vec<Arc<Image>>> {
        self.load(options, move |inner| Archive::copy(source, &inner.layout))
            .await
    }

    /// Loads the images of an archive in memory.
    pub async fn load_bytes(
        &self,
        archive: Bytes,
        options: LoadOptions,
    ) -> Result<Vec<Arc<Image>>> {
        self.load(options, move |inner| {
            Archive::memory(archive, &inner.layout)
        })
        .await
    }

    async fn load(
        &self,
        options: LoadOptions,
        open: impl FnOnce(&Inner) -> Result<Archive> + Send + 'static,
    ) -> Result<Vec<Arc<Image>>> {
        let (inner, name) = (self.inner.clone(), options.name);
        let prepared = blocking("reading an image archive", move || {
            let listed = open(&inner)?.images()?;
            if listed.is_empty() {
                return Err(ImageError::bad_archive("it has no image"));
            }
            if name.is_some() && listed.len() > 1 {
                let count = listed.len();
                let reason = format!("it has {count} images, so one name does not fit");
                return Err(ImageError::bad_archive(reason));
            }
            listed
                .into_iter()
                .map(|image| prepare(image, name.as_deref()))
                .collect::<Result<Vec<_>>>()
        })
        .await?;
        let mut images = Vec::new();
        for image in prepared {
            images.push(self.add_prepared(image, options.progress.clone()).await?);
        }
        Ok(images)
    }

    async fn add_prepared(
        &self,
        image: Prepared,
        progress: Option<ProgressFn>,
    ) -> Result<Arc<Image>> {
        let pins = self
            .inner
            .pin(image.layers.iter().map(|layer| layer.chain).collect());
        assemble(&self.inner, image.layers, progress).await?;
        let inner = self.inner.clone();
        blocking("adding an image", move || {
            let image = inner.add(&image.config, image.tags, image.digests);
            drop(pins);
            image
        })
        .await
    }
}

fn prepare(image: Listed, name: Option<&str>) -> Result<Prepared> {
    let config_bytes = image.config.read_small("the image's configuration")?;
    let id = Digest::of(&config_bytes);
    if let Some(expected) = image.id.filter(|expected| *expected != id) {
        return Err(ImageError::Corrupt {
            what: "image configuration".into(),
            expected: expected.to_string(),
            actual: id.to_string(),
        });
    }
    let config = ConfigFile::parse(&config_bytes, &id)?;
    check_platform(
        &config,
        &name
            .or(image.names.first().map(String::as_str))
            .unwrap_or("image"),
    )?;
    let (described, present) = (config.rootfs.diff_ids.len(), image.layers.len());
    if described != present {
        let reason = format!("image {id} describes {described} layers, the archive has {present}");
        return Err(ImageError::bad_archive(reason));
    }
    let names: Vec<String> = match name {
        Some(name) => vec![name.to_owned()],
        None => image.names,
    };
    let references = names
        .iter()
        .map(|name| Reference::parse(name))
        .collect::<Result<Vec<_>>>()?;
    let digest = image.digest;
    let parts = image
        .layers
        .into_iter()
        .zip(&config.rootfs.diff_ids)
        .zip(config.chains());
    let layers = parts.map(|(((span, blob), diff_id), chain)| LayerPlan {
        diff_id: *diff_id,
        chain,
        label: blob.map_or(*diff_id, |(digest, _)| digest),
        size: blob.map_or(span.length, |(_, size)| size),
        origin: Origin::Archive {
            span,
            verify: blob.is_some(),
        },
    });
    Ok(Prepared {
        layers: layers.collect(),
        tags: references.iter().filter_map(Reference::tagged).collect(),
        digests: digest.map_or(Vec::new(), |digest| {
            references
                .iter()
                .map(|reference| reference.digested(&digest))
                .collect()
        }),
        config: config_bytes,
    })
}
