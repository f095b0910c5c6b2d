//! `docker save`: a `manifest.json` that lists configurations, names and layers by member.

use serde::Deserialize;

use super::{Archive, Listed};
use crate::image::error::{ImageError, Result};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

pub(super) fn images(archive: &Archive) -> Result<Option<Vec<Listed>>> {
    let Some(list) = archive.find("manifest.json") else {
        return Ok(None);
    };
    let json = list.read_small("manifest.json")?;
    let entries: Vec<Entry> = serde_json::from_slice(&json)
        .map_err(|error| ImageError::bad_archive(format!("manifest.json: {error}")))?;
    let images = entries.into_iter().map(|entry| {
        let layers = entry.layers.unwrap_or_default();
        let spans = layers
            .iter()
            .map(|layer| Ok((archive.require(layer)?, None)));
        Ok(Listed {
            config: archive.require(&entry.config)?,
            id: None,
            digest: None,
            layers: spans.collect::<Result<_>>()?,
            names: entry.repo_tags.unwrap_or_default(),
        })
    });
    images.collect::<Result<Vec<_>>>().map(Some)
}
