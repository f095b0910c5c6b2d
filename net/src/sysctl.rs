//! Kernel settings below `/proc/sys`.
//!
//! For `net/`, the kernel shows each thread the settings of that thread's own network
//! namespace, so these functions must run inside the namespace that is meant
//! ([`crate::Netns::run`]).

use std::fs;
use std::path::{Path, PathBuf};

use crate::NetError;

/// Gives `key` (a path below `/proc/sys`) the value `value`. Writes only when it differs, so
/// that a host whose `/proc/sys` is read-only but already set up is good enough.
pub(crate) fn ensure(key: &str, value: &'static str) -> Result<(), NetError> {
    let path = path_of(key);
    if let Ok(current) = fs::read_to_string(&path)
        && current.trim_end() == value
    {
        return Ok(());
    }
    fs::write(&path, value).map_err(|source| NetError::Sysctl {
        key: key.to_owned(),
        value,
        source,
    })
}

/// Where a setting is found.
pub(crate) fn path_of(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}
