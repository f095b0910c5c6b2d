//! Manifests and indexes: which layers an image has, and which image fits this machine.
//!
//! OCI's and Docker's (schema 2) documents differ only in their media types. Bounds are
//! checked before anything is believed: a manifest comes from a stranger.

use serde::{Deserialize, Serialize};

use super::{
    digest::Digest,
    error::{ImageError, Result},
};

/// Larger manifests and configurations are refused, as containerd does.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 8 << 20;
/// Overlayfs stacks at most 500; Docker builds at most 127.
const MAX_LAYERS: usize = 127;
/// An index that points to an index may do so only this often.
pub(crate) const MAX_INDEX_DEPTH: usize = 4;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// What a manifest or index may be, as an `Accept` header's values.
pub(crate) const ACCEPTED: [&str; 4] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

/// A pointer to content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Either kind of document.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Document {
    /// Parses `bytes`; `what` names the document in errors.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let bad = |reason: String| ImageError::BadManifest {
            what: what.to_owned(),
            reason,
        };
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(bad(format!("it is larger than {MAX_DOCUMENT_BYTES} bytes")));
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if raw.schema_version != 2 {
            let version = raw.schema_version;
            return Err(bad(format!(
                "schema version {version} is not supported, only 2"
            )));
        }
        let media_type = raw.media_type.as_deref().unwrap_or_default();
        if !media_type.is_empty() && !ACCEPTED.contains(&media_type) {
            return Err(bad(format!("media type \"{media_type}\" is not supported")));
        }
        // A document that is both could be read differently by those who check it.
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => Ok(Self::Index(manifests)),
            (None, Some(config), layers) => {
                let layers = layers.unwrap_or_default();
                check_manifest(&config, &layers).map_err(bad)?;
                Ok(Self::Manifest(Manifest { config, layers }))
            }
            _ => Err(bad(
                "it is neither an image manifest nor an image index".into()
            )),
        }
    }
}

fn check_manifest(config: &Descriptor, layers: &[Descriptor]) -> Result<(), String> {
    if !matches!(config.media_type.as_str(), "" | OCI_CONFIG | DOCKER_CONFIG) {
        let kind = &config.media_type;
        return Err(format!("it is not a container image but \"{kind}\""));
    }
    if config.size > MAX_DOCUMENT_BYTES {
        return Err(format!(
            "its configuration is larger than {MAX_DOCUMENT_BYTES} bytes"
        ));
    }
    if layers.len() > MAX_LAYERS {
        return Err(format!(
            "it has {} layers, more than {MAX_LAYERS}",
            layers.len()
        ));
    }
    for layer in layers {
        check_layer(&layer.media_type)?;
    }
    Ok(())
}

/// The compression is told by the content itself, so only the kind matters here.
fn check_layer(media_type: &str) -> Result<(), String> {
    if media_type.contains("encrypted") {
        return Err("it has an encrypted layer, which is not supported".into());
    }
    let tar = media_type.is_empty()
        || media_type.contains(".layer.v1.tar")
        || media_type.contains(".layer.nondistributable.v1.tar")
        || media_type.contains(".rootfs.diff.tar")
        || media_type.contains(".rootfs.foreign.diff.tar");
    tar.then_some(())
        .ok_or_else(|| format!("layer media type \"{media_type}\" is not supported"))
}

