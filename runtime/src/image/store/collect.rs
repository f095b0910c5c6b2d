//! Removing images: one that somebody names, and those unused longest when room is needed.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    sync::{Arc, PoisonError},
};

use super::{Image, ImageStore, Inner};
use crate::image::{
    digest::Digest,
    error::{ImageError, Result},
    layout::remove_all,
    reference::Reference,
};

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that lead nowhere now.
    pub untagged: Vec<String>,
    /// Images that are gone.
    pub deleted: Vec<Digest>,
    /// Content of the layers that are gone.
    pub freed_bytes: u64,
}

impl ImageStore {
    /// Removes a name, and the image if that was its last one; named by id, the image with
    /// all its names.
    ///
    /// # Errors
    /// [`ImageError::NotPresent`]; [`ImageError::InUse`] if the image would go and `in_use`
    /// has its id.
    pub async fn remove(&self, name: &str, in_use: &HashSet<Digest>) -> Result<Removed> {
        let image = self
            .resolve(name)?
            .ok_or_else(|| ImageError::NotPresent(name.to_owned()))?;
        let reference = Reference::parse(name)
            .ok()
            .filter(|reference| image.is(reference));
        let by_name = reference.map(|reference| match reference.digest() {
            Some(digest) => reference.digested(digest),
            None => reference.to_string(),
        });
        let keeps_a_tag = by_name
            .as_ref()
            .is_some_and(|name| image.repo_tags.iter().any(|tag| tag != name));
        if !keeps_a_tag && in_use.contains(&image.id) {
            return Err(ImageError::InUse {
                name: name.to_owned(),
                id: image.id,
            });
        }
        let inner = self.inner.clone();
        blocking("removing", move || {
            inner.change(|images, removed| {
                let Some(known) = images.get_mut(&image.id) else {
                    return;
                };
                match by_name {
                    Some(name) if keeps_a_tag => {
                        let known = Arc::make_mut(known);
                        known.repo_tags.retain(|tag| *tag != name);
                        known.repo_digests.retain(|digest| *digest != name);
                        removed.untagged.push(name);
                    }
                    _ => delete(images, &image.id, removed),
                }
            })
        })
        .await
    }

    /// Removes images that are not in use, the longest unused first, until `target_bytes` of
    /// layer content are freed. Layers and downloads that belong to no image go in any case.
    pub async fn collect_garbage(
        &self,
        in_use: &HashSet<Digest>,
        target_bytes: u64,
    ) -> Result<Removed> {
        let (inner, in_use) = (self.inner.clone(), in_use.clone());
        blocking("collecting garbage", move || {
            let mut total = inner.change(|_, _| {})?;
            total.freed_bytes += inner.remove_abandoned_blobs()?;
            let mut candidates: Vec<Arc<Image>> = inner.state_images().into_values().collect();
            candidates.retain(|image| !in_use.contains(&image.id));
            candidates.sort_by_key(|image| image.last_used_s);
            for image in candidates {
                if total.freed_bytes >= target_bytes {
                    break;
                }
                let removed = inner.change(|images, removed| delete(images, &image.id, removed))?;
                total.untagged.extend(removed.untagged);
                total.deleted.extend(removed.deleted);
                total.freed_bytes += removed.freed_bytes;
            }
            Ok(total)
        })
        .await
    }
}

impl Inner {
    /// Changes the set of images, then removes layers and blobs that no image needs.
    fn change(
        &self,
        edit: impl FnOnce(&mut BTreeMap<Digest, Arc<Image>>, &mut Removed),
    ) -> Result<Removed> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, mut removed) = (self.state_images(), Removed::default());
        let mut images = before.clone();
        edit(&mut images, &mut removed);
        if images != before {
            self.replace(images.clone())?;
        }
        let needed: HashSet<Digest> = images
            .values()
            .flat_map(|image| image.chains.iter().copied())
            .collect();
        for (chain, _) in self.layers.all() {
            if !needed.contains(&chain) {
                removed.freed_bytes += self.remove_layer(&chain)?;
            }
        }
        for id in &removed.deleted {
            remove_all(&self.layout.blob(id))?;
        }
        Ok(removed)
    }

    /// Removes interrupted downloads, unless something is being pulled.
    fn remove_abandoned_blobs(&self) -> Result<u64> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_idle() {
            return Ok(0);
        }
        let needed: HashSet<String> = self.state_images().keys().map(Digest::hex).collect();
        let directory = self.layout.blobs();
        let mut freed = 0;
        for entry in fs::read_dir(&directory).map_err(|e| ImageError::io("read", &directory, e))? {
            let entry = entry.map_err(|e| ImageError::io("read", &directory, e))?;
            if !needed.contains(entry.file_name().to_string_lossy().as_ref()) {
                freed += entry.metadata().map_or(0, |found| found.len());
                remove_all(&entry.path())?;
            }
        }
        Ok(freed)
    }
}

fn delete(images: &mut BTreeMap<Digest, Arc<Image>>, id: &Digest, removed: &mut Removed) {
    if let Some(image) = images.remove(id) {
        removed.untagged.extend(image.repo_tags.iter().cloned());
        removed.deleted.push(*id);
    }
}

/// Runs file work on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            // A bug in the work is a bug here, not a failed image.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ImageError::Cancelled { action }),
        },
    }
}
