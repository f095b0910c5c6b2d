//! Turns a write into a command, or refuses it with every cause.

use crate::commit::Commit;
use crate::write;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::k8s_openapi::jiff::Timestamp;
use kabuki_model::request::{Answer, Request};
use kabuki_model::view::View;

/// What a verdict depends on beside state, caller and request.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The present time.
    pub now: Timestamp,
    /// Fresh random bits, for a uid and a generated name.
    pub entropy: u128,
    /// The term of the leader that admits.
    pub term: u64,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Nothing is to be written: a read, a dry run, or a write that changes nothing.
    Answer(Answer),
    /// One write.
    Commit(Commit),
    /// Many independent writes (bindings, a collection), each with its own outcome.
    Each(Vec<Result<Commit, StatusError>>),
}

/// Decides on a request: authorises, defaults, mutates, validates. `view` must be the newest
/// state that the caller can have seen.
pub fn admit(
    view: &dyn View,
    who: &Identity,
    request: &Request,
    cx: &Context,
) -> Result<Verdict, StatusError> {
    crate::authorize_request(view, who, request)?;
    match request {
        Request::Get { .. } | Request::List(_) => crate::read(view, request).map(Verdict::Answer),
        Request::Create {
            resource,
            namespace,
            object,
            options,
        } => write::create(view, resource, namespace, object, options, who, cx),
        Request::Update {
            key,
            subresource,
            object,
            options,
        } => {
            let target = write::Target {
                key,
                subresource: *subresource,
                options,
            };
            write::replace(view, who, target, object, cx)
        }
        Request::Patch {
            key,
            subresource,
            patch_type,
            patch,
            options,
        } => {
            let target = write::Target {
                key,
                subresource: *subresource,
                options,
            };
            write::patch(view, who, target, *patch_type, patch, cx)
        }
        Request::Delete { key, options } => write::delete(view, key, options, cx),
        Request::DeleteCollection { selection, options } => {
            write::delete_collection(view, selection, options, cx)
        }
        Request::Bind(bindings) => Ok(Verdict::Each(
            bindings.iter().map(|b| write::bind(view, b, cx)).collect(),
        )),
        Request::Evict { pod, options } => write::evict(view, pod, options, cx),
        Request::Review {
            kind,
            namespace,
            object,
        } => crate::review(view, who, *kind, namespace, object).map(Verdict::Answer),
        // They need the cluster's keys, which no pure function can use.
        Request::Token { .. } | Request::TokenRequest { .. } => {
            Err(crate::review::needs_keys("tokens are issued"))
        }
    }
}
