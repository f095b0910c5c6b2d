//! What a member is given: its certificate, by the CA of the state, and what goes with it.

use super::charter::{self, Charter, CharterError, authority};
use super::decide::{host_addresses, is_of_key, unusable};
use super::node::{CA_BUNDLE, CA_SIGNER, CaMarks, NodeFacts, merge, node_key, split};
use kabuki_cluster::authority::{Authority, request_key_sha256};
use kabuki_cluster::facts::member;
use kabuki_cluster::seal::worker_key;
use kabuki_model::StatusError;
use kabuki_model::k8s_openapi::api::core::v1::Node;
use kabuki_model::request::Request;
use kabuki_model::status::Reason;
use kabuki_model::view::View;
use kabuki_model::{Resource, Stored};
use kabuki_protocol::join::{JoinRefusal, Joined, Role, ServerAddress};
use serde_json::json;
use std::net::IpAddr;

/// All that a new member gets.
pub(super) fn welcome(
    view: &dyn View,
    facts: &NodeFacts,
    csr_pem: &str,
) -> Result<Joined, JoinRefusal> {
    let charter = Charter::read(view).map_err(unusable)?;
    let (authority, bundle_pem) = authority(view).map_err(unusable)?;
    let servers_key = charter::seal_key(view).map_err(unusable)?;
    let addresses = certificate_addresses(&facts.host_addresses, &charter);
    let certificate = authority.node_certificate(csr_pem, &facts.name, facts.role, &addresses);
    Ok(Joined {
        cluster_id: charter.cluster_id,
        role: facts.role,
        server_id: facts.server_id,
        certificate_pem: certificate.map_err(|e| JoinRefusal::Invalid(e.to_string()))?,
        bundle_pem,
        seal_key: match facts.role {
            Role::Server => servers_key.to_vec(),
            Role::Worker => worker_key(&servers_key, &facts.name).to_vec(),
        },
        pod_cidr: facts.pod_cidr.clone(),
        cluster_cidr: charter.pod_cidr.to_string(),
        service_cidr: charter.service_cidr.to_string(),
        servers: servers(view),
    })
}

/// The servers that have a Node.
fn servers(view: &dyn View) -> Vec<ServerAddress> {
    let nodes = view.scan(&Resource::NODES, None, None);
    let servers = nodes.filter_map(|n| member(n)).filter_map(|m| {
        Some(ServerAddress {
            name: m.name,
            address: m.address,
            server_id: m.server_id?,
        })
    });
    servers.collect()
}

/// The addresses of a server's certificate: its own, and that of the API's service.
pub(super) fn certificate_addresses(own: &[IpAddr], charter: &Charter) -> Vec<IpAddr> {
    let mut all = own.to_vec();
    all.extend(charter.service_cidr.second().map(IpAddr::V4));
    all.sort_unstable();
    all.dedup();
    all
}

/// A certificate, and every CA, in PEM.
type Signed = (String, String);

/// A certificate for the key of a member, and what to note on its Node if that has changed: by
/// which CA it was signed, and which CAs went with it.
pub(super) fn renew(
    view: &dyn View,
    name: &str,
    csr_pem: &str,
) -> Result<(Signed, Option<Request>), StatusError> {
    let refuse = |why: String| Err(StatusError::new(Reason::Forbidden, why));
    let key = request_key_sha256(csr_pem).map_err(|why| {
        StatusError::bad_request(format!("the certificate request of node {name}: {why}"))
    })?;
    let node = view.get(&node_key(name));
    let Some((node, known)) = node.and_then(|n| Some((n, member(n)?))) else {
        return refuse(format!(
            "node {name} is no member of this cluster: it was removed; reset its machine with \
             `kabuki reset` and let it join again"
        ));
    };
    if !is_of_key(node, &key) {
        return refuse(format!(
            "node {name} joined with another key: another machine has taken its name; reset this \
             machine with `kabuki reset` and let it join again"
        ));
    }
    let unusable = |e: CharterError| StatusError::unavailable(e.to_string());
    let charter = Charter::read(view).map_err(unusable)?;
    let (authority, bundle_pem) = authority(view).map_err(unusable)?;
    let addresses = match known.role {
        Role::Server => certificate_addresses(&addresses_now(node), &charter),
        Role::Worker => Vec::new(),
    };
    let certificate = authority.node_certificate(csr_pem, name, known.role, &addresses);
    let certificate = certificate.map_err(|e| StatusError::bad_request(e.to_string()))?;
    let note = note(node, &authority, &bundle_pem);
    Ok(((certificate, bundle_pem), note))
}

/// The addresses that a server told when it joined, and those that it has now.
fn addresses_now(node: &Stored) -> Vec<IpAddr> {
    let mut all = host_addresses(node);
    if let Ok(typed) = node.typed::<Node>() {
        let status = typed.status.as_ref().and_then(|s| s.addresses.as_ref());
        let now = status.into_iter().flatten().map(|a| a.address.as_str());
        all.extend(now.flat_map(split));
    }
    all
}

fn note(node: &Stored, authority: &Authority, bundle_pem: &str) -> Option<Request> {
    let now = charter::marks(authority, bundle_pem);
    let patch = json!({"metadata": {"annotations": {
        CA_SIGNER: now.signer, CA_BUNDLE: now.bundle,
    }}});
    (CaMarks::of(node) != now).then(|| merge(&node.key, &patch))
}
