//! The store against real archives, a real registry and one that lies.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use tempfile::TempDir;

mod archives;
mod fake;
mod lying;
mod mounts;
mod registry;
mod store;

use super::{
    Image, ImageConfig, ImageError, ImageStore, LoadOptions,
    pack::{Entry, ImageBuilder},
};

/// A store in a directory that goes away with it.
struct TestStore {
    store: ImageStore,
    directory: TempDir,
}

impl TestStore {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = ImageStore::open(directory.path()).unwrap();
        Self { store, directory }
    }

    /// Closes the store and opens it again, as a restarted process does.
    fn reopen(self) -> Self {
        let Self { store, directory } = self;
        drop(store);
        let store = ImageStore::open(directory.path()).unwrap();
        Self { store, directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn load(&self, archive: Vec<u8>) -> Vec<Arc<Image>> {
        self.store
            .load_bytes(Bytes::from(archive), LoadOptions::default())
            .await
            .unwrap()
    }

    async fn refuse(&self, archive: Vec<u8>) -> ImageError {
        let result = self
            .store
            .load_bytes(Bytes::from(archive), LoadOptions::default())
            .await;
        self.assert_nothing_unfinished();
        result.unwrap_err()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path().join(directory)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Threads that are told to stop clean up a moment later.
    fn assert_nothing_unfinished(&self) {
        let started = std::time::Instant::now();
        while !self.names("tmp").is_empty() {
            assert!(
                started.elapsed().as_secs() < 20,
                "left behind: {:?}",
                self.names("tmp")
            );
            std::thread::yield_now();
        }
    }
}

/// An image with a layer for each of `layers`, a list of files.
fn image(layers: &[&[(&str, &str)]]) -> ImageBuilder {
    let config = ImageConfig {
        cmd: vec!["/hello".into()],
        env: vec!["A=1".into()],
        ..ImageConfig::default()
    };
    layers
        .iter()
        .fold(ImageBuilder::new(config), |builder, files| {
            let entries = files
                .iter()
                .map(|(path, text)| Entry::file(path, 0o644, *text));
            builder.layer(entries.collect())
        })
}

fn packed(builder: &ImageBuilder, names: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.write(names, &mut bytes).unwrap();
    bytes
}
