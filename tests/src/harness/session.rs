//! A session with a daemon in this process: the native protocol over TLS with the
//! administrator's kubeconfig, so that what is measured starts no process of its own.

use super::Daemon;
use anyhow::{Context, anyhow, bail};
use base64::Engine;
use bytes::Bytes;
use kabuki_model::kind::{self, Scope};
use kabuki_model::request::{DeleteOptions, ListRequest, Request, WriteOptions};
use kabuki_model::watch::{WatchEvent, WatchRequest, WatchStart};
use kabuki_model::{ObjectKey, Resource, Stored};
use kabuki_net::Netns;
use kabuki_protocol::client::Client;
use kabuki_protocol::session::ALPN;
use kabuki_protocol::{Api, Watch};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use std::collections::HashMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto, version};

/// How these sessions call themselves.
const AGENT: &str = "kabuki-tests";

/// An open session.
#[derive(Clone)]
pub struct Session {
    client: Client,
}

impl Session {
    /// Opens a session with a daemon, on the daemon's host.
    pub async fn open(daemon: &Daemon) -> anyhow::Result<Self> {
        Self::open_as(daemon, &daemon.data_dir().join("admin.kubeconfig")).await
    }

    /// Opens a session with a daemon as whoever the kubeconfig names.
    pub async fn open_as(daemon: &Daemon, kubeconfig: &Path) -> anyhow::Result<Self> {
        let config = tls_config(kubeconfig, ALPN)?;
        Self::secured(connect(daemon).await?, config).await
    }

    /// Opens a session over a connection to the node that keeps its files in `data_dir`.
    pub async fn over(tcp: TcpStream, data_dir: &Path) -> anyhow::Result<Self> {
        let config = tls_config(&data_dir.join("admin.kubeconfig"), ALPN)?;
        Self::secured(ready(tcp)?, config).await
    }

    async fn secured(tcp: tokio::net::TcpStream, config: ClientConfig) -> anyhow::Result<Self> {
        let name = ServerName::from(tcp.peer_addr()?.ip());
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        Ok(Self {
            client: Client::open(tls, AGENT).await?,
        })
    }

    /// The protocol's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads an object of the namespace `default` (or of none); `None` when it is not there.
    pub async fn get(&self, resource: Resource, name: &str) -> anyhow::Result<Option<Arc<Stored>>> {
        let key = key(resource, name);
        match self
            .client
            .request(Request::Get {
                key,
                subresource: None,
            })
            .await
        {
            Ok(answer) => Ok(answer.into_object()),
            Err(error) if error.reason == kabuki_model::status::Reason::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What `apply` does with an object that is not there: looks for it, then creates it.
    pub async fn apply(&self, object: &Value) -> anyhow::Result<Arc<Stored>> {
        let kind = object["kind"].as_str().unwrap_or_default();
        let resource = match kind {
            "Pod" => Resource::PODS,
            "ConfigMap" => Resource::CONFIG_MAPS,
            "Deployment" => Resource::DEPLOYMENTS,
            other => bail!("benches do not apply a {other:?}"),
        };
        let name = object["metadata"]["name"]
            .as_str()
            .context("an object without a name")?;
        if self.get(resource.clone(), name).await?.is_some() {
            bail!("{kind} {name} is there already");
        }
        self.create(resource, object).await
    }

    /// Creates an object in the namespace `default`.
    pub async fn create(&self, resource: Resource, object: &Value) -> anyhow::Result<Arc<Stored>> {
        let request = Request::Create {
            resource,
            namespace: "default".into(),
            object: Bytes::from(serde_json::to_vec(object)?),
            options: WriteOptions::default(),
        };
        let answer = self.client.request(request).await?;
        answer
            .into_object()
            .ok_or_else(|| anyhow!("a creation was answered without an object"))
    }

    /// Replaces an object of the namespace `default`, whatever its revision.
    pub async fn update(
        &self,
        resource: Resource,
        name: &str,
        object: Bytes,
    ) -> anyhow::Result<()> {
        let request = Request::Update {
            key: key(resource, name),
            subresource: None,
            object,
            options: WriteOptions::default(),
        };
        self.client.request(request).await?;
        Ok(())
    }

    /// Deletes an object of the namespace `default` at once.
    pub async fn delete(&self, resource: Resource, name: &str) -> anyhow::Result<()> {
        let options = DeleteOptions {
            grace_period_s: Some(0),
            ..DeleteOptions::default()
        };
        let request = Request::Delete {
            key: key(resource, name),
            options,
        };
        self.client.request(request).await?;
        Ok(())
    }

    /// Everything that happens to a resource from now on.
    pub async fn changes(&self, resource: Resource) -> anyhow::Result<Watch> {
        let selection = ListRequest::all(resource, None);
        let request = WatchRequest {
            selection,
            start: WatchStart::List,
            bookmarks: true,
        };
        let mut watch = self.client.watch(request).await?;
        loop {
            match watch.next().await.context("the watch ended")?? {
                WatchEvent::Bookmark {
                    initial_end: true, ..
                } => return Ok(watch),
                _ => continue,
            }
        }
    }
}

/// Waits for an event of `watch` that satisfies `wanted`.
pub async fn seen(
    watch: &mut Watch,
    mut wanted: impl FnMut(&WatchEvent) -> bool,
) -> anyhow::Result<WatchEvent> {
    loop {
        let event = watch.next().await.context("the watch ended")??;
        if wanted(&event) {
            return Ok(event);
        }
    }
}

/// The key of an object in the namespace `default`, or of one without a namespace.
pub fn key(resource: Resource, name: &str) -> ObjectKey {
    let namespaced = kind::of(&resource).is_none_or(|kind| kind.scope() == Scope::Namespaced);
    let namespace = if namespaced { "default" } else { "" };
    ObjectKey::new(resource, namespace, name)
}

/// A connection to a daemon, on the daemon's host.
pub(super) async fn connect(daemon: &Daemon) -> anyhow::Result<tokio::net::TcpStream> {
    let host = Netns::open(format!("/run/netns/{}", daemon.host().name()))?;
    let address = daemon.address();
    // The socket stays in the namespace that it was made in.
    ready(host.run(move || TcpStream::connect(address)).await??)
}

fn ready(tcp: TcpStream) -> anyhow::Result<tokio::net::TcpStream> {
    tcp.set_nonblocking(true)?;
    tcp.set_nodelay(true)?;
    Ok(tokio::net::TcpStream::from_std(tcp)?)
}

/// TLS as whoever the kubeconfig names, with one application protocol.
pub(super) fn tls_config(kubeconfig: &Path, protocol: &[u8]) -> anyhow::Result<ClientConfig> {
    let text = std::fs::read_to_string(kubeconfig)?;
    let config: Value = serde_yaml_ng::from_str(&text)?;
    let cluster = &config["clusters"][0]["cluster"];
    let user = &config["users"][0]["user"];
    let parts = HashMap::from([
        ("ca", &cluster["certificate-authority-data"]),
        ("certificate", &user["client-certificate-data"]),
        ("key", &user["client-key-data"]),
    ]);
    let pem = |part: &str| -> anyhow::Result<Vec<u8>> {
        let encoded = parts[part]
            .as_str()
            .with_context(|| format!("no {part} in kubeconfig"))?;
        Ok(base64::engine::general_purpose::STANDARD.decode(encoded)?)
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem("ca")?) {
        roots.add(certificate?)?;
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem("certificate")?).collect();
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain?, PrivateKeyDer::from_pem_slice(&pem("key")?)?)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}
