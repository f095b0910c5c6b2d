//! `image`: the images of a node.

mod progress;

use super::align::Table;
use super::failure::{Failure, Outcome, fail};
use super::interact::feed;
use super::printer::ReportArgs;
use super::session::Session;
use anyhow::Context;
use bytes::Bytes;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{CHUNK_BYTES, FromNode, ImageInfo, NodeRequest};
use progress::Bars;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Arguments of `image`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki image load web.tar\n  \
    kabuki image pull registry.example:5000/web:1\n  \
    kabuki image ls\n  \
    kabuki image rm web:1")]
pub struct ImageArgs {
    /// Which node [default: the one that you are connected to]
    #[arg(long, global = true, value_name = "NAME")]
    node: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Load an OCI or docker archive
    #[command(after_help = "Example:\n  kabuki image load web.tar --name web:1")]
    Load {
        /// The archive; `-` is standard input
        file: PathBuf,
        /// The name of an archive that names no image
        #[arg(long)]
        name: Option<String>,
    },
    /// Pull an image from its registry
    #[command(
        after_help = "Example:\n  kabuki image pull registry.example:5000/web:1 --username me"
    )]
    Pull {
        /// The image, as in a manifest
        reference: String,
        /// The user at the registry; the password is asked for, or read from $KABUKI_REGISTRY_PASSWORD
        #[arg(long)]
        username: Option<String>,
    },
    /// List the images
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  kabuki image ls\n  kabuki image ls -o json"
    )]
    Ls {
        /// Only identifiers
        #[arg(short, long)]
        quiet: bool,
        #[command(flatten)]
        output: ReportArgs,
    },
    /// Remove images
    #[command(
        visible_alias = "remove",
        after_help = "Example:\n  kabuki image rm web:1"
    )]
    Rm {
        /// Names or identifiers
        #[arg(required = true)]
        references: Vec<String>,
    },
}

/// Runs `image`.
pub async fn run(session: &Session, args: ImageArgs) -> Outcome {
    let node = args.node.as_deref();
    if let Some(node) = node {
        session.check_node(node).await?;
    }
    match args.what {
        What::Ls { quiet, output } => {
            output.format()?;
            let stream = session.stream(node, NodeRequest::ImageList).await?;
            let images = collect(session, stream).await?;
            if quiet {
                return session.out.text(&ids(&images));
            }
            let items = images.iter().map(value).collect();
            output.print(&session.out, "ImageList", items, || table(images))
        }
        What::Pull {
            reference,
            username,
        } => {
            let credentials = username.map(|user| Ok::<_, Failure>((user, password()?)));
            let credentials = credentials.transpose()?;
            let request = NodeRequest::ImagePull {
                reference: reference.clone(),
                credentials,
            };
            let stream = session.stream(node, request).await?;
            collect(session, stream).await?;
            session.out.line(format!("pulled {reference}"))
        }
        What::Load { file, name } => {
            // What cannot be read is found before anything is asked of the node.
            let chunks = read_archive(&file)?;
            let stream = session
                .stream(node, NodeRequest::ImageLoad { name })
                .await?;
            tokio::spawn(feed(chunks, stream.input.clone()));
            for image in collect(session, stream).await? {
                let shown = image.names.first().unwrap_or(&image.id);
                session.out.line(format!("loaded {shown}"))?;
            }
            Ok(())
        }
        What::Rm { references } => {
            let mut failures = Vec::new();
            for reference in references {
                let request = NodeRequest::ImageRemove {
                    reference: reference.clone(),
                };
                let stream = session.stream(node, request).await?;
                match collect(session, stream).await {
                    Ok(_) => session.out.line(format!("removed {reference}"))?,
                    Err(failure @ Failure::Server(_)) => failures.push(failure),
                    Err(failure) => return Err(failure),
                }
            }
            Failure::gather(failures)
        }
    }
}

/// Shows progress until the stream ends, and gives back the images that it told of.
async fn collect(session: &Session, mut stream: NodeStream) -> Outcome<Vec<ImageInfo>> {
    let (mut images, mut bars) = (Vec::new(), Bars::new(&session.out));
    while let Some(chunk) = stream.output.recv().await {
        match chunk {
            FromNode::Progress(progress) => bars.show(&progress),
            FromNode::Images(found) => images = found,
            FromNode::Done(end) => {
                bars.finish();
                end?;
                return Ok(images);
            }
            _ => {}
        }
    }
    bars.finish();
    fail!("the connection to the node was lost")
}

/// The password: from the environment, else typed unseen.
fn password() -> Outcome<String> {
    if let Ok(password) = std::env::var("KABUKI_REGISTRY_PASSWORD") {
        return Ok(password);
    }
    if !super::terminal::is_interactive() {
        fail!("a password is needed: give it as $KABUKI_REGISTRY_PASSWORD");
    }
    Ok(super::terminal::read_unseen("Password: ")?)
}

fn read_archive(path: &Path) -> Outcome<mpsc::Receiver<Bytes>> {
    if path == Path::new("-") {
        return Ok(super::interact::read_stdin());
    }
    let mut file =
        std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    if path.is_dir() {
        fail!(
            "{} is a folder: give the archive as a file, for example made by `tar c`",
            path.display()
        );
    }
    let (chunks, received) = mpsc::channel(4);
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        // An archive that is cut short is found by the node, which knows its checksums.
        while let Ok(count @ 1..) = file.read(&mut buffer) {
            if chunks
                .blocking_send(Bytes::copy_from_slice(&buffer[..count]))
                .is_err()
            {
                return;
            }
        }
    });
    Ok(received)
}

fn ids(images: &[ImageInfo]) -> String {
    images.iter().map(|i| format!("{}\n", i.id)).collect()
}

fn value(image: &ImageInfo) -> Value {
    json!({
        "id": image.id, "names": image.names, "sizeBytes": image.size_bytes,
        "inUse": image.in_use,
    })
}

fn table(mut images: Vec<ImageInfo>) -> String {
    images.sort_by(|a, b| a.names.cmp(&b.names));
    let mut rows = vec![
        ["NAME", "ID", "SIZE", "IN USE"]
            .map(str::to_string)
            .to_vec(),
    ];
    for image in images {
        let id: String = image
            .id
            .trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect();
        let tags: Vec<&String> = image.names.iter().filter(|n| !n.contains('@')).collect();
        let used = if image.in_use { "yes" } else { "no" };
        let size = indicatif::HumanBytes(image.size_bytes).to_string();
        let names = match (tags.is_empty(), image.names.first()) {
            (false, _) => tags.into_iter().cloned().collect(),
            (true, Some(name)) => vec![name.clone()],
            (true, None) => vec!["<none>".to_string()],
        };
        for name in names {
            rows.push(vec![name, id.clone(), size.clone(), used.to_string()]);
        }
    }
    Table::default().rows(&rows)
}
