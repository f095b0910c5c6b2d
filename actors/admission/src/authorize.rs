//! Whether a caller may do something. Administrators and the control plane's own identities may
//! do everything; a node agent only what concerns its node (Kubernetes, "Using Node
//! Authorization"); every other authenticated user may read all but secrets.

use kabuki_model::identity::{GROUP_MASTERS, Identity};
use kabuki_model::k8s_openapi::api::authentication::v1::TokenRequest;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::request::{ListRequest, Request, Subresource};
use kabuki_model::review::ReviewKind;
use kabuki_model::status::Reason;
use kabuki_model::view::View;
use kabuki_model::{ObjectKey, Resource, StatusError, Stored};

/// Where nodes keep their Leases.
const NODE_LEASES: &str = "kube-node-lease";

/// What is to be done, in the words of Kubernetes' authorisation attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'a str,
    /// On which resource.
    pub resource: &'a Resource,
    /// On which part of it: `status`, `log`, `exec`; empty for the object itself.
    pub subresource: &'a str,
    /// Where; empty for all namespaces and for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Which one; empty for many.
    pub name: &'a str,
    /// The node that a list or watch is limited to by its field selector.
    pub only_node: Option<String>,
}

impl<'a> Attributes<'a> {
    /// An access to one object.
    pub fn object(verb: &'a str, key: &'a ObjectKey, subresource: &'a str) -> Self {
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
    pub fn selection(verb: &'a str, selection: &'a ListRequest) -> Self {
        // Who asks for one name sees no more than who gets that object.
        let mut fields = selection.fields.split(',');
        let name = fields.find_map(|f| f.strip_prefix("metadata.name="));
        let only_node = only_node(&selection.fields);
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

/// The node that a field selector limits pods to.
pub fn only_node(fields: &str) -> Option<String> {
    let mut fields = fields.split(',');
    let node = fields.find_map(|f| f.strip_prefix("spec.nodeName="))?;
    Some(node.trim_start_matches('=').to_string())
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
        Some(Subresource::Resize) => "resize",
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
        Request::Token {
            account, bound_pod, ..
        } => token(view, who, account, bound_pod.as_ref()),
        Request::TokenRequest {
            account, object, ..
        } => token(view, who, account, bound_pod(object).as_ref()),
        Request::Review {
            kind, namespace, ..
        } => {
            let resource = Resource::named(&format!("{}.{}", kind.plural(), kind.group()));
            let attributes = Attributes {
                verb: "create",
                resource: &resource,
                subresource: "",
                namespace,
                name: "",
                only_node: None,
            };
            authorize(view, who, &attributes)
        }
    }
}

/// Refuses what `who` may not do.
pub fn authorize(
    view: &dyn View,
    who: &Identity,
    attributes: &Attributes,
) -> Result<(), StatusError> {
    match allowance(view, who, attributes) {
        Some(_) => Ok(()),
        None => Err(denied(who, attributes)),
    }
}

/// Why `who` may do something; `None` when it may not. All that is ever allowed on objects is
/// allowed here.
pub fn allowance(view: &dyn View, who: &Identity, attributes: &Attributes) -> Option<&'static str> {
    if who.is_anonymous() {
        return None;
    }
    if let Some(why) = all_powerful(who) {
        return Some(why);
    }
    if asks_about_itself(attributes) {
        return Some("everyone may ask what it may do");
    }
    match who.node_name() {
        Some(node) => node_may(view, node, attributes).then_some("a node may do it for its own"),
        None => (reads(attributes) && !may_be_secret(attributes.resource))
            .then_some("every user may read all but secrets"),
    }
}

/// Why `who` may use a path that is no object's; `None` when it may not. Those of whom nothing is
/// known may only see that the server is well and which version it is.
pub fn path_allowance(who: &Identity, verb: &str, path: &str) -> Option<&'static str> {
    const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
    let reads = matches!(verb, "get" | "head" | "options");
    // The parts of a check are for those who operate the cluster; whether it is well is for all.
    if reads && PUBLIC.contains(&path.trim_end_matches('/')) {
        return Some("everyone may see whether the server is well");
    }
    if who.is_anonymous() {
        return None;
    }
    all_powerful(who).or_else(|| reads.then_some("every user may read all but secrets"))
}

