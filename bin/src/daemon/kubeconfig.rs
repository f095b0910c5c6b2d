//! The administrator's kubeconfig of a server: written at the start, and anew whenever the cluster
//! gets another CA.

use kabuki_model::view::View as _;
use kabuki_model::{ObjectKey, Resource};
use kabuki_plane::admitting::charter;
use kabuki_plane::pki::{self, Authority};
use kabuki_plane::raft::RaftHandle;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The state is not looked at more often than this.
const PAUSE: Duration = Duration::from_millis(500);

/// `admin.kubeconfig` in the data directory.
pub struct AdminKubeconfig {
    data_dir: PathBuf,
    path: PathBuf,
    raft: RaftHandle,
    url: String,
}

impl AdminKubeconfig {
    /// That of a server with this state, which listens there. Nothing is written yet.
    pub fn new(data_dir: &Path, raft: RaftHandle, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.to_path_buf(),
            path: data_dir.join("admin.kubeconfig"),
            raft,
            url: server_url(listen),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The CA that signs and all that are trusted, once this server's state has this server in it.
    pub async fn known_authority(&self, own_name: &str) -> anyhow::Result<(Authority, String)> {
        let mut revisions = self.raft.revision();
        let own = ObjectKey::new(Resource::NODES, "", own_name);
        loop {
            revisions.mark_unchanged();
            let view = self.raft.snapshot();
            if view.get(&own).is_some() {
                return Ok(charter::authority(&view)?);
            }
            revisions.changed().await?;
        }
    }

    /// Writes it, unless it is good.
    pub fn write(&self, authority: &Authority, bundle_pem: &str) -> anyhow::Result<()> {
        pki::write_admin_kubeconfig(&self.data_dir, authority, bundle_pem, &self.url)?;
        Ok(())
    }

    /// Writes it anew whenever the cluster's CA changes.
    pub async fn follow(&self) -> Infallible {
        let mut revisions = self.raft.revision();
        let mut seen = None;
        loop {
            revisions.mark_unchanged();
            let view = self.raft.snapshot();
            let revision = view.get(&charter::ca_key()).map(|secret| secret.revision);
            if revision.is_some() && revision != seen {
                seen = revision;
                let written = charter::authority(&view)
                    .map_err(anyhow::Error::from)
                    .and_then(|(authority, bundle)| self.write(&authority, &bundle));
                if let Err(error) = written {
                    let path = self.path.display();
                    tracing::error!(error = format!("{error:#}"), %path, "the CA changed, but the administrator's kubeconfig is as it was");
                }
            }
            drop(view);
            tokio::time::sleep(PAUSE).await;
            if revisions.changed().await.is_err() {
                // The state is gone: this server ends.
                std::future::pending().await
            }
        }
    }
}

/// Where it points: an address of this host that the certificate names and that works from here.
fn server_url(listen: SocketAddr) -> String {
    let port = listen.port();
    match listen.ip() {
        ip if ip.is_unspecified() => format!("https://127.0.0.1:{port}"),
        IpAddr::V4(ip) => format!("https://{ip}:{port}"),
        IpAddr::V6(ip) => format!("https://[{ip}]:{port}"),
    }
}
