//! The demonstration's image, which every node has from the start.

use bytes::Bytes;
use kabuki_runtime::image::pack::{Entry, ImageBuilder};
use kabuki_runtime::image::{ImageConfig, ImageStore, LoadOptions};

/// Its name in manifests.
pub const NAME: &str = "kabuki.local/demo:v1";

/// The static web server that the build script made, compressed.
const WEB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo-web.zst"));

/// Loads the image, unless the node has it.
pub async fn ensure(images: &ImageStore) -> anyhow::Result<()> {
    if images.resolve(NAME)?.is_none() {
        let archive = Bytes::from(tokio::task::spawn_blocking(pack).await??);
        images.load_bytes(archive, LoadOptions::default()).await?;
    }
    Ok(())
}

/// The image as an OCI archive.
fn pack() -> anyhow::Result<Vec<u8>> {
    let config = ImageConfig {
        entrypoint: vec!["/web".to_string()],
        user: "65534".to_string(),
        exposed_ports: vec!["8080/tcp".to_string()],
        ..ImageConfig::default()
    };
    let mut archive = Vec::new();
    let layer = vec![Entry::file("web", 0o755, zstd::decode_all(WEB)?)];
    ImageBuilder::new(config)
        .layer(layer)
        .write(&[NAME], &mut archive)?;
    Ok(archive)
}
