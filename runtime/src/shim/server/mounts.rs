//! Which of a container's mounts libcontainer makes, and which are made by other means.
//!
//! libcontainer distrusts each step of a path into a container's root, with dozens of system calls
//! for a mount. The shim asks the kernel once not to be led out of it. So it makes all mounts that
//! need nothing of the container's own ([`make_ahead`]), below the root from which libcontainer
//! then takes them along. On kernels that libcontainer cannot mount on, the rest is left to this
//! program's own hook ([`take`], [`mounter`](crate::shim::mounter)).

use std::env;
use std::fs;
use std::path::Path;

use libcontainer::oci_spec::runtime::{HookBuilder, Hooks, Mount, Spec};
use nix::mount::{MsFlags, mount};

use super::{Attempt, Outcome, Refusal};
use crate::shim::mounter::{ERROR, Mounter, PLAN, Plan, VERB};

const DEV: &str = "/dev";

/// Takes the mounts out of a configuration, and puts the hook that makes them into it.
pub(super) fn take(configuration: &mut Spec, rootfs: &str, bundle: &Path) -> Outcome<()> {
    let wanted = configuration.mounts().clone().unwrap_or_default();
    let is_dev = |path: &Path| path == Path::new(DEV);
    let (devices, mounts): (Vec<_>, Vec<_>) = wanted
        .into_iter()
        .partition(|mount| is_dev(mount.destination()));
    let mounter = Mounter::new(Path::new(rootfs))?;
    for mut wanted in devices {
        // Device nodes are made in it next.
        let mut options = wanted.options().clone().unwrap_or_default();
        options.retain(|option| option != "ro" && option != "rro");
        wanted.set_options(Some(options));
        mounter.mount(&wanted)?;
    }
    let plan = Plan {
        rootfs: rootfs.to_owned(),
        mounts,
    };
    fs::write(bundle.join(PLAN), serde_json::to_vec(&plan)?)?;
    // This program as it was started, up to the shim's own arguments.
    let mut arguments: Vec<String> = env::args().take_while(|word| word != "--dir").collect();
    arguments.extend([VERB.to_owned(), bundle.display().to_string()]);
    let hook = HookBuilder::default()
        .path("/proc/self/exe")
        .args(arguments)
        .build()?;
    let mut hooks = Hooks::default();
    hooks.set_create_container(Some(vec![hook]));
    configuration.set_mounts(Some(Vec::new()));
    configuration.set_hooks(Some(hooks));
    Ok(())
}

/// Makes the mounts that are the same for whoever makes them, and takes them out of the
/// configuration. For the others, what they are mounted on is made.
///
/// # Errors
/// Naming the mount that failed.
pub(super) fn make_ahead(configuration: &mut Spec, rootfs: &str) -> Outcome<()> {
    let mounter = Mounter::new(Path::new(rootfs))?;
    let mut left: Vec<Mount> = Vec::new();
    for wanted in configuration.mounts().iter().flatten() {
        let covered = left
            .iter()
            .any(|other| wanted.destination().starts_with(other.destination()));
        if !covered && is_anybodys(wanted) {
            mounter.mount(wanted)?;
            continue;
        }
        if !covered {
            // Should it fail, libcontainer says why.
            let _ = mounter.place(wanted);
        }
        left.push(wanted.clone());
    }
    configuration.set_mounts(Some(left));
    Ok(())
}

/// Whether a mount shows the same in every namespace of its pod. `/proc` shows the processes, and
/// `cgroup` the cgroup, of whoever mounts it; what follows the host's later mounts does so only
/// where libcontainer has made it.
fn is_anybodys(wanted: &Mount) -> bool {
    let options = || wanted.options().iter().flatten();
    match wanted.typ().as_deref() {
        Some("bind") => !options().any(|option| option == "rslave" || option == "rro"),
        Some("tmpfs" | "devpts" | "mqueue" | "sysfs") => true,
        _ => false,
    }
}

/// A root in the bundle, where the clearing finds all that is mounted below it.
pub(super) fn root_in(bundle: &Path, rootfs: String) -> Outcome<String> {
    if Path::new(&rootfs).starts_with(bundle) {
        return Ok(rootfs);
    }
    let own = bundle.join("rootfs");
    fs::create_dir_all(&own)?;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(
        Some(rootfs.as_str()),
        &own,
        None::<&str>,
        bind,
        None::<&str>,
    )
    .attempt(|| format!("bind root file system {rootfs:?}"))?;
    Ok(own.display().to_string())
}

/// What the hook could not do, where that is why a creation failed.
pub(super) fn explained(bundle: &Path, refusal: Refusal) -> Refusal {
    match fs::read_to_string(bundle.join(ERROR)) {
        Ok(words) => refusal.reworded(|held| format!("{held}: {words}")),
        Err(_) => refusal,
    }
}
