//! What a machine asks to be: its name, address, labels and taints.

use kabuki_model::k8s_openapi::api::core::v1::Taint;
use kabuki_model::kind::may_label_itself;
use kabuki_model::syntax;
use kabuki_protocol::join::{JoinRefusal, JoinRequest};
use serde_json::Value;

/// A name is part of a certificate and of DNS names: no longer than a label of DNS.
const MAX_NAME: usize = 63;
/// A machine has not more addresses.
const MAX_ADDRESSES: usize = 64;
/// A Node has not more labels, or taints, from its beginning.
const MAX_ENTRIES: usize = 128;

fn invalid<T>(why: String) -> Result<T, JoinRefusal> {
    Err(JoinRefusal::Invalid(why))
}

/// Refuses what no node may be.
pub(super) fn check(request: &JoinRequest) -> Result<(), JoinRefusal> {
    let name = &request.name;
    if let Some(why) = syntax::dns_subdomain(name) {
        return invalid(format!("the name {name:?} {why}"));
    }
    if name.len() > MAX_NAME {
        let length = name.len();
        return invalid(format!(
            "the name {name:?} has {length} characters; at most {MAX_NAME} are allowed"
        ));
    }
    check_address(&request.address)?;
    if request.host_addresses.len() > MAX_ADDRESSES {
        return invalid(format!(
            "a machine with more than {MAX_ADDRESSES} addresses"
        ));
    }
    if request.labels.len() > MAX_ENTRIES || request.taints_json.len() > MAX_ENTRIES {
        return invalid(format!("more than {MAX_ENTRIES} labels or taints"));
    }
    for (key, value) in &request.labels {
        if let Some(why) = syntax::qualified_name(key) {
            return invalid(format!("the label {key:?}: {why}"));
        }
        if let Some(why) = syntax::label_value(value) {
            return invalid(format!("the value {value:?} of the label {key}: {why}"));
        }
        if !may_label_itself(key) {
            return invalid(format!(
                "a node may not give itself the label {key}; an administrator sets it with \
                 `kabuki label node {name} {key}={value}`"
            ));
        }
    }
    Ok(())
}

fn check_address(address: &str) -> Result<(), JoinRefusal> {
    let parts = address.rsplit_once(':');
    let good = parts.is_some_and(|(host, port)| {
        let host = host
            .strip_prefix('[')
            .map_or(Some(host), |h| h.strip_suffix(']'));
        host.is_some_and(|h| !h.is_empty() && !h.contains(char::is_whitespace))
            && port.parse::<u16>().is_ok_and(|p| p != 0)
    });
    match good && address.len() <= 255 {
        true => Ok(()),
        false => invalid(format!(
            "the address {address:?} is not of the form HOST:PORT"
        )),
    }
}

/// The taints as objects.
pub(super) fn taints(request: &JoinRequest) -> Result<Vec<Value>, JoinRefusal> {
    let taint = |text: &String| {
        let taint: Result<Taint, _> = serde_json::from_str(text);
        let value = taint.and_then(|taint| serde_json::to_value(&taint));
        value.map_err(|e| JoinRefusal::Invalid(format!("the taint {text:?}: {e}")))
    };
    request.taints_json.iter().map(taint).collect()
}
