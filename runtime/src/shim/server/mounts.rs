//! Leaving a container's mounts to this program's own hook, on kernels that libcontainer cannot
//! mount on: see [`mounter`](crate::shim::mounter).

use std::env;
use std::fs;
use std::path::Path;

use libcontainer::oci_spec::runtime::{HookBuilder, Hooks, Spec};
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
        Ok(words) => Refusal(format!("{}: {words}", refusal.0)),
        Err(_) => refusal,
    }
}
