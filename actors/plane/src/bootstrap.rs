//! The objects that every cluster has from its first moment.

use bytes::Bytes;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Request, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_model::{Resource, StatusError};

use crate::gateway::GatewayHandle;

/// Kubernetes' own namespaces ("Initial namespaces").
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes sure of the initial namespaces.
pub async fn ensure(gateway: &GatewayHandle) -> Result<(), StatusError> {
    let api = gateway.api(Identity::bootstrap());
    for name in NAMESPACES {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        });
        let create = Request::Create {
            resource: Resource::NAMESPACES,
            namespace: "".into(),
            object: Bytes::from(object.to_string()),
            options: WriteOptions::default(),
        };
        match api.request(create).await {
            Err(error) if error.reason != Reason::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
