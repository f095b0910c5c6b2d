//! `backup`: the whole state of the cluster in one file.

use super::failure::{Failure, Outcome, fail};
use super::session::Session;
use super::terminal::is_interactive;
use anyhow::Context;
use bytes::Bytes;
use indicatif::HumanBytes;
use kabuki_model::StatusError;
use kabuki_model::view::View as _;
use kabuki_store::read_snapshot;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Receiver;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The file holds every object, the Secrets and the CA's key among them: keep it like a \
    password. It is one consistent state; images, logs and volumes are not in it. `kabuki restore` \
    makes a cluster of it.\n\n\
    Examples:\n  \
    kabuki backup /var/backups/kabuki\n  \
    kabuki backup kabuki-$(date +%F)"
)]
pub struct BackupArgs {
    /// The file; one that is there is replaced, once the new one is whole
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs `backup`.
pub async fn run(session: &Session, args: BackupArgs) -> Outcome {
    let file = &args.file;
    if file.is_dir() {
        fail!("{} is a folder: name a file in it", file.display());
    }
    let partial = partial(file);
    let parts = session.client().await?.backup().await?;
    let written = write(session, &partial, parts).await;
    let kept = written.and_then(|bytes| Ok((bytes, keep(&partial, file)?)));
    let (bytes, what) = kept.inspect_err(|_| drop(std::fs::remove_file(&partial)))?;
    session.out.line(format!(
        "wrote {} ({what}, {})",
        file.display(),
        HumanBytes(bytes)
    ))
}

fn partial(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(".partial");
    name.into()
}

/// Writes the parts as they come; only their owner may read them.
async fn write(
    session: &Session,
    path: &Path,
    mut parts: Receiver<Result<Bytes, StatusError>>,
) -> Outcome<u64> {
    let _ = std::fs::remove_file(path);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let cannot = || format!("cannot write {}", path.display());
    let mut file = options.open(path).with_context(cannot)?;
    let (mut bytes, mut said) = (0, 0);
    while let Some(part) = parts.recv().await {
        let part = part?;
        file.write_all(&part).with_context(cannot)?;
        bytes += part.len() as u64;
        if is_interactive() && bytes - said >= 16 << 20 {
            said = bytes;
            session.out.note(format!("{} ...", HumanBytes(bytes)));
        }
    }
    file.sync_all().with_context(cannot)?;
    Ok(bytes)
}

/// Reads the file back, as a restore would, and only then gives it its name.
fn keep(partial: &Path, file: &Path) -> Outcome<String> {
    let what = check(partial)?;
    let cannot = || format!("cannot write {}", file.display());
    std::fs::rename(partial, file).with_context(cannot)?;
    let folder = match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let folder = File::open(folder).with_context(cannot)?;
    folder.sync_all().with_context(cannot)?;
    Ok(what)
}

/// What a backup holds; an error when it is not whole.
pub fn check(path: &Path) -> Outcome<String> {
    let input = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let restored = read_snapshot(BufReader::new(input)).map_err(|error| {
        Failure::new(format!(
            "the backup {} is not whole: {error}",
            path.display()
        ))
    })?;
    let snapshot = restored.snapshot;
    Ok(format!(
        "{} objects at revision {}",
        snapshot.len(),
        snapshot.revision()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake::session;
    use kabuki_store::Snapshot;
    use std::os::unix::fs::PermissionsExt;
    use tokio::sync::mpsc;

    fn encoded() -> Vec<u8> {
        let pieces = Snapshot::empty().encode(&[]);
        pieces.flat_map(|p| p.expect("encodes")).collect()
    }

    async fn written(
        dir: &Path,
        parts: Vec<Result<Bytes, StatusError>>,
    ) -> (PathBuf, Outcome<String>) {
        let (session, _) = session(&[]);
        let (sender, receiver) = mpsc::channel(8);
        for part in parts {
            sender.send(part).await.expect("room");
        }
        drop(sender);
        let file = dir.join("b");
        let partial = partial(&file);
        let outcome = match write(&session, &partial, receiver).await {
            Ok(_) => keep(&partial, &file),
            Err(failure) => Err(failure),
        };
        (file, outcome)
    }

    #[tokio::test]
    async fn a_backup_is_private_and_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let bytes = encoded();
        let (head, tail) = bytes.split_at(3);
        let parts = [head, tail].map(|p| Ok(Bytes::copy_from_slice(p)));
        let (file, outcome) = written(dir.path(), parts.into()).await;
        assert_eq!(outcome, Ok("0 objects at revision 0".to_string()));
        let mode = std::fs::metadata(&file).expect("is there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&file).expect("reads"), bytes);
    }

    #[tokio::test]
    async fn a_backup_that_is_not_whole_replaces_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("b"), "older").expect("writes");
        let mut bytes = encoded();
        bytes.pop();
        let cut = vec![Ok(Bytes::from(bytes.clone()))];
        let broken = vec![
            Ok(Bytes::from(bytes)),
            Err(StatusError::unavailable("the server ends")),
        ];
        for (parts, expected) in [(cut, "is not whole"), (broken, "the server ends")] {
            let (file, outcome) = written(dir.path(), parts).await;
            let why = outcome.expect_err("refused").text();
            assert!(why.contains(expected), "{why}");
            assert_eq!(std::fs::read(file).expect("reads"), b"older");
        }
    }
}
