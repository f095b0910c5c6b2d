//! `create namespace|deployment|serviceaccount`.

use crate::cli::failure::{Outcome, fail};
use crate::cli::resolver::kind_named;
use crate::cli::session::Session;
use crate::cli::write::{WriteArgs, place};
use serde_json::{Map, Value, json};

/// Arguments of `create namespace`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kabuki create namespace shop")]
pub struct NamespaceArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    write: WriteArgs,
}

impl NamespaceArgs {
    /// Runs it.
    pub async fn run(self, session: &Session) -> Outcome {
        let value = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name},
        });
        self.write
            .create(session, kind_named("namespaces")?, "", value)
            .await
            .map(drop)
    }
}

/// Arguments of `create serviceaccount`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kabuki create serviceaccount robot")]
pub struct ServiceAccountArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    write: WriteArgs,
}

impl ServiceAccountArgs {
    /// Runs it.
    pub async fn run(self, session: &Session) -> Outcome {
        let value = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": self.name},
        });
        create(session, "serviceaccounts", value, &self.write).await
    }
}

/// Arguments of `create deployment`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki create deployment web --image=web:1 --replicas=3 --port=80\n  \
    kabuki create deployment idle --image=busybox -- sleep 3600")]
pub struct DeploymentArgs {
    /// Its name
    name: String,
    /// The image; several make several containers
    #[arg(long, required = true, value_name = "IMAGE")]
    image: Vec<String>,
    /// How many pods
    #[arg(short, long, default_value_t = 1)]
    replicas: i32,
    /// The port that the container serves
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    write: WriteArgs,
    /// A command to run instead of the image's
    #[arg(last = true)]
    command: Vec<String>,
}

impl DeploymentArgs {
    /// Runs it.
    pub async fn run(self, session: &Session) -> Outcome {
        if self.image.len() > 1 && !self.command.is_empty() {
            fail!("cannot specify multiple --image options and command");
        }
        let labels = json!({"app": self.name});
        let containers: Vec<Value> = self
            .image
            .iter()
            .map(|image| {
                let mut container = Map::new();
                container.insert("image".into(), image.as_str().into());
                container.insert("name".into(), container_name(image).into());
                if !self.command.is_empty() {
                    container.insert("command".into(), self.command.clone().into());
                }
                if let Some(port) = self.port {
                    container.insert("ports".into(), json!([{"containerPort": port}]));
                }
                Value::Object(container)
            })
            .collect();
        let value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
            },
        });
        create(session, "deployments", value, &self.write).await
    }
}

/// Creates an object in the command's namespace.
pub async fn create(session: &Session, kind: &str, mut value: Value, write: &WriteArgs) -> Outcome {
    let kind = kind_named(kind)?;
    // A manifest that is only printed names a namespace only when one was asked for.
    let namespace = match write.dry_run().on_client() {
        true => session.globals.namespace.clone().unwrap_or_default(),
        false => session.namespace()?,
    };
    place(&mut value, kind, &namespace);
    write
        .create(session, kind, &namespace, value)
        .await
        .map(drop)
}

/// The name of a container of an image: its last part without tag and digest.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split(['@', ':']).next().unwrap_or(last).to_lowercase();
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_after_its_image() {
        for (image, name) in [
            ("nginx", "nginx"),
            ("registry.example:5000/a/web_app:1.2", "web-app"),
            ("redis@sha256:00", "redis"),
        ] {
            assert_eq!(container_name(image), name);
        }
    }
}
