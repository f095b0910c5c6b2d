//! Writing image archives: an OCI image layout in one tar file.
//!
//! For images that are part of the program and for tests. Pure over [`std::io::Write`]: the
//! same input gives the same bytes, because all times are 0 and all order is the caller's.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tar::{EntryType, Header};

use super::{
    config::{ConfigFile, ImageConfig, RootFs},
    digest::Digest,
    manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, Platform},
};

/// One entry of a layer. Paths are relative to the image's root.
#[derive(Debug, Clone)]
pub struct Entry {
    pub path: String,
    pub content: Content,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Debug, Clone)]
pub enum Content {
    File(Vec<u8>),
    Directory,
    Symlink(String),
}

/// An image being put together, layer by layer.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    config: ImageConfig,
    platform: Platform,
    layers: Vec<Vec<Entry>>,
}

/// A layer's compressed bytes and both of its digests.
struct PackedLayer {
    blob: Vec<u8>,
    diff_id: Digest,
}

impl Entry {
    pub fn file(path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self::new(path, mode, Content::File(content.into()))
    }

    pub fn directory(path: &str, mode: u32) -> Self {
        Self::new(path, mode, Content::Directory)
    }

    pub fn symlink(path: &str, target: &str) -> Self {
        Self::new(path, 0o777, Content::Symlink(target.to_owned()))
    }

    /// The same entry with another owner than root.
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    fn new(path: &str, mode: u32, content: Content) -> Self {
        Self {
            path: path.trim_start_matches('/').to_owned(),
            content,
            mode,
            uid: 0,
            gid: 0,
        }
    }
}

impl ImageBuilder {
    /// An image for this machine's platform without layers.
    pub fn new(config: ImageConfig) -> Self {
        Self {
            config,
            platform: Platform::host(),
            layers: Vec::new(),
        }
    }

    /// Names another architecture, in OCI's words (`amd64`, `arm64`).
    pub fn architecture(mut self, architecture: &str) -> Self {
        self.platform.architecture = architecture.to_owned();
        self
    }

    /// Adds a layer of `entries`, in this order.
    pub fn layer(mut self, entries: Vec<Entry>) -> Self {
        self.layers.push(entries);
        self
    }

    /// Adds a layer with everything in `directory`, sorted by path.
    ///
    /// # Errors
    /// If something cannot be read, or is neither a file, a directory nor a symbolic link.
    pub fn tree(self, directory: &Path) -> io::Result<Self> {
        let mut entries = Vec::new();
        add_tree(directory, "", &mut entries)?;
        Ok(self.layer(entries))
    }

    /// Writes the archive. `names` are full references (`example.com/demo:v1`).
    pub fn write(&self, names: &[&str], out: &mut impl Write) -> io::Result<()> {
        let layers: Vec<PackedLayer> = self
            .layers
            .iter()
            .map(|entries| pack_layer(entries))
            .collect::<io::Result<_>>()?;
        let config = serde_json::to_vec(&ConfigFile {
            created: None,
            architecture: self.platform.architecture.clone(),
            os: self.platform.os.clone(),
            config: self.config.clone(),
            rootfs: RootFs {
                kind: "layers".into(),
                diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
            },
        })?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config),
            "layers": layers
                .iter()
                .map(|layer| descriptor(OCI_LAYER_GZIP, &layer.blob))
                .collect::<Vec<_>>(),
        }))?;
        let index = self.index(names, &manifest)?;

        let mut archive = tar::Builder::new(out);
        let mut written = BTreeMap::new();
        append(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        append(&mut archive, "index.json", &index)?;
        for blob in [&manifest, &config]
            .into_iter()
            .chain(layers.iter().map(|l| &l.blob))
        {
            let digest = Digest::of(blob);
            if written.insert(digest, ()).is_none() {
                append(
                    &mut archive,
                    &format!("blobs/sha256/{}", digest.hex()),
                    blob,
                )?;
            }
        }
        archive.finish()
    }

    fn index(&self, names: &[&str], manifest: &[u8]) -> io::Result<Vec<u8>> {
        let mut entries = Vec::new();
        let mut entry = descriptor(OCI_MANIFEST, manifest);
        entry["platform"] = serde_json::to_value(&self.platform)?;
        for name in names {
            entry["annotations"] = json!({
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name,
            });
            entries.push(entry.clone());
        }
        if names.is_empty() {
            entries.push(entry);
        }
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        Ok(serde_json::to_vec(&index)?)
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(content), "size": content.len()})
}

fn append(archive: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, path, bytes)
}

fn pack_layer(entries: &[Entry]) -> io::Result<PackedLayer> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mtime(0);
        header.set_size(0);
        match &entry.content {
            Content::File(bytes) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, &entry.path, bytes.as_slice())?;
            }
            Content::Directory => {
                header.set_entry_type(EntryType::Directory);
                archive.append_data(&mut header, &entry.path, io::empty())?;
            }
            Content::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                archive.append_link(&mut header, &entry.path, target)?;
            }
        }
    }
    let plain = archive.into_inner()?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&plain)?;
    Ok(PackedLayer {
        blob: encoder.finish()?,
        diff_id: Digest::of(&plain),
    })
}

fn add_tree(directory: &Path, prefix: &str, entries: &mut Vec<Entry>) -> io::Result<()> {
    let mut children = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    children.sort_by_key(|child| child.file_name());
    for child in children {
        let name = child.file_name();
        let invalid = |what: &str| {
            let text = format!("{}: {what}", child.path().display());
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        let name = std::str::from_utf8(name.as_bytes()).map_err(|_| invalid("not UTF-8"))?;
        let path = format!("{prefix}{name}");
        let found = child.metadata()?;
        let content = if found.is_dir() {
            Content::Directory
        } else if found.is_symlink() {
            let target = fs::read_link(child.path())?;
            let target = target
                .to_str()
                .ok_or_else(|| invalid("link target not UTF-8"))?;
            Content::Symlink(target.to_owned())
        } else if found.is_file() {
            Content::File(fs::read(child.path())?)
        } else {
            return Err(invalid("neither file, directory nor link"));
        };
        entries.push(
            Entry::new(&path, found.mode() & 0o7777, content).owned_by(found.uid(), found.gid()),
        );
        if found.is_dir() {
            add_tree(&child.path(), &format!("{path}/"), entries)?;
        }
    }
    Ok(())
}
