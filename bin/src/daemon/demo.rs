//! The demonstration's image, which every node has from the start.

use anyhow::{Context, bail};
use bytes::Bytes;
use kabuki_protocol::NodeHandle;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, NodeRequest, ToNode};
use kabuki_runtime::image::ImageConfig;
use kabuki_runtime::image::pack::{Entry, ImageBuilder};

/// Its name in manifests.
pub const NAME: &str = "kabuki.local/demo:v1";

/// The static web server that the build script made.
const WEB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo-web"));

/// Loads the image, unless the node has it.
pub async fn ensure(node: &NodeHandle) -> anyhow::Result<()> {
    let mut listed = node.open(NodeRequest::ImageList).await?;
    while let Some(chunk) = listed.output.recv().await {
        if let FromNode::Images(images) = chunk
            && images.iter().any(|i| i.names.iter().any(|n| n == NAME))
        {
            return Ok(());
        }
    }
    let archive = Bytes::from(tokio::task::spawn_blocking(pack).await??);
    let mut load = node.open(NodeRequest::ImageLoad { name: None }).await?;
    let mut rest = archive;
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
        load.input.send(ToNode::Input(chunk)).await.context("the node ended the load")?;
    }
    load.input.send(ToNode::EndOfInput).await.context("the node ended the load")?;
    while let Some(chunk) = load.output.recv().await {
        match chunk {
            FromNode::Done(Ok(_)) => return Ok(()),
            FromNode::Done(Err(error)) => return Err(error.into()),
            _ => {}
        }
    }
    bail!("the node ended the load")
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
    let layer = vec![Entry::file("web", 0o755, WEB)];
    ImageBuilder::new(config).layer(layer).write(&[NAME], &mut archive)?;
    Ok(archive)
}
