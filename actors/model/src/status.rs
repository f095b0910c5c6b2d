//! Refusals in the shape of Kubernetes' `Status` (API conventions, "Response Status Kind").
//! They are plain data, so that they pass the binary codec; [`StatusError::to_json`] gives the
//! shape that clients know.

use crate::object::{ObjectKey, Resource};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `metav1.StatusReason`: the machine-readable cause of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServiceUnavailable,
    Timeout,
}

impl Reason {
    /// The HTTP status code that goes with the reason.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// `metav1.StatusCause`: one field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Which rule the field broke.
    pub reason: CauseReason,
    /// The field's path, for example `spec.containers[0].image`.
    pub field: String,
    /// What is wrong, as Kubernetes words it, without the field's name.
    pub message: String,
}

/// `metav1.CauseType`: which rule a field broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum CauseReason {
    FieldValueNotFound,
    FieldValueRequired,
    FieldValueDuplicate,
    FieldValueInvalid,
    FieldValueNotSupported,
    FieldValueForbidden,
    FieldValueTooLong,
    FieldValueTooMany,
    FieldValueTypeInvalid,
    FieldManagerConflict,
}

impl Cause {
    /// `field: Required value: detail`.
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::build(
            CauseReason::FieldValueRequired,
            field,
            "Required value",
            detail,
        )
    }

    /// `field: Invalid value: VALUE: detail`; strings are quoted.
    pub fn invalid(field: impl Into<String>, value: impl Serialize, detail: &str) -> Self {
        let head = format!("Invalid value: {}", shown(&value));
        Self::build(CauseReason::FieldValueInvalid, field, &head, detail)
    }

    /// `field: Forbidden: detail`.
    pub fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        Self::build(CauseReason::FieldValueForbidden, field, "Forbidden", detail)
    }

    /// `field: Duplicate value: VALUE`.
    pub fn duplicate(field: impl Into<String>, value: impl Serialize) -> Self {
        let head = format!("Duplicate value: {}", shown(&value));
        Self::build(CauseReason::FieldValueDuplicate, field, &head, "")
    }

    /// `field: Unsupported value: VALUE: supported values: "a", "b"`.
    pub fn unsupported(field: impl Into<String>, value: impl Serialize, allowed: &[&str]) -> Self {
        let head = format!("Unsupported value: {}", shown(&value));
        let allowed: Vec<String> = allowed.iter().map(|a| format!("{a:?}")).collect();
        let detail = format!("supported values: {}", allowed.join(", "));
        Self::build(CauseReason::FieldValueNotSupported, field, &head, &detail)
    }

    /// `field: Too long: may not be more than MAX bytes`.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self::build(CauseReason::FieldValueTooLong, field, "Too long", &detail)
    }

    /// `field: Not found: VALUE`.
    pub fn not_found(field: impl Into<String>, value: impl Serialize) -> Self {
        let head = format!("Not found: {}", shown(&value));
        Self::build(CauseReason::FieldValueNotFound, field, &head, "")
    }

    fn build(reason: CauseReason, field: impl Into<String>, head: &str, detail: &str) -> Self {
        let message = match detail {
            "" => head.to_string(),
            _ => format!("{head}: {detail}"),
        };
        Self {
            reason,
            field: field.into(),
            message,
        }
    }
}

fn shown(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "<unprintable>".to_string())
}

/// A refusal: what failed, where in the input, and (through the reason) what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusError {
    /// The machine-readable reason, which also gives the HTTP code.
    pub reason: Reason,
    /// The whole message, for people.
    pub message: String,
    /// The resource (`pods`, `deployments.apps`) that it is about; empty when none.
    pub resource: String,
    /// The object's name; empty when none.
    pub name: String,
    /// The fields that are wrong.
    pub causes: Vec<Cause>,
    /// How long to wait before trying again, in seconds.
    pub retry_after_s: Option<u32>,
    /// Where a list can go on that cannot go on as it began; `None` for all else. Apart, because
    /// errors are to be small.
    pub remainder: Option<Box<Remainder>>,
}

/// The rest of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remainder {
    /// The token that asks for it.
    pub continue_token: String,
}

