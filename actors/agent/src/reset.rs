//! Removes every trace of a node from the machine: what runs, its network, its cgroups, its
//! files. Goes on past errors and reports them all.

use crate::config::{Layout, bridge_name, overlay_name};
use kabuki_net::plan::Cidr;
use kabuki_net::{NetworkConfig, NodeNetwork};
use kabuki_runtime::{Cgroups, ShimLauncher, drop_from_memory};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

/// How long killed processes may take to end.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Removes all that a node with this data directory has on the machine. The node's program must
/// not run any more.
///
/// # Errors
/// What could not be removed, one text for each; everything else is gone.
pub async fn reset(data_dir: &Path) -> Result<(), Vec<String>> {
    let layout = Layout::new(data_dir);
    let mut errors = Vec::new();
    end_shims(&layout, &mut errors).await;
    if let Err(error) = remove_network(&layout).await {
        errors.push(error);
    }
    if let Err(error) = remove_cgroups(&layout) {
        errors.push(error);
    }
    remove_logs(&layout, &mut errors);
    if let Err(error) = drop_from_memory(&layout.run) {
        errors.push(format!("cannot unmount {}: {error}", layout.run.display()));
    }
    for dir in [&layout.run, &layout.data] {
        if let Err(error) = remove_tree(dir) {
            errors.push(format!("cannot remove {}: {error}", dir.display()));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

async fn end_shims(layout: &Layout, errors: &mut Vec<String>) {
    let launcher = ShimLauncher::new(layout.shims());
    for entry in std::fs::read_dir(layout.shims())
        .into_iter()
        .flatten()
        .flatten()
    {
        let id = entry.file_name().to_string_lossy().into_owned();
        if let Err(error) = launcher.clean(&id).await {
            errors.push(crate::pod::chain(&error));
        }
    }
}

async fn remove_network(layout: &Layout) -> Result<(), String> {
    // Which addresses it had does not matter for taking it away.
    let any = Cidr::containing(IpAddr::V4(Ipv4Addr::new(10, 244, 0, 0)), 24);
    let any = any.map_err(|error| error.to_string())?;
    let (bridge, overlay) = (bridge_name(layout), overlay_name(layout));
    let config = NetworkConfig::new(&bridge, &overlay, any.network(), any, any);
    let net = NodeNetwork::open(config).map_err(|error| crate::pod::chain(&error))?;
    net.reset().await.map_err(|error| crate::pod::chain(&error))
}

fn remove_cgroups(layout: &Layout) -> Result<(), String> {
    let cgroups = Cgroups::detect().map_err(|error| error.to_string())?;
    cgroups
        .kill(&layout.cgroup, KILL_LIMIT)
        .map_err(|error| crate::pod::chain(&error))?;
    cgroups
        .remove(&layout.cgroup)
        .map_err(|error| crate::pod::chain(&error))
}

/// The log directories may be the machine's own: only what pods of this node left is removed.
fn remove_logs(layout: &Layout, errors: &mut Vec<String>) {
    for entry in std::fs::read_dir(layout.pods())
        .into_iter()
        .flatten()
        .flatten()
    {
        let uid = entry.file_name().to_string_lossy().into_owned();
        let logs = std::fs::read_dir(layout.pod_logs());
        for log in logs.into_iter().flatten().flatten() {
            let name = log.file_name().to_string_lossy().into_owned();
            if name.ends_with(&format!("_{uid}")) {
                crate::pod::remove_logs(layout, &name);
            }
        }
    }
    if layout.log.starts_with(&layout.data)
        && let Err(error) = remove_tree(&layout.log)
    {
        errors.push(format!("cannot remove {}: {error}", layout.log.display()));
    }
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
