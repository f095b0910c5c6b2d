//! The Kubernetes client for Rust (`kube`, `kube-runtime`), unmodified, against real daemons.

#[path = "kube/controller.rs"]
mod controller;
#[path = "kube/informer.rs"]
mod informer;
#[path = "kube/objects.rs"]
mod objects;
#[path = "kube/streams.rs"]
mod streams;

use k8s_openapi::api::core::v1::ConfigMap;
use kabuki_tests::harness::{Daemon, Entrance};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// How long anything may take that is not under test itself.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a client of a node finds it.
struct Way {
    entrance: Entrance,
    kubeconfig: PathBuf,
}

impl Way {
    fn to(node: &Daemon) -> Self {
        Self {
            entrance: node.host().entrance(),
            kubeconfig: node.data_dir().join("admin.kubeconfig"),
        }
    }

    /// Runs a test with a client on the node's host.
    fn with_client<F, Fut>(&self, test: F)
    where
        F: FnOnce(Client) -> Fut + Send,
        Fut: Future<Output = kube::Result<()>>,
    {
        self.entrance
            .run(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build();
                runtime.expect("a runtime").block_on(async {
                    let read = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
                    let config =
                        Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
                    let client = Client::try_from(config.expect("a usable kubeconfig"))?;
                    test(client).await
                })
            })
            .expect("the client is answered");
    }
}

/// A typed object from what a manifest says.
fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object of this kind")
}

fn settings(name: &str, colour: &str) -> ConfigMap {
    object(json!({
        "metadata": {"name": name, "labels": {"app": "shop"}},
        "data": {"colour": colour},
    }))
}

/// The code and reason of a refusal.
fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason),
        other => panic!("not refused: {other:?}"),
    }
}
