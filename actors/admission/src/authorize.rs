//! Whether a caller may do something. Administrators and the control plane's own identities may
//! do everything; a node agent only what concerns its node (Kubernetes, "Using Node
//! Authorization"); every other authenticated user may read all but secrets.

use kabuki_model::identity::{GROUP_MASTERS, Identity};
use kabuki_model::request::{ListRequest, Request, Subresource};
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError};

/// What is to be done, in the words of Kubernetes' authorisation attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'static str,
    /// On which resource.
    pub resource: &'a Resource,
    /// On which part of it: `status`, `log`, `exec`; empty for the object itself.
    pub subresource: &'static str,
    /// Where; empty for all namespaces and for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Which one; empty for many.
    pub name: &'a str,
    /// The node that a list or watch is limited to by its field selector.
    pub only_node: Option<String>,
}

impl<'a> Attributes<'a> {
    /// An access to one object.
    pub fn object(verb: &'static str, key: &'a ObjectKey, subresource: &'static str) -> Self {
        Self {
            verb,
            resource: &key.resource,
            subresource,
            namespace: &key.namespace,
            name: &key.name,
            only_node: None,
        }
    }

    /// An access to many objects.
    pub fn selection(verb: &'static str, selection: &'a ListRequest) -> Self {
        let only_node = selection
            .fields
            .split(',')
            .find_map(|f| f.strip_prefix("spec.nodeName="))
            .map(|n| n.trim_start_matches('=').to_string());
        // Who asks for one name sees no more than who gets that object.
        let mut fields = selection.fields.split(',');
        let name = fields.find_map(|f| f.strip_prefix("metadata.name="));
        Self {
            verb,
            resource: &selection.resource,
            subresource: "",
            namespace: selection.namespace.as_deref().unwrap_or_default(),
            name: name.map_or("", |n| n.trim_start_matches('=')),
            only_node,
        }
    }
}

/// Refuses a request that `who` may not make.
pub fn authorize_request(
    view: &dyn View,
    who: &Identity,
    request: &Request,
) -> Result<(), StatusError> {
    let part = |s: &Option<Subresource>| match s {
        None => "",
        Some(Subresource::Status) => "status",
        Some(Subresource::Scale) => "scale",
        Some(Subresource::Finalize) => "finalize",
        Some(Subresource::EphemeralContainers) => "ephemeralcontainers",
    };
    match request {
        Request::Get { key, subresource } => authorize(
            view,
            who,
            &Attributes::object("get", key, part(subresource)),
        ),
        Request::List(selection) => authorize(view, who, &Attributes::selection("list", selection)),
        Request::Create {
            resource,
            namespace,
            ..
        } => {
            let attributes = Attributes {
                verb: "create",
                resource,
                subresource: "",
                namespace,
                name: "",
                only_node: None,
            };
            authorize(view, who, &attributes)
        }
        Request::Update {
            key, subresource, ..
        } => authorize(
            view,
            who,
            &Attributes::object("update", key, part(subresource)),
        ),
        Request::Patch {
            key, subresource, ..
        } => authorize(
            view,
            who,
            &Attributes::object("patch", key, part(subresource)),
        ),
        Request::Delete { key, .. } => authorize(view, who, &Attributes::object("delete", key, "")),
        Request::DeleteCollection { selection, .. } => authorize(
            view,
            who,
            &Attributes::selection("deletecollection", selection),
        ),
        Request::Bind(bindings) => bindings.iter().try_for_each(|b| {
            authorize(view, who, &Attributes::object("create", &b.pod, "binding"))
        }),
        Request::Evict { pod, .. } => {
            authorize(view, who, &Attributes::object("create", pod, "eviction"))
        }
        Request::Token { account, .. } => {
            authorize(view, who, &Attributes::object("create", account, "token"))
        }
    }
}

/// Refuses what `who` may not do.
pub fn authorize(
    view: &dyn View,
    who: &Identity,
    attributes: &Attributes,
) -> Result<(), StatusError> {
    let allowed = who.in_group(GROUP_MASTERS)
        || who.controller_name().is_some()
        || *who == Identity::scheduler()
        || match who.node_name() {
            Some(node) => node_may(view, node, attributes),
            None => reads(attributes) && *attributes.resource != Resource::SECRETS,
        };
    if allowed {
        return Ok(());
    }
    Err(denied(who, attributes))
}

fn reads(attributes: &Attributes) -> bool {
    let plain = matches!(attributes.subresource, "" | "status" | "scale" | "log");
    plain && matches!(attributes.verb, "get" | "list" | "watch")
}

