//! Acting as somebody else (Kubernetes, "User impersonation"): whoever may `impersonate` a user,
//! group, uid or fact is taken for one who has it.

use crate::error;
use crate::query::decode;
use http::{HeaderMap, HeaderName};
use kabuki_model::StatusError;
use kabuki_model::identity::{ANONYMOUS, GROUP_AUTHENTICATED, GROUP_UNAUTHENTICATED, Identity};
use kabuki_protocol::front::{AccessAttributes, Authenticated, Front};
use std::collections::BTreeMap;

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const PREFIX: &str = "impersonate-";
const EXTRA: &str = "impersonate-extra-";

/// Whether a request has anything to do with it.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.keys().any(|n| n.as_str().starts_with(PREFIX))
}

/// The one whom the caller acts as: itself, unless it says otherwise.
pub(super) fn impersonate(
    front: &dyn Front,
    caller: Authenticated,
    headers: &HeaderMap,
) -> Result<Authenticated, StatusError> {
    if !is_wanted(headers) {
        return Ok(caller);
    }
    let wanted = Wanted::read(headers)?;
    for asked in wanted.accesses() {
        let decision = front.authorize(&caller.who, &asked);
        if !decision.allowed {
            return Err(error::forbidden(&caller.who, &asked, &decision.reason));
        }
    }
    Ok(wanted.identity())
}

/// Whom a request wants to be taken for.
struct Wanted {
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Result<Self, StatusError> {
        let all = |name: &HeaderName| -> Result<Vec<String>, StatusError> {
            let values = headers.get_all(name).into_iter();
            values.map(|v| text(v, name.as_str())).collect()
        };
        let one = |name: HeaderName| -> Result<String, StatusError> {
            let mut values = all(&name)?;
            match values.len() {
                0 | 1 => Ok(values.pop().unwrap_or_default()),
                _ => Err(bad(format!("{name} is given more than once"))),
            }
        };
        let mut extra = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in headers {
            let name = name.as_str();
            if let Some(key) = name.strip_prefix(EXTRA) {
                let value = text(value, name)?;
                extra.entry(decode(key, false)).or_default().push(value);
            } else if name.starts_with(PREFIX) && ![USER, GROUP, UID].iter().any(|n| n == name) {
                return Err(bad(format!("the header {name:?} is not known")));
            }
        }
        let wanted = Self {
            user: one(USER)?,
            groups: all(&GROUP)?,
            uid: one(UID)?,
            extra,
        };
        match wanted.user.is_empty() {
            true => Err(bad(
                "groups, a uid or extra facts are requested without impersonating a user"
                    .to_string(),
            )),
            false => Ok(wanted),
        }
    }

    /// The namespace and name of a service account.
    fn account(&self) -> Option<(&str, &str)> {
        let rest = self.user.strip_prefix("system:serviceaccount:")?;
        let (namespace, name) = rest.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty()).then_some((namespace, name))
    }

    /// What the caller must be allowed to.
    fn accesses(&self) -> Vec<AccessAttributes> {
        let access = |group: &str, resource: &str, name: &str| AccessAttributes {
            verb: "impersonate".to_string(),
            group: group.to_string(),
            resource: resource.to_string(),
            name: name.to_string(),
            ..AccessAttributes::default()
        };
        let mut all = vec![match self.account() {
            Some((namespace, name)) => AccessAttributes {
                namespace: namespace.to_string(),
                ..access("", "serviceaccounts", name)
            },
            None => access("", "users", &self.user),
        }];
        all.extend(self.groups.iter().map(|g| access("", "groups", g)));
        const GROUP: &str = "authentication.k8s.io";
        if !self.uid.is_empty() {
            all.push(access(GROUP, "uids", &self.uid));
        }
        for (key, values) in &self.extra {
            all.extend(values.iter().map(|value| AccessAttributes {
                subresource: key.clone(),
                ..access(GROUP, "userextras", value)
            }));
        }
        all
    }

    fn identity(self) -> Authenticated {
        let groups = match (self.account(), self.groups.is_empty()) {
            // A service account is in its groups without being told.
            (Some((namespace, name)), true) => Identity::service_account(namespace, name).groups,
            (None, true) if self.user == ANONYMOUS => vec![GROUP_UNAUTHENTICATED.to_string()],
            _ => self.groups,
        };
        // The group of everyone is implied.
        let groups = groups.into_iter().filter(|g| g != GROUP_AUTHENTICATED);
        Authenticated {
            uid: self.uid,
            extra: self.extra,
            ..Authenticated::new(Identity::new(self.user, groups))
        }
    }
}

fn text(value: &http::HeaderValue, name: &str) -> Result<String, StatusError> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_string)
        .map_err(|_| bad(format!("{name} is no text")))
}

fn bad(why: String) -> StatusError {
    StatusError::bad_request(format!("impersonation: {why}"))
}
