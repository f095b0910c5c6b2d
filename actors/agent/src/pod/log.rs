//! Where logs are, in the places that log collectors know:
//! `pods/NAMESPACE_NAME_UID/CONTAINER/ATTEMPT.log`, and
//! `containers/NAME_NAMESPACE_CONTAINER-ID.log` as links to them.

use super::sandbox::remove_tree;
use crate::config::Layout;
use crate::services::{PodEntry, Services};
use kabuki_lifecycle::Instance;
use kabuki_lifecycle::status::instance_id;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The current log file of an instance.
pub(crate) fn log_file(services: &Services, entry: &PodEntry, instance: &Instance) -> PathBuf {
    let pod = services.layout.pod_logs().join(entry.log_dir());
    pod.join(&instance.container)
        .join(format!("{}.log", instance.attempt))
}

fn link_name(entry: &PodEntry, instance: &Instance) -> String {
    let id = instance_id(&entry.uid, &instance.container, instance.attempt);
    format!(
        "{}_{}_{}-{id}.log",
        entry.name, entry.namespace, instance.container
    )
}

/// Links to the log of an instance that has started.
pub(super) fn link(services: &Services, entry: &PodEntry, instance: &Instance) {
    let dir = services.layout.container_logs();
    let path = dir.join(link_name(entry, instance));
    let made = std::fs::create_dir_all(&dir)
        .and_then(|()| symlink(log_file(services, entry, instance), &path));
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        tracing::warn!(log.link = %path.display(), %error, "log link not made");
    }
}

/// Removes the logs of instances before the previous one: nobody can ask for them.
pub(super) fn forget_old(services: &Services, entry: &PodEntry, instance: &Instance) {
    let current = log_file(services, entry, instance);
    let Some(dir) = current.parent() else { return };
    for found in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = found.file_name().to_string_lossy().into_owned();
        let number = name.split('.').next().and_then(|n| n.parse::<u32>().ok());
        let Some(attempt) = number.filter(|n| n.saturating_add(1) < instance.attempt) else {
            continue;
        };
        let old = Instance {
            container: instance.container.clone(),
            attempt,
        };
        let link = services
            .layout
            .container_logs()
            .join(link_name(entry, &old));
        // What is gone already is as good.
        let _ = std::fs::remove_file(found.path());
        let _ = std::fs::remove_file(link);
    }
}

/// Removes all logs of the pod whose directory is `log_dir`, and the links to them.
pub(crate) fn remove_logs(layout: &Layout, log_dir: &str) {
    let dir = layout.pod_logs().join(log_dir);
    if let Err(error) = remove_tree(&dir) {
        tracing::warn!(log.dir = %dir.display(), %error, "logs not removed");
    }
    remove_links(&layout.container_logs(), &dir);
}

fn remove_links(links: &Path, target: &Path) {
    for found in std::fs::read_dir(links).into_iter().flatten().flatten() {
        let leads = std::fs::read_link(found.path());
        if leads.is_ok_and(|to| to.starts_with(target)) {
            let _ = std::fs::remove_file(found.path());
        }
    }
}
