//! `cp`: files to and from containers, through the container's own `tar`.

mod pack;

use super::failure::{Failure, Outcome, fail};
use super::interact::feed;
use super::pods::{self, PodHandle};
use super::session::Session;
use kabuki_protocol::node::{ExecRequest, FromNode, NodeRequest, Outcome as End};
use pack::Unpacker;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Arguments of `cp`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # Into a container, out of one\n  \
    kabuki cp notes.txt web-1:/tmp/notes.txt\n  \
    kabuki cp shop/web-1:/var/log ./logs -c web")]
pub struct CopyArgs {
    /// What: PATH, or [NAMESPACE/]POD:PATH
    source: String,
    /// Where to: PATH, or [NAMESPACE/]POD:PATH
    target: String,
    /// Which container
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Leave out owners and modes of what is copied out of a container
    #[arg(long)]
    no_preserve: bool,
}

/// One end of a copy.
#[derive(Debug, PartialEq)]
enum Place {
    Here(PathBuf),
    There {
        namespace: Option<String>,
        pod: String,
        path: String,
    },
}

/// Runs `cp`.
pub async fn run(session: &Session, args: CopyArgs) -> Outcome {
    match (Place::parse(&args.source)?, Place::parse(&args.target)?) {
        (
            Place::Here(from),
            Place::There {
                namespace,
                pod,
                path,
            },
        ) => {
            let (pod, container) = find(session, &args, namespace, &pod).await?;
            upload(session, &pod, container, &from, &path).await
        }
        (
            Place::There {
                namespace,
                pod,
                path,
            },
            Place::Here(to),
        ) => {
            let (pod, container) = find(session, &args, namespace, &pod).await?;
            download(session, &pod, container, &path, &to, !args.no_preserve).await
        }
        (Place::Here(_), Place::Here(_)) => {
            fail!("one of src or dest must be a remote file specification: POD:PATH")
        }
        (Place::There { .. }, Place::There { .. }) => {
            fail!("one of src or dest must be a local file specification")
        }
    }
}

impl Place {
    fn parse(text: &str) -> Outcome<Self> {
        let Some((pod, path)) = text.split_once(':') else {
            return Ok(Self::Here(text.into()));
        };
        // `./a:b` is a file here.
        if pod.starts_with(['.', '/']) {
            return Ok(Self::Here(text.into()));
        }
        if path.is_empty() {
            fail!("filepath can not be empty: {text:?}");
        }
        let (namespace, pod) = match pod.split_once('/') {
            Some((namespace, pod)) => (Some(namespace.to_string()), pod),
            None => (None, pod),
        };
        if pod.is_empty() || pod.contains('/') {
            fail!("{text:?} is not [NAMESPACE/]POD:PATH");
        }
        Ok(Self::There {
            namespace,
            pod: pod.to_string(),
            path: path.to_string(),
        })
    }
}

async fn find(
    session: &Session,
    args: &CopyArgs,
    namespace: Option<String>,
    pod: &str,
) -> Outcome<(PodHandle, String)> {
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => session.namespace()?,
    };
    let pod = pods::named_in(session, &namespace, pod).await?;
    let container = pod.container(session, args.container.as_deref())?;
    Ok((pod, container))
}

fn request(pod: &PodHandle, container: String, command: Vec<String>, stdin: bool) -> NodeRequest {
    NodeRequest::Exec(ExecRequest {
        pod: pod.pod.clone(),
        container,
        command,
        stdin,
        tty: false,
        size: None,
    })
}

async fn upload(
    session: &Session,
    pod: &PodHandle,
    container: String,
    from: &Path,
    to: &str,
) -> Outcome {
    if !from.exists() {
        fail!("{} doesn't exist in local filesystem", from.display());
    }
    let is_folder = to.ends_with('/');
    let target = Path::new(to.trim_end_matches('/'));
    let own = from
        .file_name()
        .map_or_else(|| "copied".into(), |n| n.to_string_lossy().into_owned());
    let (folder, name) = match is_folder {
        true => (target.to_path_buf(), own),
        false => (
            target.parent().map(Path::to_path_buf).unwrap_or_default(),
            target
                .file_name()
                .map_or(own, |n| n.to_string_lossy().into_owned()),
        ),
    };
    let folder = match folder.as_os_str().is_empty() {
        true if to.starts_with('/') => "/".to_string(),
        true => ".".to_string(),
        false => folder.display().to_string(),
    };
    let command = ["tar", "-xmf", "-", "-C", &folder]
        .map(str::to_string)
        .to_vec();
    let node = pod.node()?;
    let mut stream = session
        .stream(Some(node), request(pod, container, command, true))
        .await?;
    let (chunks, packed) = pack::pack(from.to_path_buf(), name);
    tokio::spawn(feed(chunks, stream.input.clone()));
    let ended = drain(session, &mut stream.output, |_| Ok(())).await?;
    packed
        .await
        .map_err(|_| Failure::new("packing was interrupted"))??;
    check(pod, ended)
}

