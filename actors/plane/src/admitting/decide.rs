//! Whether a machine may join, and as what: a pure function from the state, the request, the time
//! and entropy to the writes that make it a member, or to a refusal.
//!
//! What is asked of a stranger comes first: version, clock and token. Only who has proved the
//! token learns anything of the cluster's names.

mod token;
mod wish;

#[cfg(test)]
pub(super) mod tests;

use super::blocks::Block;
use super::charter::{self, Charter, CharterError};
use super::node::{CaMarks, NodeFacts, annotation, node_key};
use jiff::Timestamp;
use kabuki_cluster::facts::{self, MemberNode, member};
use kabuki_model::bootstrap_token::TokenRole;
use kabuki_model::request::Request;
use kabuki_model::view::View;
use kabuki_model::{Resource, Stored};
use kabuki_protocol::join::{JoinRefusal, JoinRequest, MAX_CLOCK_SKEW_S, Role, VersionRange};

/// A machine whose role is left to the cluster becomes a server while there are fewer: more than
/// five voters make writes slower and the cluster no safer.
pub const WANTED_SERVERS: usize = 5;

/// What a decision is made from, beside the state.
pub struct Given<'a> {
    /// What is asked.
    pub request: &'a JoinRequest,
    /// The hash of the key of the certificate request.
    pub key: &'a str,
    /// The time.
    pub now: Timestamp,
    /// Random bits, for the number of a server.
    pub entropy: u128,
    /// What this cluster speaks.
    pub versions: VersionRange,
    /// The version of this cluster's program, for people.
    pub program: &'a str,
}

/// What a machine is admitted as.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// What the node is.
    pub facts: NodeFacts,
    /// The writes that make it so, in their order; each is bound to what the decision was made
    /// from, so that one of them fails when that has changed, and all is decided anew. None when
    /// the machine is a member already and asks again.
    pub writes: Vec<Request>,
}

/// Decides.
pub fn decide(view: &dyn View, given: &Given<'_>) -> Result<Admission, JoinRefusal> {
    let request = given.request;
    check_versions(given)?;
    check_clock(request, given.now)?;
    let token = token::prove(view, given)?;
    let charter = Charter::read(view).map_err(unusable)?;
    wish::check(request)?;
    let nodes: Vec<&Stored> = view
        .scan(&Resource::NODES, None, None)
        .map(|n| &**n)
        .collect();
    let members: Vec<MemberNode> = nodes.iter().filter_map(|n| member(n)).collect();
    let current = view.get(&node_key(&request.name));
    if let Some(known) = members.iter().find(|m| m.name == request.name) {
        return again(given, known, current.map(|c| &**c));
    }
    let role = role(request.role, token.role, &members)?;
    let (authority, bundle_pem) = charter::authority(view).map_err(unusable)?;
    let server_id = (role == Role::Server).then(|| fresh_id(given.entropy, &members));
    let facts = NodeFacts {
        name: request.name.clone(),
        key: given.key.to_string(),
        role,
        server_id,
        address: request.address.clone(),
        host_addresses: request.host_addresses.clone(),
        program: request.program.clone(),
        pod_cidr: pod_block(&charter, &nodes, current.map(|c| &**c))?.to_string(),
        ca: charter::marks(&authority, &bundle_pem),
        labels: request.labels.clone(),
        taints: wish::taints(request)?,
    };
    let mut writes: Vec<Request> = token::claim(view, &token, given).into_iter().collect();
    writes.push(match current {
        Some(node) => facts.adopt(node),
        None => facts.create(),
    });
    Ok(Admission { facts, writes })
}

/// Something of the cluster's own cannot be read: not the joiner's fault.
pub(super) fn unusable(error: CharterError) -> JoinRefusal {
    JoinRefusal::Unavailable(error.to_string())
}

fn check_versions(given: &Given<'_>) -> Result<(), JoinRefusal> {
    let (theirs, ours) = (given.request.versions, given.versions);
    if theirs.oldest <= ours.newest && ours.oldest <= theirs.newest {
        return Ok(());
    }
    Err(JoinRefusal::Version {
        joiner: given.request.program.clone(),
        joiner_oldest: theirs.oldest,
        joiner_newest: theirs.newest,
        cluster: given.program.to_string(),
        oldest: ours.oldest,
        newest: ours.newest,
    })
}

fn check_clock(request: &JoinRequest, now: Timestamp) -> Result<(), JoinRefusal> {
    let ahead = request.now_s.saturating_sub(now.as_second());
    if ahead.unsigned_abs() <= MAX_CLOCK_SKEW_S.unsigned_abs() {
        return Ok(());
    }
    let direction = match ahead > 0 {
        true => "ahead of",
        false => "behind",
    };
    Err(JoinRefusal::ClockSkew {
        seconds: ahead.saturating_abs(),
        direction: direction.to_string(),
    })
}

