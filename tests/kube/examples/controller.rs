//! Runs the small controller against the cluster of the current kubeconfig:
//!
//! ```text
//! KUBECONFIG=/var/lib/kabuki/admin.kubeconfig cargo run -p kabuki-kube-tests --example controller
//! kubectl create service clusterip web --tcp=80 && kubectl label service web publish=yes
//! kubectl get configmap web-address -o yaml
//! ```

use futures::StreamExt;
use kabuki_kube_tests::publish;
use kube::Client;

#[tokio::main]
async fn main() -> Result<(), kube::Error> {
    tracing_subscriber::fmt().init();
    let rounds = publish(Client::try_default().await?);
    let mut rounds = std::pin::pin!(rounds);
    while let Some(round) = rounds.next().await {
        match round {
            Ok(service) => tracing::info!(%service, "published"),
            Err(error) => tracing::warn!(%error, "will be tried again"),
        }
    }
    Ok(())
}
