//! Layers: unpacked into a directory that things stand beside which must stay as they are.
//!
//! The first byte says how the rest becomes a layer (`archive`). An error is fine, but it must
//! blame the layer: nothing is wrong with this disk.

mod archive;
mod sandbox;

pub use archive::{Entry, Kind, escapes, seeds};
pub use sandbox::Sandbox;

use kabuki_runtime::image::{ImageError, UnpackLimits, unpack_layer};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Unpacks `data` as the image store would.
pub fn run(data: &[u8]) {
    if let Err(broken) = examine(data, unpack) {
        panic!("{broken}");
    }
}

/// Lets `unpack` work in a sandbox and says what it did to the world outside.
pub fn examine(
    data: &[u8],
    unpack: impl FnOnce(&[u8], &Path) -> Result<(), String>,
) -> Result<(), String> {
    let sandbox = Sandbox::new();
    let layer = archive::layer(data, sandbox.top());
    let before = sandbox.outside();
    unpack(&layer, &sandbox.root())?;
    let after = sandbox.outside();
    match before == after {
        true => Ok(()),
        false => Err(format!("the layer changed {before:#?}\nto {after:#?}")),
    }
}

/// Unpacks as the image store does.
pub fn unpack(layer: &[u8], root: &Path) -> Result<(), String> {
    let limits = UnpackLimits {
        max_bytes: 1 << 20,
        max_entries: 200,
    };
    match unpack_layer(layer, root, "fuzz", limits, &AtomicBool::new(false)) {
        Ok(_) | Err(ImageError::BadLayer { .. }) => Ok(()),
        Err(other) => Err(format!(
            "the layer's fault is laid on the machine: {other:?}"
        )),
    }
}