/// What the agent of `node` may do: read what its pods need, and write its own node, the pods
/// bound to it, and events.
fn node_may(view: &dyn View, node: &str, attributes: &Attributes) -> bool {
    let resource = attributes.resource;
    let own_pod = || {
        let key = ObjectKey::new(resource.clone(), attributes.namespace, attributes.name);
        let bound = kabuki_model::view::index_entries;
        view.get(&key).is_none_or(|pod| {
            bound(&pod.key, &pod.json)
                .iter()
                .any(|(index, value)| *index == kabuki_model::view::Index::Node && value == node)
        })
    };
    match (resource.as_str(), attributes.verb) {
        ("pods", "list" | "watch") => attributes.only_node.as_deref() == Some(node),
        ("pods", "get") => own_pod(),
        ("pods", "update" | "patch") => attributes.subresource == "status" && own_pod(),
        ("pods", "delete") => own_pod(),
        ("pods", "create") => attributes.subresource == "eviction" && own_pod(),
        ("nodes", "get" | "list" | "watch") => true,
        ("nodes", "create") => true,
        ("nodes", "update" | "patch") => attributes.name == node,
        ("events", "create" | "update" | "patch") => true,
        ("configmaps" | "secrets", "get" | "watch") => referenced(view, node, attributes),
        ("serviceaccounts" | "namespaces", "get" | "list" | "watch") => true,
        _ => false,
    }
}

/// Whether a pod bound to `node` names the ConfigMap or Secret. The pod's text is searched for
/// the quoted name: a superset of the fields that can refer to one, which never refuses a
/// rightful reader.
fn referenced(view: &dyn View, node: &str, attributes: &Attributes) -> bool {
    // An empty text is in every pod.
    if attributes.name.is_empty() {
        return false;
    }
    let quoted = format!("\"{}\"", attributes.name);
    view.indexed(kabuki_model::view::Index::Node, node)
        .filter(|pod| *pod.key.namespace == *attributes.namespace)
        .any(|pod| {
            pod.json
                .windows(quoted.len())
                .any(|w| w == quoted.as_bytes())
        })
}

fn denied(who: &Identity, attributes: &Attributes) -> StatusError {
    let resource = attributes.resource;
    let what = match attributes.subresource {
        "" => resource.plural().to_string(),
        part => format!("{}/{part}", resource.plural()),
    };
    let place = match attributes.namespace {
        "" => " at the cluster scope".to_string(),
        namespace => format!(" in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {:?} cannot {} resource {what:?} in API group {:?}{place}",
        who.user,
        attributes.verb,
        resource.group(),
    );
    StatusError::forbidden(resource, attributes.name, &why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::view::MapView;

    fn may(who: &Identity, verb: &'static str, resource: Resource, name: &str) -> bool {
        let key = ObjectKey::new(resource, "default", name);
        let view = MapView::default();
        authorize(&view, who, &Attributes::object(verb, &key, "")).is_ok()
    }

    #[test]
    fn users_read_and_administrators_write() {
        let user = Identity::new("jo", []);
        let admin = Identity::new("ann", [GROUP_MASTERS.to_string()]);
        assert!(may(&user, "get", Resource::PODS, "web"));
        assert!(!may(&user, "get", Resource::SECRETS, "key"));
        assert!(!may(&user, "delete", Resource::PODS, "web"));
        assert!(may(&admin, "delete", Resource::SECRETS, "key"));
    }

    #[test]
    fn a_node_writes_only_its_own_node() {
        let node = Identity::node("a");
        assert!(may(&node, "patch", Resource::NODES, "a"));
        assert!(!may(&node, "patch", Resource::NODES, "b"));
        assert!(!may(&node, "delete", Resource::DEPLOYMENTS, "web"));
        assert!(!may(&node, "get", Resource::SECRETS, "key"));
    }

    #[test]
    fn a_refusal_says_who_what_and_where() {
        let user = Identity::new("jo", []);
        let key = ObjectKey::new(Resource::DEPLOYMENTS, "default", "web");
        let attributes = Attributes::object("delete", &key, "");
        let error = authorize(&MapView::default(), &user, &attributes).expect_err("refused");
        assert_eq!(
            error.message,
            "deployments.apps \"web\" is forbidden: User \"jo\" cannot delete resource \
             \"deployments\" in API group \"apps\" in the namespace \"default\""
        );
    }
}