impl StatusError {
    /// A refusal without object and causes.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            resource: String::new(),
            name: String::new(),
            causes: Vec::new(),
            retry_after_s: None,
            remainder: None,
        }
    }

    /// The same refusal, about the object `name` of `resource`.
    pub fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.resource = resource.as_str().to_string();
        self.name = name.to_string();
        self
    }

    /// `pods "web" not found`.
    pub fn not_found(key: &ObjectKey) -> Self {
        let message = format!("{} {:?} not found", key.resource, &*key.name);
        Self::new(Reason::NotFound, message).about(&key.resource, &key.name)
    }

    /// `pods "web" already exists`.
    pub fn already_exists(key: &ObjectKey) -> Self {
        let message = format!("{} {:?} already exists", key.resource, &*key.name);
        Self::new(Reason::AlreadyExists, message).about(&key.resource, &key.name)
    }

    /// Optimistic concurrency failed: the object changed since the caller read it.
    pub fn conflict(key: &ObjectKey, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {:?}: {why}",
            key.resource, &*key.name
        );
        Self::new(Reason::Conflict, message).about(&key.resource, &key.name)
    }

    /// `Pod "web" is invalid: [causes]`, as Kubernetes words it.
    pub fn invalid(kind: &str, resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        let shown: Vec<String> = causes
            .iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect();
        let body = match shown.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let group = resource.group();
        let kind = match group {
            "" => kind.to_string(),
            _ => format!("{kind}.{group}"),
        };
        let mut error = Self::new(
            Reason::Invalid,
            format!("{kind} {name:?} is invalid: {body}"),
        )
        .about(resource, name);
        error.causes = causes;
        error
    }

    /// There is no such part of the API.
    pub fn not_served() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(Reason::NotFound, message)
    }

    /// Options of a request that cannot be, as Kubernetes refuses them; `form` is their kind.
    pub fn invalid_options(form: &str, cause: Cause) -> Self {
        let form = format!("{form}.meta.k8s.io");
        let message = format!("{form} \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut error = Self::new(Reason::Invalid, message);
        error.resource = form;
        error.causes.push(cause);
        error
    }

    /// `pods "web" is forbidden: why`.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let what = match name {
            "" => resource.to_string(),
            _ => format!("{resource} {name:?}"),
        };
        Self::new(Reason::Forbidden, format!("{what} is forbidden: {why}")).about(resource, name)
    }

    /// A request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// A broken invariant or a failed effect on the server.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::InternalError, message)
    }

    /// Nothing is known of the outcome: the request may have been performed.
    pub fn unknown_outcome(message: impl Into<String>) -> Self {
        Self::new(Reason::ServiceUnavailable, message)
    }

    /// Whether the request is known not to have been performed, for want of a server that could:
    /// the same one may be sent again.
    pub fn is_undone(&self) -> bool {
        self.reason == Reason::ServiceUnavailable && self.retry_after_s.is_some()
    }

    /// The server cannot answer now, and has done nothing; the same request may succeed later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let mut error = Self::new(Reason::ServiceUnavailable, message);
        error.retry_after_s = Some(1);
        error
    }

    /// The caller sent more than it may.
    pub fn too_many_requests(message: impl Into<String>) -> Self {
        let mut error = Self::new(Reason::TooManyRequests, message);
        error.retry_after_s = Some(1);
        error
    }

    /// A watch or continue token older than what the server still holds.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// The `v1` `Status` object that clients know.
    pub fn to_json(&self) -> serde_json::Value {
        let causes: Vec<serde_json::Value> = self
            .causes
            .iter()
            .map(|c| {
                serde_json::json!({
                    "reason": format!("{:?}", c.reason), "message": c.message, "field": c.field,
                })
            })
            .collect();
        let mut details = serde_json::Map::new();
        let (plural, group) = match self.resource.split_once('.') {
            Some((plural, group)) => (plural, group),
            None => (self.resource.as_str(), ""),
        };
        for (field, value) in [
            ("name", self.name.as_str()),
            ("group", group),
            ("kind", plural),
        ] {
            if !value.is_empty() {
                details.insert(field.to_string(), value.into());
            }
        }
        if !causes.is_empty() {
            details.insert("causes".to_string(), causes.into());
        }
        if let Some(seconds) = self.retry_after_s {
            details.insert("retryAfterSeconds".to_string(), seconds.into());
        }
        let mut metadata = serde_json::Map::new();
        if let Some(rest) = &self.remainder {
            metadata.insert("continue".to_string(), rest.continue_token.as_str().into());
        }
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "reason": format!("{:?}", self.reason),
            "details": details, "code": self.reason.code(),
        })
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StatusError {}
