//! Images: from a registry or an archive to directories that overlayfs can stack.
//!
//! The agent's image actor is the only caller of [`ImageStore`]; the shim gets paths
//! ([`Rootfs`]) and never looks into images. Everything that comes from outside (names,
//! manifests, archives, layers) is treated as hostile: bounded, verified by digest, and
//! unpacked so that it cannot leave its directory.
//!
//! Not known here: pull policies, retry and back-off, secrets as Kubernetes objects.

mod archive;
mod assemble;
mod compression;
mod config;
mod credentials;
mod digest;
mod error;
mod index;
mod layers;
mod layout;
mod manifest;
mod overlay;
pub mod pack;
mod progress;
mod pull;
mod reference;
mod registry;
mod rootfs;
mod store;
mod tarball;
mod unpack;
mod user;

pub use archive::LoadOptions;
pub use config::ImageConfig;
pub use credentials::{Credential, Keyring};
pub use digest::{Digest, InvalidDigest};
pub use error::ImageError;
pub use progress::{Phase, Progress, ProgressFn};
pub use pull::PullOptions;
pub use reference::Reference;
pub use registry::RegistryConfig;
pub use rootfs::{DiskUsage, OverlayOptions, Rootfs, disk_usage};
pub use store::{Image, ImageStore, Removed, StoreOptions};
pub use unpack::{UnpackLimits, unpack_layer};
pub use user::{ResolvedUser, resolve_user};

#[cfg(test)]
mod tests;
