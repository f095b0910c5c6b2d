//! The options of a mount, as the configuration of a container writes them.

use libcontainer::syscall::linux;
use nix::mount::MsFlags;
use oci_spec::runtime::Mount;

use super::{MountError, Result};

/// What the options of one mount come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `MOUNT_ATTR_*` for a new mount.
    pub attr: u64,
    /// Binds what is mounted below the source, too.
    pub recursive: bool,
    /// All that is bound with it becomes read-only, too.
    pub readonly_below: bool,
    /// The file system's own.
    pub data: Vec<String>,
}

/// What a mount forbids: its name, and how the two interfaces of the kernel call it.
const ATTRIBUTES: [(&str, u64, MsFlags); 6] = [
    ("ro", linux::MOUNT_ATTR_RDONLY, MsFlags::MS_RDONLY),
    ("nosuid", linux::MOUNT_ATTR_NOSUID, MsFlags::MS_NOSUID),
    ("nodev", linux::MOUNT_ATTR_NODEV, MsFlags::MS_NODEV),
    ("noexec", linux::MOUNT_ATTR_NOEXEC, MsFlags::MS_NOEXEC),
    ("noatime", linux::MOUNT_ATTR_NOATIME, MsFlags::MS_NOATIME),
    (
        "strictatime",
        linux::MOUNT_ATTR_STRICTATIME,
        MsFlags::MS_STRICTATIME,
    ),
];

/// What needs no doing: the default, or settled by the propagation of the container's root.
const NOTHING: [&str; 6] = ["rw", "relatime", "rslave", "rprivate", "slave", "private"];

impl Options {
    pub fn parse(wanted: &Mount) -> Result<Self> {
        let mut options = Self::default();
        for option in wanted.options().iter().flatten() {
            let attribute = ATTRIBUTES.iter().find(|(name, ..)| name == option);
            match (attribute, option.as_str()) {
                (Some((_, attr, _)), _) => options.attr |= attr,
                (None, "rbind") => options.recursive = true,
                (None, "bind") => {}
                (None, "rro") => options.readonly_below = true,
                (None, other) if NOTHING.contains(&other) => {}
                (None, other) if other == "newinstance" || other.contains('=') => {
                    options.data.push(other.to_owned());
                }
                (None, other) => return Err(MountError::Option(other.to_owned())),
            }
        }
        Ok(options)
    }

    /// The attributes for remounting.
    pub fn flags(&self) -> MsFlags {
        let set = ATTRIBUTES
            .iter()
            .filter(|(_, attr, _)| self.attr & attr != 0);
        set.map(|(.., flag)| *flag).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[&str]) -> Result<Options> {
        let mut mount = Mount::default();
        let options = options.iter().map(|option| (*option).to_owned());
        mount.set_options(Some(options.collect()));
        Options::parse(&mount)
    }

    #[test]
    fn every_option_is_understood_or_refused() {
        let options = parsed(&["nosuid", "ro", "mode=755", "relatime"]).unwrap();
        assert_eq!(options.flags(), MsFlags::MS_NOSUID | MsFlags::MS_RDONLY);
        assert_eq!(options.data, ["mode=755"]);
        assert!(!options.recursive && !options.readonly_below);
        assert!(parsed(&["rbind", "rro"]).unwrap().readonly_below);
        assert!(parsed(&["idmap"]).is_err());
    }
}
