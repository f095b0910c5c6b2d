//! OCI image layouts: an `index.json` over blobs (OCI image specification, "Image Layout").

use super::{Archive, Listed, Span};
use crate::image::{
    digest::Digest,
    error::{ImageError, Result},
    manifest::{self, Descriptor, Document, MAX_INDEX_DEPTH, Platform},
};

/// The full name, as containerd and Docker write it.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// By the specification a tag; many tools write the full name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

pub(super) fn images(archive: &Archive) -> Result<Option<Vec<Listed>>> {
    let Some(index) = archive.find("index.json") else {
        return Ok(None);
    };
    let json = index.read_small("index.json")?;
    let Document::Index(entries) = Document::parse(&json, "index.json")? else {
        return Err(ImageError::bad_archive("index.json is not an image index"));
    };
    let mut images: Vec<Listed> = Vec::new();
    for entry in &entries {
        let names = names(entry);
        let Some(mut image) = image(archive, entry)? else {
            continue;
        };
        // One image with several names has several entries.
        match images.iter_mut().find(|known| known.digest == image.digest) {
            Some(known) => known.names.extend(names),
            None => {
                image.names = names;
                images.push(image);
            }
        }
    }
    Ok(Some(images))
}

/// None for what is not an image, like signatures and attestations.
fn image(archive: &Archive, entry: &Descriptor) -> Result<Option<Listed>> {
    let what = format!("manifest {}", entry.digest);
    let mut bytes = verified(archive, entry)?;
    for depth in 0..MAX_INDEX_DEPTH {
        match Document::parse(&bytes, &what) {
            Ok(Document::Manifest(manifest)) => {
                let config = blob(archive, &manifest.config)?;
                let layers = manifest
                    .layers
                    .iter()
                    .map(|layer| Ok((blob(archive, layer)?, Some((layer.digest, layer.size)))));
                return Ok(Some(Listed {
                    config,
                    id: Some(manifest.config.digest),
                    digest: Some(entry.digest),
                    layers: layers.collect::<Result<_>>()?,
                    names: Vec::new(),
                }));
            }
            Ok(Document::Index(entries)) => {
                let chosen = manifest::select(&entries, &Platform::host(), &what)?;
                bytes = verified(archive, chosen)?;
            }
            Err(ImageError::BadManifest { reason, .. })
                if depth == 0 && reason.starts_with("it is not a container image") =>
            {
                tracing::debug!(manifest = %entry.digest, reason, "skipping an artifact");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Err(ImageError::bad_archive(format!(
        "{what}: indexes are nested too deep"
    )))
}

fn verified(archive: &Archive, descriptor: &Descriptor) -> Result<bytes::Bytes> {
    let what = format!("blob {}", descriptor.digest);
    let bytes = blob(archive, descriptor)?.read_small(&what)?;
    let actual = Digest::of(&bytes);
    if actual == descriptor.digest {
        return Ok(bytes);
    }
    Err(ImageError::Corrupt {
        what,
        expected: descriptor.digest.to_string(),
        actual: actual.to_string(),
    })
}

fn blob(archive: &Archive, descriptor: &Descriptor) -> Result<Span> {
    let span = archive.require(&format!("blobs/sha256/{}", descriptor.digest.hex()))?;
    if span.length == descriptor.size {
        return Ok(span);
    }
    Err(ImageError::Corrupt {
        what: format!("blob {}", descriptor.digest),
        expected: format!("{} bytes", descriptor.size),
        actual: format!("{} bytes", span.length),
    })
}

fn names(entry: &Descriptor) -> Vec<String> {
    let annotation = |key: &str| entry.annotations.as_ref()?.get(key).cloned();
    let name =
        annotation(IMAGE_NAME).or_else(|| annotation(REF_NAME).filter(|name| !is_only_a_tag(name)));
    name.into_iter().collect()
}

/// `latest`, `1.2`, `v3`: a tag of a name that the archive does not have.
fn is_only_a_tag(name: &str) -> bool {
    let is_version = |text: &str| {
        text.bytes()
            .next()
            .is_some_and(|digit| digit.is_ascii_digit())
    };
    !name.contains(['/', ':', '@'])
        && (name == "latest" || is_version(name) || name.strip_prefix('v').is_some_and(is_version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_tag_is_not_taken_for_a_name() {
        for tag in ["latest", "1.27", "v2", "3"] {
            assert!(is_only_a_tag(tag), "{tag}");
        }
        for name in ["nginx", "demo:v1", "example.com/a/b", "vault"] {
            assert!(!is_only_a_tag(name), "{name}");
        }
    }
}
