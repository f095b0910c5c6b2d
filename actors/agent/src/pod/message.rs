//! What a container left to say when it ended (Kubernetes, "Determine the Reason for Pod
//! Failure").

use super::{container, log};
use crate::services::{PodEntry, Services};
use kabuki_lifecycle::{Instance, containers};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A message is cut after so many bytes.
const MESSAGE_MAX: u64 = 4096;
/// From a log, so many bytes and lines are taken.
const LOG_MAX_BYTES: u64 = 2048;
const LOG_MAX_LINES: usize = 80;

/// The message of an instance that ended with `code`.
pub(super) async fn read(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    instance: &Instance,
    code: i32,
) -> Option<String> {
    let pod = entry.pod();
    let (_, container) = containers::container(&pod, &instance.container)?;
    let policy = container.termination_message_policy.as_deref();
    let from_log = code != 0 && policy == Some("FallbackToLogsOnError");
    let file = container::message_file(services, entry, instance);
    let log = from_log.then(|| log::log_file(services, entry, instance));
    let read = tokio::task::spawn_blocking(move || read_files(&file, log));
    read.await.ok().flatten()
}

fn read_files(file: &Path, log: Option<PathBuf>) -> Option<String> {
    let own = head(file, MESSAGE_MAX).unwrap_or_default();
    if !own.is_empty() {
        return Some(own);
    }
    let lines = tail(&log?).ok()?;
    (!lines.is_empty()).then_some(lines)
}

fn head(path: &Path, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a log, without what the log format puts before each.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    // What precedes each line takes some 50 bytes, so more is read than will be kept.
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_MAX_BYTES * 4)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.splitn(4, ' ').nth(3))
        .collect();
    let kept = lines.len().saturating_sub(LOG_MAX_LINES);
    let mut joined = lines[kept..].join("\n");
    let mut cut = joined.len().saturating_sub(LOG_MAX_BYTES as usize);
    while !joined.is_char_boundary(cut) {
        cut += 1;
    }
    joined.drain(..cut);
    if !joined.is_empty() {
        joined.push('\n');
    }
    Ok(joined)
}
