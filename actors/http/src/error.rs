//! Refusals that the front makes itself, in Kubernetes' words.

use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::status::Reason;
use kabuki_protocol::front::AccessAttributes;

/// There is no such path, resource or version.
pub fn no_such_path() -> StatusError {
    StatusError::not_served()
}

/// The path is served, but not with this method.
pub fn method_not_allowed() -> StatusError {
    let message = "the server does not allow this method on the requested resource";
    StatusError::new(Reason::MethodNotAllowed, message)
}

/// The caller is not who it says, or says nothing.
pub fn unauthorized() -> StatusError {
    StatusError::new(Reason::Unauthorized, "Unauthorized")
}

/// The caller may not do this.
pub fn forbidden(who: &Identity, asked: &AccessAttributes, why: &str) -> StatusError {
    let AccessAttributes { verb, group, .. } = asked;
    let user = &who.user;
    let why = match why {
        "" => String::new(),
        why => format!(": {why}"),
    };
    if asked.resource.is_empty() {
        let path = &asked.path;
        let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}{why}");
        return StatusError::new(Reason::Forbidden, message);
    }
    let part = match asked.subresource.as_str() {
        "" => asked.resource.clone(),
        part => format!("{}/{part}", asked.resource),
    };
    let place = match asked.namespace.as_str() {
        "" => "at the cluster scope".to_string(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let full = match group.as_str() {
        "" => asked.resource.clone(),
        group => format!("{}.{group}", asked.resource),
    };
    let what = match asked.name.as_str() {
        "" => full.clone(),
        name => format!("{full} {name:?}"),
    };
    let mut error = StatusError::new(
        Reason::Forbidden,
        format!(
            "{what} is forbidden: User {user:?} cannot {verb} resource {part:?} in API group \
             {group:?} {place}{why}"
        ),
    );
    error.resource = full;
    error.name.clone_from(&asked.name);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_may_not_do_what_where() {
        let asked = AccessAttributes {
            verb: "list".to_string(),
            group: "apps".to_string(),
            resource: "deployments".to_string(),
            namespace: "web".to_string(),
            ..AccessAttributes::default()
        };
        let who = Identity::new("jane", []);
        let error = forbidden(&who, &asked, "");
        assert_eq!(
            error.message,
            "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in \
             API group \"apps\" in the namespace \"web\""
        );
        let path = AccessAttributes {
            verb: "get".to_string(),
            path: "/metrics".to_string(),
            ..AccessAttributes::default()
        };
        let error = forbidden(&who, &path, "");
        assert_eq!(
            error.message,
            "forbidden: User \"jane\" cannot get path \"/metrics\""
        );
    }
}