/// Refuses a path that `who` may not use.
pub fn authorize_path(who: &Identity, verb: &str, path: &str) -> Result<(), StatusError> {
    match path_allowance(who, verb, path) {
        Some(_) => Ok(()),
        None => Err(StatusError::new(
            Reason::Forbidden,
            format!("forbidden: User {:?} cannot {verb} path {path:?}", who.user),
        )),
    }
}

/// Why `who` may do everything, if it may.
pub(crate) fn all_powerful(who: &Identity) -> Option<&'static str> {
    if who.in_group(GROUP_MASTERS) {
        return Some("members of system:masters may do everything");
    }
    let own = who.controller_name().is_some() || *who == Identity::scheduler();
    own.then_some("the control plane may do everything")
}

fn reads(attributes: &Attributes) -> bool {
    let plain = matches!(attributes.subresource, "" | "status" | "scale" | "log");
    plain && matches!(attributes.verb, "get" | "list" | "watch")
}

/// Whether Secrets are meant, or among what is meant.
fn may_be_secret(resource: &Resource) -> bool {
    let plural = matches!(resource.plural(), "secrets" | "*");
    plural && matches!(resource.group(), "" | "*")
}

fn asks_about_itself(attributes: &Attributes) -> bool {
    let resource = attributes.resource;
    let kind = ReviewKind::of(resource.group(), resource.plural());
    attributes.verb == "create" && kind.is_some_and(ReviewKind::is_about_self)
}

/// Tokens of service accounts: a node asks for the accounts of its own pods alone, for tokens that
/// end with such a pod.
fn token(
    view: &dyn View,
    who: &Identity,
    account: &ObjectKey,
    bound_pod: Option<&(String, String)>,
) -> Result<(), StatusError> {
    let attributes = Attributes::object("create", account, "token");
    if all_powerful(who).is_some() {
        return Ok(());
    }
    let own = who.node_name().is_some_and(|node| {
        let mut pods = view.indexed(kabuki_model::view::Index::Node, node);
        pods.any(|pod| {
            let bound =
                bound_pod.is_some_and(|(name, uid)| *pod.key.name == **name && *pod.uid == **uid);
            bound && pod.key.namespace == account.namespace && runs_as(pod, &account.name)
        })
    });
    own.then_some(()).ok_or_else(|| denied(who, &attributes))
}

/// The pod that a `TokenRequest` names, with its uid.
fn bound_pod(request: &[u8]) -> Option<(String, String)> {
    let request: TokenRequest = serde_json::from_slice(request).ok()?;
    let bound = request.spec?.bound_object_ref?;
    let pod = bound.kind.as_deref() == Some("Pod");
    pod.then_some((bound.name?, bound.uid?))
}

/// Whether a pod runs as a service account of its namespace.
fn runs_as(pod: &Stored, account: &str) -> bool {
    let typed = pod.typed::<Pod>();
    let spec = typed.ok().and_then(|p| p.spec.clone());
    let named = spec.and_then(|s| s.service_account_name);
    named
        .filter(|n| !n.is_empty())
        .as_deref()
        .unwrap_or("default")
        == account
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
        // Whether it is a mirror pod shows in the object.
        ("pods", "create") if attributes.subresource.is_empty() => true,
        ("pods", "create") => attributes.subresource == "eviction" && own_pod(),
        ("nodes", "get" | "list" | "watch") => true,
        ("nodes", "create") => true,
        ("nodes", "update" | "patch") => attributes.name == node,
        ("leases.coordination.k8s.io", verb) => own_lease(node, verb, attributes),
        ("events" | "events.events.k8s.io", "create" | "update" | "patch") => true,
        ("configmaps" | "secrets", "get" | "watch") => referenced(view, node, attributes),
        ("serviceaccounts" | "namespaces", "get" | "list" | "watch") => true,
        ("runtimeclasses.node.k8s.io", "get" | "list" | "watch") => true,
        ("services" | "endpointslices.discovery.k8s.io", "get" | "list" | "watch") => true,
        // A kubelet's own port asks on behalf of its callers (Kubernetes, node authoriser).
        (
            "tokenreviews.authentication.k8s.io"
            | "subjectaccessreviews.authorization.k8s.io"
            | "localsubjectaccessreviews.authorization.k8s.io",
            "create",
        ) => true,
        _ => false,
    }
}

