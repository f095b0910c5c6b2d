//! Device nodes in a container and the rules that its cgroup enforces.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};

use super::OciError;
use crate::spec::{ContainerSpec, Device};

/// Parts of the host's `/dev` that a privileged container gets as mounts of its own instead.
const NOT_DEVICES: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", ".udev"];

pub(super) struct Devices {
    pub nodes: Vec<LinuxDevice>,
    pub rules: Vec<LinuxDeviceCgroup>,
}

/// The default nodes (null, zero, full, random, urandom, tty) and their rules are libcontainer's.
pub(super) fn of(spec: &ContainerSpec) -> Result<Devices, OciError> {
    let mut devices = Devices {
        nodes: Vec::new(),
        rules: Vec::new(),
    };
    devices
        .rules
        .push(rule(spec.privileged, None, None, None, "rwm")?);
    if spec.privileged {
        host_devices(Path::new("/dev"), &mut devices.nodes)?;
        return Ok(devices);
    }
    // Any node may be made; only listed ones may be used.
    for typ in [LinuxDeviceType::C, LinuxDeviceType::B] {
        devices.rules.push(rule(true, Some(typ), None, None, "m")?);
    }
    // Terminals of the container's own devpts, and the multiplexer that makes them.
    devices.rules.push(rule(
        true,
        Some(LinuxDeviceType::C),
        Some(136),
        None,
        "rwm",
    )?);
    devices.rules.push(rule(
        true,
        Some(LinuxDeviceType::C),
        Some(5),
        Some(2),
        "rwm",
    )?);
    for device in &spec.devices {
        devices.add(device)?;
    }
    Ok(devices)
}

impl Devices {
    fn add(&mut self, device: &Device) -> Result<(), OciError> {
        let node = node(Path::new(&device.host_path), &device.path)?;
        let (major, minor) = (Some(node.major()), Some(node.minor()));
        let permissions = &device.permissions;
        self.rules
            .push(rule(true, Some(node.typ()), major, minor, permissions)?);
        self.nodes.push(node);
        Ok(())
    }
}

fn rule(
    allow: bool,
    typ: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup, OciError> {
    let mut rule = LinuxDeviceCgroupBuilder::default()
        .allow(allow)
        .access(access)
        .build()?;
    rule.set_typ(typ);
    rule.set_major(major);
    rule.set_minor(minor);
    Ok(rule)
}

fn node(host_path: &Path, path: &str) -> Result<LinuxDevice, OciError> {
    let name = host_path.display().to_string();
    let found = fs::metadata(host_path).map_err(|source| OciError::Device {
        path: name.clone(),
        source,
    })?;
    let kind = found.file_type();
    let typ = if kind.is_char_device() {
        LinuxDeviceType::C
    } else if kind.is_block_device() {
        LinuxDeviceType::B
    } else {
        return Err(OciError::NotADevice(name));
    };
    let device = LinuxDeviceBuilder::default()
        .path(path)
        .typ(typ)
        .major(i64::from(libc::major(found.rdev())))
        .minor(i64::from(libc::minor(found.rdev())))
        .file_mode(found.mode() & 0o777)
        .uid(found.uid())
        .gid(found.gid())
        .build()?;
    Ok(device)
}

fn host_devices(dir: &Path, nodes: &mut Vec<LinuxDevice>) -> Result<(), OciError> {
    let failed = |source| OciError::Device {
        path: dir.display().to_string(),
        source,
    };
    for entry in fs::read_dir(dir).map_err(failed)?.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let path = entry.path();
        let skipped = NOT_DEVICES.iter().any(|name| entry.file_name() == *name);
        if kind.is_dir() && !skipped {
            host_devices(&path, nodes)?;
        } else if (kind.is_char_device() || kind.is_block_device()) && !skipped {
            nodes.push(node(&path, &path.display().to_string())?);
        }
    }
    Ok(())
}
