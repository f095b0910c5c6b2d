//! What a container runs: its command, environment, directory and user, from the manifest, the
//! image and the objects that the manifest refers to.

mod command;
mod environment;
mod expand;
mod fields;
mod links;
mod references;
mod user;

pub use command::{ImageDefaults, command, working_dir};
pub use environment::{Environment, Sources, environment};
pub use expand::expand;
pub use fields::{NodeResources, PodFacts, field, resource};
pub use links::links;
pub use references::{References, references};
pub use user::{Identity, UserChoice, check_non_root, choose_user};

/// What the manifest asks for cannot be had: the container waits with
/// `CreateContainerConfigError` and this message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