/// A machine that is a member asks again: its answer was lost. It is known by its key.
fn again(
    given: &Given<'_>,
    known: &MemberNode,
    node: Option<&Stored>,
) -> Result<Admission, JoinRefusal> {
    let request = given.request;
    if known.key != given.key {
        return Err(JoinRefusal::NameTaken {
            name: known.name.clone(),
        });
    }
    if known.leaving {
        let why = format!(
            "node {} is being removed; try again in a moment",
            known.name
        );
        return Err(JoinRefusal::Unavailable(why));
    }
    if let Some(wanted) = request.role.filter(|r| *r != known.role) {
        let (is, wanted) = (
            super::node::role_text(known.role),
            super::node::role_text(wanted),
        );
        return Err(JoinRefusal::Invalid(format!(
            "node {0} is a member as a {is} and cannot become a {wanted}: remove it first with \
             `kabuki delete node {0}`, and reset its machine",
            known.name
        )));
    }
    let pod_cidr = node.and_then(pod_cidr).map(|b| b.to_string());
    let facts = NodeFacts {
        name: known.name.clone(),
        key: known.key.clone(),
        role: known.role,
        server_id: known.server_id,
        address: request.address.clone(),
        host_addresses: request.host_addresses.clone(),
        program: request.program.clone(),
        pod_cidr: pod_cidr.unwrap_or_default(),
        // What it is given now is noted when it renews.
        ca: node.map(CaMarks::of).unwrap_or_default(),
        labels: request.labels.clone(),
        taints: Vec::new(),
    };
    let addresses = super::node::joined(&facts.host_addresses);
    let same = |node: &&Stored| {
        let told = annotation(node, super::node::HOST_ADDRESSES);
        known.address == facts.address
            && known.program == facts.program
            && (known.role == Role::Worker || told == Some(&addresses))
    };
    let moved = node.filter(|n| !same(n)).map(|n| facts.adopt(n));
    Ok(Admission {
        facts,
        writes: moved.into_iter().collect(),
    })
}

/// The role that is granted: the one that is wanted, if the token allows it. When it is left to
/// the cluster, a server while there are fewer than [`WANTED_SERVERS`], else a worker, as far as
/// the token allows both.
fn role(
    wanted: Option<Role>,
    allowed: TokenRole,
    members: &[MemberNode],
) -> Result<Role, JoinRefusal> {
    let servers = members
        .iter()
        .filter(|m| m.role == Role::Server && !m.leaving);
    let few = servers.count() < WANTED_SERVERS;
    match (wanted, allowed) {
        (None | Some(Role::Server), TokenRole::Server) | (Some(Role::Server), TokenRole::Any) => {
            Ok(Role::Server)
        }
        (None | Some(Role::Worker), TokenRole::Worker) | (Some(Role::Worker), TokenRole::Any) => {
            Ok(Role::Worker)
        }
        (None, TokenRole::Any) if few => Ok(Role::Server),
        (None, TokenRole::Any) => Ok(Role::Worker),
        (Some(wanted), allowed) => Err(JoinRefusal::Role {
            allowed: allowed.as_str().to_string(),
            wanted: super::node::role_text(wanted).to_string(),
        }),
    }
}

/// A number that no server has. Zero is no number.
fn fresh_id(entropy: u128, members: &[MemberNode]) -> u64 {
    // The sum of the halves, then the numbers after it: all but a few are free.
    let mut id = (entropy as u64).wrapping_add((entropy >> 64) as u64);
    while id == 0 || members.iter().any(|m| m.server_id == Some(id)) {
        id = id.wrapping_add(1);
    }
    id
}

/// The block that a Node has.
pub(super) fn pod_cidr(node: &Stored) -> Option<Block> {
    #[derive(serde::Deserialize)]
    struct Node {
        spec: Option<Spec>,
    }
    #[derive(serde::Deserialize)]
    struct Spec {
        #[serde(rename = "podCIDR")]
        pod_cidr: Option<String>,
    }
    let node: Node = serde_json::from_slice(&node.json).ok()?;
    node.spec?.pod_cidr?.parse().ok()
}

/// The block of a new node: the one that its Node has already, else the first that is free.
pub(super) fn pod_block(
    charter: &Charter,
    nodes: &[&Stored],
    current: Option<&Stored>,
) -> Result<Block, JoinRefusal> {
    let own = current.map(|c| &*c.key.name);
    let others = nodes.iter().filter(|n| Some(&*n.key.name) != own);
    let used: Vec<Block> = others.filter_map(|n| pod_cidr(n)).collect();
    let range = charter.pod_cidr;
    if let Some(held) = current.and_then(pod_cidr) {
        let good = range.contains(held) && !used.iter().any(|u| u.overlaps(held));
        return match good {
            true => Ok(held),
            false => Err(JoinRefusal::Invalid(format!(
                "there is a Node {} with the pod range {held}, which is not a free part of the \
                 cluster's {range}: remove it first with `kabuki delete node {0}`",
                own.unwrap_or_default()
            ))),
        };
    }
    let free = range.first_free(charter.node_prefix, &used);
    free.ok_or_else(|| JoinRefusal::NoPodCidr {
        range: range.to_string(),
    })
}

/// What a member is written down as, for those who sign its certificate.
pub(super) fn host_addresses(node: &Stored) -> Vec<std::net::IpAddr> {
    let text = annotation(node, super::node::HOST_ADDRESSES).unwrap_or_default();
    super::node::split(text)
}

/// Whether a Node is that of this key.
pub(super) fn is_of_key(node: &Stored, key: &str) -> bool {
    annotation(node, facts::KEY) == Some(key)
}
