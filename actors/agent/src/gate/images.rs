//! Images, as people ask for them.

use super::actors::answer;
use super::{Ends, stream};
use crate::image::in_use;
use crate::services::Services;
use kabuki_model::StatusError;
use kabuki_model::status::Reason;
use kabuki_protocol::NodeStream;
use kabuki_protocol::node::{FromNode, ImageInfo, Outcome, Progress, ToNode};
use kabuki_runtime::image::{
    Credential, Digest, Image, ImageError, Keyring, LoadOptions, Phase, Progress as Step,
    ProgressFn, Reference,
};
use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The images that containers use.
pub(crate) fn used(services: &Services) -> HashSet<Digest> {
    let states: Vec<_> = services
        .pods
        .all()
        .iter()
        .filter_map(|entry| entry.state())
        .collect();
    let containers = states
        .iter()
        .filter(|s| !s.finished)
        .flat_map(|s| &s.containers);
    let names = containers.flat_map(|c| [c.image_name.clone(), c.image_id.clone()]);
    in_use(services.images.store(), names.filter(|n| !n.is_empty()))
        .into_iter()
        .collect()
}

fn info(image: &Image, used: &HashSet<Digest>) -> ImageInfo {
    ImageInfo {
        id: image.id.to_string(),
        names: image
            .repo_tags
            .iter()
            .chain(&image.repo_digests)
            .cloned()
            .collect(),
        size_bytes: image.size_bytes,
        in_use: used.contains(&image.id),
    }
}

/// All images of the node.
pub(super) fn list(services: &Services) -> NodeStream {
    let used = used(services);
    let images = services.images.store().list();
    answer(FromNode::Images(
        images.iter().map(|i| info(i, &used)).collect(),
    ))
}

/// Progress as chunks. Those that the caller is too slow for are left out: the next says more.
fn progress(output: &mpsc::Sender<FromNode>) -> ProgressFn {
    let output = output.clone();
    Arc::new(move |step: Step| {
        let doing = match step.phase {
            Phase::Waiting => "Waiting",
            Phase::Downloading => "Downloading",
            Phase::Unpacking => "Unpacking",
            Phase::Complete => "Done",
            Phase::Present => "Present",
        };
        let part: String = step.layer.hex().chars().take(12).collect();
        let total_bytes = (step.total_bytes > 0).then_some(step.total_bytes);
        let chunk = Progress {
            part,
            doing: doing.to_string(),
            done_bytes: step.done_bytes,
            total_bytes,
        };
        let _ = output.try_send(FromNode::Progress(chunk));
    })
}

/// Pulls an image.
pub(super) fn pull(
    services: &Arc<Services>,
    reference: &str,
    credentials: Option<(String, String)>,
) -> Result<NodeStream, StatusError> {
    let reference = Reference::parse(reference).map_err(|error| refused(&error))?;
    let mut keyring = Keyring::default();
    if let Some((username, password)) = credentials {
        keyring.add(
            reference.registry(),
            Credential::Basic { username, password },
        );
    }
    let (caller, ends) = stream();
    let services = services.clone();
    tokio::spawn(async move {
        let progress = progress(&ends.output);
        let pulled = tokio::select! {
            pulled = services.images.pull(reference, keyring, progress) => pulled,
            () = ends.output.closed() => return,
        };
        let images = pulled.map(|image| vec![image]);
        let images = images.map_err(|error| StatusError::internal(error.to_string()));
        finish(&services, &ends, images).await;
    });
    Ok(caller)
}

/// Loads an archive that comes as input.
pub(super) fn load(services: &Arc<Services>, name: Option<String>) -> NodeStream {
    let (caller, ends) = stream();
    let services = services.clone();
    tokio::spawn(async move {
        let Ends { input, output } = ends;
        let source = Source {
            input,
            rest: Vec::new(),
            read: 0,
            complete: false,
        };
        let options = LoadOptions {
            name,
            progress: Some(progress(&output)),
        };
        let loaded = services.images.store().load_reader(source, options).await;
        let loaded = loaded.map_err(|error| refused(&error));
        let (_, input) = mpsc::channel(1);
        finish(&services, &Ends { input, output }, loaded).await;
    });
    caller
}

/// The input as a reader, for a thread that may block.
struct Source {
    input: mpsc::Receiver<ToNode>,
    rest: Vec<u8>,
    read: usize,
    complete: bool,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.rest.len() && !self.complete {
            match self.input.blocking_recv() {
                Some(ToNode::Input(bytes)) => (self.rest, self.read) = (bytes.to_vec(), 0),
                Some(ToNode::EndOfInput) => self.complete = true,
                Some(ToNode::Resize(_)) => {}
                None => {
                    let text = "the archive ended before it was complete";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                }
            }
        }
        let left = &self.rest[self.read..];
        let count = left.len().min(buffer.len());
        buffer[..count].copy_from_slice(&left[..count]);
        self.read += count;
        Ok(count)
    }
}

async fn finish(services: &Services, ends: &Ends, images: Result<Vec<Arc<Image>>, StatusError>) {
    let outcome = match images {
        Ok(images) => {
            let used = used(services);
            let infos = images.iter().map(|image| info(image, &used)).collect();
            ends.send(FromNode::Images(infos)).await;
            Ok(Outcome::Complete)
        }
        Err(error) => Err(error),
    };
    ends.send(FromNode::Done(outcome)).await;
}

/// Removes an image or one of its names.
pub(super) fn remove(services: &Arc<Services>, reference: String) -> NodeStream {
    let (caller, ends) = stream();
    let services = services.clone();
    tokio::spawn(async move {
        let used = used(&services);
        let removed = services.images.store().remove(&reference, &used).await;
        let outcome = removed
            .map(|_| Outcome::Complete)
            .map_err(|error| refused(&error));
        ends.send(FromNode::Done(outcome)).await;
    });
    caller
}

fn refused(error: &ImageError) -> StatusError {
    let reason = match error {
        ImageError::NotPresent(_) | ImageError::NotFound { .. } => Reason::NotFound,
        ImageError::InUse { .. } => Reason::Conflict,
        ImageError::InvalidReference { .. }
        | ImageError::Ambiguous { .. }
        | ImageError::BadArchive { .. }
        | ImageError::BadLayer { .. }
        | ImageError::BadManifest { .. } => Reason::BadRequest,
        _ => Reason::InternalError,
    };
    StatusError::new(reason, error.to_string())
}