impl Platform {
    /// The platform of this machine in OCI's words.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "powerpc64" => ("ppc64le", ""),
            other => (other, ""),
        };
        Self {
            os: "linux".into(),
            architecture: architecture.into(),
            variant: variant.into(),
        }
    }

    /// How well an image for `self` runs on `host`; None if not at all, larger is better.
    fn fitness(&self, host: &Platform) -> Option<u32> {
        if self.os != host.os || self.architecture != host.architecture {
            return None;
        }
        let level = |variant: &str| variant.trim_start_matches('v').parse::<u32>().ok();
        match (self.variant.as_str(), host.variant.as_str()) {
            (image, host) if image == host => Some(100),
            // arm64 is v8 when nothing else is said; amd64 needs its first level only.
            ("", _) => Some(90),
            ("v8", "") if self.architecture == "arm64" => Some(90),
            ("v1", "") if self.architecture == "amd64" => Some(90),
            (image, host) => level(image)
                .zip(level(host))
                .and_then(|(i, h)| (i < h).then_some(i)),
        }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

/// The entry of an index that suits `host` best, the first among equals. An entry that names
/// no platform is taken only if it is alone.
pub(crate) fn select<'a>(
    entries: &'a [Descriptor],
    host: &Platform,
    reference: &str,
) -> Result<&'a Descriptor> {
    let mut best: Option<(u32, &Descriptor)> = None;
    for entry in entries {
        let fitness = entry
            .platform
            .as_ref()
            .and_then(|platform| platform.fitness(host));
        if let Some(fitness) = fitness
            && best.is_none_or(|(found, _)| fitness > found)
        {
            best = Some((fitness, entry));
        }
    }
    match (best, entries) {
        (Some((_, entry)), _) => Ok(entry),
        (None, [only]) if only.platform.is_none() => Ok(only),
        _ => Err(ImageError::NoPlatform {
            reference: reference.to_owned(),
            wanted: host.to_string(),
            offered: offered(entries),
        }),
    }
}

fn offered(entries: &[Descriptor]) -> String {
    let names: Vec<String> = entries
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        // Build attestations are listed as entries of no platform.
        .filter(|platform| platform.os != "unknown")
        .take(20)
        .map(Platform::to_string)
        .collect();
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(os: &str, architecture: &str, variant: &str) -> Descriptor {
        Descriptor {
            media_type: OCI_MANIFEST.into(),
            digest: Digest::of(format!("{os}{architecture}{variant}").as_bytes()),
            size: 1,
            platform: Some(Platform {
                os: os.into(),
                architecture: architecture.into(),
                variant: variant.into(),
            }),
            annotations: None,
        }
    }

    fn platform(architecture: &str, variant: &str) -> Platform {
        entry("linux", architecture, variant).platform.unwrap()
    }

    #[test]
    fn the_best_fitting_platform_is_selected() {
        let entries = [
            entry("windows", "amd64", ""),
            entry("linux", "arm", "v6"),
            entry("linux", "arm", "v7"),
            entry("linux", "amd64", ""),
            entry("linux", "arm64", ""),
            entry("unknown", "unknown", ""),
        ];
        let pick = |host: Platform| select(&entries, &host, "app").map(|entry| entry.digest);
        assert_eq!(pick(platform("amd64", "")).unwrap(), entries[3].digest);
        assert_eq!(pick(platform("arm", "v7")).unwrap(), entries[2].digest);
        assert_eq!(pick(platform("arm", "v6")).unwrap(), entries[1].digest);
        assert_eq!(pick(platform("arm64", "v8")).unwrap(), entries[4].digest);
        let text = pick(platform("s390x", "")).unwrap_err().to_string();
        assert!(
            text.contains("linux/s390x") && text.contains("linux/arm/v7"),
            "{text}"
        );
        assert!(!text.contains("unknown"), "{text}");
    }

    #[test]
    fn what_is_not_an_image_is_refused_by_name() {
        let digest = Digest::of(b"");
        let descriptor =
            |kind: &str| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#);
        let with = |config: &str, layer: &str| {
            format!(
                r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
                descriptor(config),
                descriptor(layer)
            )
        };
        let cases = [
            (
                with("application/vnd.example.chart", OCI_LAYER_GZIP),
                "not a container image",
            ),
            (with(OCI_CONFIG, "application/zip"), "application/zip"),
            (
                with(OCI_CONFIG, &format!("{OCI_LAYER_GZIP}+encrypted")),
                "encrypted",
            ),
            (r#"{"schemaVersion":1}"#.into(), "schema version 1"),
            (r#"{"schemaVersion":2}"#.into(), "neither"),
            ("<html>".into(), "expected value"),
        ];
        for (json, part) in cases {
            let text = Document::parse(json.as_bytes(), "it")
                .unwrap_err()
                .to_string();
            assert!(text.contains(part), "{text}");
        }
        assert!(Document::parse(with(OCI_CONFIG, OCI_LAYER_GZIP).as_bytes(), "it").is_ok());
    }
}
