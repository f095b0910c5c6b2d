//! The pods of this node on disk, as the API last had them: a daemon that starts while no server
//! answers takes those up whose shims still run. What is not running is left alone: it may have
//! been given to another node meanwhile.

use crate::copy::{self, CopyError, Form};
use crate::services::Services;
use k8s_openapi::api::core::v1::Pod;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A change is on disk after this time; many changes cost one writing in this time.
pub(super) const SAVE_AFTER: Duration = Duration::from_secs(1);
/// Who has heard nothing of the API for so long does without it for now.
pub(super) const ALONE_AFTER: Duration = Duration::from_secs(2);

const FORM: Form = Form {
    magic: b"kbk-pods",
    version: 1,
};

/// Whether the copy is behind.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// A writing waits or runs.
    under_way: bool,
    /// Something changed after it began.
    unsaved: bool,
}

impl Saving {
    /// Something changed. Says whether a writing is to be begun in a while.
    pub fn changed(&mut self) -> bool {
        self.unsaved = true;
        !std::mem::replace(&mut self.under_way, true)
    }

    /// A writing begins.
    pub fn begin(&mut self) {
        self.unsaved = false;
    }

    /// It is done. Says whether another one is to be begun in a while.
    pub fn done(&mut self) -> bool {
        self.under_way = self.unsaved;
        self.under_way
    }
}

/// The pods of the copy; none without one.
pub(super) fn read(file: &Path) -> Vec<Pod> {
    copy::read(file, FORM, |payload| serde_json::from_slice(payload).ok()).unwrap_or_default()
}

/// Writes the pods that there are.
pub(super) fn write(services: &Services) {
    let pods: Vec<Arc<Pod>> = services.pods.all().iter().map(|e| e.pod()).collect();
    if let Err(error) = put(&services.layout.known_pods(), &pods) {
        tracing::warn!(%error, "the copy of this node's pods was not written");
    }
}

fn put(file: &Path, pods: &[Arc<Pod>]) -> Result<(), CopyError> {
    let pods: Vec<&Pod> = pods.iter().map(Arc::as_ref).collect();
    copy::write(file, FORM, &serde_json::to_vec(&pods)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_come_back_from_the_copy_as_they_were() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("known-pods");
        assert!(read(&file).is_empty());
        let mut pod = Pod::default();
        pod.metadata.name = Some("web".to_string());
        pod.metadata.uid = Some("u1".to_string());
        put(&file, &[Arc::new(pod.clone())]).expect("written");
        assert_eq!(read(&file), [pod]);
    }

    #[test]
    fn changes_during_a_writing_lead_to_another_one_and_to_no_more() {
        let mut saving = Saving::default();
        assert!(saving.changed());
        assert!(!saving.changed());
        saving.begin();
        assert!(!saving.changed());
        assert!(saving.done());
        saving.begin();
        assert!(!saving.done());
        assert!(saving.changed());
    }
}
