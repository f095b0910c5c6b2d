//! What a container on v1 may do with device nodes.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use oci_spec::runtime::LinuxDeviceCgroup;

use crate::common::{CgroupError, io_error};

/// The nodes that libcontainer makes in every container, and terminals.
const ALWAYS: [&str; 12] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c *:* m",
    "b *:* m",
    "c 5:1 rwm",
    "c 136:* rwm",
    "c 5:2 rwm",
    "c 10:200 rwm",
];

/// Writes the rules in their order, the container's own first.
pub(crate) fn apply(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Result<(), CgroupError> {
    let mut allowed = Target::new(dir, "devices.allow");
    let mut denied = Target::new(dir, "devices.deny");
    let mut written = Vec::new();
    for rule in rules {
        let text = rule.to_string();
        if rule.allow() {
            allowed.write(&text)?;
            written.push(text);
        } else {
            denied.write(&text)?;
            written.clear();
        }
    }
    let missing = |rule: &&&str| !written.iter().any(|known| known == **rule);
    ALWAYS
        .iter()
        .filter(missing)
        .try_for_each(|rule| allowed.write(rule))
}

/// A file that takes one rule per write, opened once.
struct Target {
    path: std::path::PathBuf,
    file: Option<File>,
}

impl Target {
    fn new(dir: &Path, name: &str) -> Self {
        Self {
            path: dir.join(name),
            file: None,
        }
    }

    fn write(&mut self, rule: &str) -> Result<(), CgroupError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let opened = File::options().write(true).open(&self.path);
                none.insert(opened.map_err(io_error("open", &self.path))?)
            }
        };
        file.write_all(rule.as_bytes())
            .map_err(io_error("write", &self.path))
    }
}