/// Whether it is the node's own Lease. The name of one that is to be made is seen by admission.
fn own_lease(node: &str, verb: &str, attributes: &Attributes) -> bool {
    let whole = attributes.subresource.is_empty() && attributes.namespace == NODE_LEASES;
    let own = attributes.name == node || verb == "create";
    let known = matches!(verb, "get" | "create" | "update" | "patch" | "delete");
    whole && own && known
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
    fn a_node_keeps_its_own_lease_alone() {
        let may = |verb: &'static str, namespace: &str, name: &str, part: &'static str| {
            let key = ObjectKey::new(Resource::LEASES, namespace, name);
            let attributes = Attributes::object(verb, &key, part);
            authorize(&MapView::default(), &Identity::node("a"), &attributes).is_ok()
        };
        for verb in ["get", "update", "patch", "delete"] {
            assert!(may(verb, NODE_LEASES, "a", ""), "{verb}");
            assert!(!may(verb, NODE_LEASES, "b", ""), "{verb}");
            assert!(!may(verb, "kube-system", "a", ""), "{verb}");
        }
        assert!(may("create", NODE_LEASES, "", ""));
        assert!(!may("create", "default", "", ""));
        assert!(!may("list", NODE_LEASES, "", "") && !may("watch", NODE_LEASES, "a", ""));
        assert!(!may("deletecollection", NODE_LEASES, "", ""));
        assert!(!may("patch", NODE_LEASES, "a", "status"));
    }

    #[test]
    fn a_node_asks_for_tokens_of_its_own_pods_accounts_alone() {
        let mut view = MapView::default();
        for (name, node, account) in [("web", "a", "robot"), ("db", "b", "robot")] {
            let json = format!(
                r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"shop",
                "uid":"{name}-1"}},"spec":{{"containers":[],"nodeName":"{node}",
                "serviceAccountName":"{account}"}}}}"#
            );
            let key = ObjectKey::new(Resource::PODS, "shop", name);
            let uid = format!("{name}-1");
            view.put(&Stored::new(key, uid.into(), 0, json.into()));
        }
        let may = |who: &Identity, account: &str, pod: Option<(&str, &str)>| {
            let request = Request::Token {
                account: ObjectKey::new(Resource::SERVICE_ACCOUNTS, "shop", account),
                audiences: Vec::new(),
                expiration_s: 3600,
                bound_pod: pod.map(|(name, uid)| (name.to_string(), uid.to_string())),
            };
            authorize_request(&view, who, &request).is_ok()
        };
        let node = Identity::node("a");
        assert!(may(&node, "robot", Some(("web", "web-1"))));
        assert!(!may(&node, "robot", Some(("web", "web-0"))));
        assert!(!may(&node, "robot", Some(("db", "db-1"))));
        assert!(!may(&node, "king", Some(("web", "web-1"))));
        assert!(!may(&node, "robot", None));
        assert!(!may(
            &Identity::new("jo", []),
            "robot",
            Some(("web", "web-1"))
        ));
        let ann = Identity::new("ann", [GROUP_MASTERS.to_string()]);
        assert!(may(&ann, "robot", None));
    }

    #[test]
    fn nobody_in_particular_sees_health_and_version_alone() {
        let nobody = Identity::anonymous();
        assert!(!may(&nobody, "get", Resource::PODS, "web"));
        for (path, public) in [
            ("/livez", true),
            ("/version/", true),
            ("/livez/ping", false),
            ("/metrics", false),
            ("/api", false),
        ] {
            let allowed = path_allowance(&nobody, "get", path).is_some();
            assert_eq!(allowed, public, "{path}");
            assert!(path_allowance(&Identity::new("jo", []), "get", path).is_some());
        }
        assert!(authorize_path(&nobody, "post", "/livez").is_err());
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