async fn download(
    session: &Session,
    pod: &PodHandle,
    container: String,
    from: &str,
    to: &Path,
    preserve: bool,
) -> Outcome {
    let path = Path::new(from);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let folder = path
        .parent()
        .map(|p| p.display().to_string())
        .unwrap_or_default();
    let folder = if folder.is_empty() {
        ".".to_string()
    } else {
        folder
    };
    let wanted = name.unwrap_or_else(|| ".".to_string());
    let command = ["tar", "cf", "-", "-C", &folder, &wanted]
        .map(str::to_string)
        .to_vec();
    let node = pod.node()?;
    let mut stream = session
        .stream(Some(node), request(pod, container, command, false))
        .await?;
    let mut unpacker = Unpacker::begin(wanted, to.to_path_buf(), preserve);
    let ended = drain(session, &mut stream.output, |bytes| {
        unpacker.send(bytes);
        Ok(())
    })
    .await?;
    let unpacked = unpacker.finish().await;
    check(pod, ended)?;
    unpacked
}

/// How the container's `tar` ended, and what it said.
struct Ended {
    end: End,
    said: String,
}

async fn drain(
    session: &Session,
    output: &mut mpsc::Receiver<FromNode>,
    mut take: impl FnMut(bytes::Bytes) -> Outcome,
) -> Outcome<Ended> {
    let mut said = Vec::new();
    loop {
        match output.recv().await {
            Some(FromNode::Output(bytes)) => take(bytes)?,
            Some(FromNode::Error(bytes)) => {
                session.out.error_bytes(&bytes);
                said.extend_from_slice(&bytes);
            }
            Some(FromNode::Done(Ok(end))) => {
                return Ok(Ended {
                    end,
                    said: String::from_utf8_lossy(&said).into_owned(),
                });
            }
            // A command that is not there is found when it is started.
            Some(FromNode::Done(Err(error))) if is_missing(&error.message) => {
                return Ok(Ended {
                    end: End::Exited(127),
                    said: error.message,
                });
            }
            Some(FromNode::Done(Err(error))) => return Err(error.into()),
            Some(_) => {}
            None => fail!("the connection to the node was lost"),
        }
    }
}

fn is_missing(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("not found") || message.contains("no such file")
}

fn check(pod: &PodHandle, ended: Ended) -> Outcome {
    match ended.end {
        End::Complete | End::Exited(0) => Ok(()),
        End::Exited(126 | 127) => fail!(
            "there is no `tar` in the container of pod {}, which cp needs ({}); copy through \
             `kabuki exec` with what the image has, for example `kabuki exec {} -- cat FILE`",
            pod.pod.name,
            ended.said.trim(),
            pod.pod.name
        ),
        End::Exited(code) => fail!("`tar` in the container failed with exit code {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_here_or_in_pods() {
        let there = |namespace: Option<&str>, pod: &str, path: &str| Place::There {
            namespace: namespace.map(str::to_string),
            pod: pod.to_string(),
            path: path.to_string(),
        };
        assert_eq!(Place::parse("web:/a"), Ok(there(None, "web", "/a")));
        assert_eq!(
            Place::parse("shop/web:a"),
            Ok(there(Some("shop"), "web", "a"))
        );
        assert_eq!(Place::parse("./a:b"), Ok(Place::Here("./a:b".into())));
        assert_eq!(Place::parse("a"), Ok(Place::Here("a".into())));
        assert!(Place::parse("web:").is_err());
        assert!(Place::parse("a/b/c:/x").is_err());
    }
}
