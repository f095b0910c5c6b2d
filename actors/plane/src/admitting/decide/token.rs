//! The token: whether it is good, and claiming one that is good for one node.

use super::Given;
use kabuki_cluster::certificate::sha256;
use kabuki_model::bootstrap_token::{self, BootstrapToken, UsedBy};
use kabuki_model::request::{Request, WriteOptions};
use kabuki_model::view::View;
use kabuki_protocol::join::JoinRefusal;

/// The token of the request, proved by its secret and good now.
pub(super) fn prove(view: &dyn View, given: &Given<'_>) -> Result<BootstrapToken, JoinRefusal> {
    let request = given.request;
    let secret = view.get(&bootstrap_token::key(&request.token_id));
    // A damaged one is as good as none; the joiner is a stranger and learns no more.
    let token = secret.and_then(|s| BootstrapToken::read(s).ok());
    let known = token.filter(|t| is_same(&t.secret, &request.token_secret));
    let token = known.ok_or(JoinRefusal::UnknownToken)?;
    if let Some(at) = token.expires.filter(|at| *at <= given.now) {
        return Err(JoinRefusal::Expired { at: at.to_string() });
    }
    match &token.used_by {
        Some(used) if token.one_time && *used != user(given) => Err(JoinRefusal::Used {
            by: used.node.clone(),
        }),
        _ => Ok(token),
    }
}

fn user(given: &Given<'_>) -> UsedBy {
    UsedBy {
        node: given.request.name.clone(),
        key: given.key.to_string(),
    }
}

/// Compares in a time that does not depend on where they differ: hashes are compared, in full.
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (sha256(one.as_bytes()), sha256(other.as_bytes()));
    let different = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(different) == 0
}

/// Marks a token that is good for one node as used by this one, before the node is made: of two
/// that come at once, the second finds another revision. The machine that marked it is let in by
/// it again, so that nothing is lost by a crash in between.
pub(super) fn claim(view: &dyn View, token: &BootstrapToken, given: &Given<'_>) -> Option<Request> {
    if !token.one_time || token.used_by.is_some() {
        return None;
    }
    let secret = view.get(&bootstrap_token::key(&token.id))?;
    let mut used = token.clone();
    used.used_by = Some(user(given));
    let data = &used.to_value()["stringData"];
    let patch = serde_json::json!({
        "metadata": {"resourceVersion": secret.revision.to_string()}, "stringData": data,
    });
    Some(Request::Patch {
        key: secret.key.clone(),
        subresource: None,
        patch_type: kabuki_model::request::PatchType::Merge,
        patch: patch.to_string().into(),
        options: WriteOptions::default(),
    })
}
