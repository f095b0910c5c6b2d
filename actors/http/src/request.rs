//! What a path, a method and a query ask for, in Kubernetes' words (`RequestInfo` of its API
//! server, "API concepts: resource URIs").

use crate::query::{Query, decode};
use crate::server::Shared;
use http::{HeaderMap, Method};
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use kabuki_protocol::FrontHandle;
use kabuki_protocol::front::{AccessAttributes, Authenticated};
use std::net::SocketAddr;
use std::sync::Arc;

/// One request, past authentication.
pub struct Context {
    /// The control plane.
    pub front: FrontHandle,
    /// What all connections share.
    pub shared: Arc<Shared>,
    /// Who asks: after impersonation, the one who is impersonated.
    pub who: Authenticated,
    /// What for.
    pub info: RequestInfo,
    /// The method as sent.
    pub method: Method,
    /// The parameters.
    pub query: Query,
    /// The headers.
    pub headers: HeaderMap,
    /// Where from.
    pub peer: SocketAddr,
}

impl Context {
    /// User and groups.
    pub fn identity(&self) -> &Identity {
        &self.who.who
    }

    /// Has a request performed under the caller's identity.
    pub async fn perform(&self, request: Request) -> Result<Answer, StatusError> {
        self.front.api(self.identity()).request(request).await
    }

    /// A header as text; `None` when it is not there or no text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// The path as sent, still encoded.
    pub path: String,
    /// Whether this is about a resource, and not merely about a path.
    pub resource_request: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; of other
    /// paths the lower-case method.
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// `v1`
    pub version: String,
    /// Where; empty for all namespaces and for cluster-scoped kinds.
    pub namespace: String,
    /// The plural name.
    pub resource: String,
    /// `status`, `log`; empty for the object itself.
    pub subresource: String,
    /// Which one; empty for many.
    pub name: String,
    /// What follows the subresource (the path of a proxied request), decoded.
    pub rest: Vec<String>,
}

impl RequestInfo {
    /// Understands a request line. Never fails: what is no resource is a path.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let mut info = Self {
            path: path.to_string(),
            verb: method.as_str().to_lowercase(),
            ..Self::default()
        };
        let parts: Vec<String> = path
            .split('/')
            .filter(|p| !p.is_empty())
            .map(|p| decode(p, false))
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let rest: &[&str] = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = version.to_string();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                info.group = group.to_string();
                info.version = version.to_string();
                rest
            }
            _ => return info,
        };
        info.resource_request = true;
        info.verb = verb_of(method).to_string();
        let rest = match rest {
            // The old form of a watch.
            ["watch", rest @ ..] if !rest.is_empty() => {
                info.verb = "watch".to_string();
                rest
            }
            rest => rest,
        };
        info.locate(rest);
        info.name_many(query);
        info
    }

    fn locate(&mut self, parts: &[&str]) {
        let parts = match parts {
            ["namespaces", namespace, part, ..] if !NAMESPACE_PARTS.contains(part) => {
                self.namespace = namespace.to_string();
                parts.get(2..).unwrap_or_default()
            }
            ["namespaces", namespace, ..] => {
                self.namespace = namespace.to_string();
                parts
            }
            parts => parts,
        };
        let mut parts = parts.iter().map(|p| p.to_string());
        self.resource = parts.next().unwrap_or_default();
        self.name = parts.next().unwrap_or_default();
        self.subresource = parts.next().unwrap_or_default();
        self.rest = parts.collect();
    }

    /// Verbs that differ when no single object is named.
    fn name_many(&mut self, query: &Query) {
        if !self.name.is_empty() {
            return;
        }
        match self.verb.as_str() {
            "get" if query.flag("watch") => self.verb = "watch".to_string(),
            "get" => self.verb = "list".to_string(),
            "delete" => self.verb = "deletecollection".to_string(),
            _ => {}
        }
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `pods`, `deployments.apps`.
    pub fn group_resource(&self) -> String {
        match self.group.as_str() {
            "" => self.resource.clone(),
            group => format!("{}.{group}", self.resource),
        }
    }

    /// Whether the answer goes on for long: watches and streams, which have bounds of their own.
    pub fn is_long_running(&self, query: &Query) -> bool {
        match self.subresource.as_str() {
            "log" => query.flag("follow"),
            "exec" | "attach" | "portforward" | "proxy" => true,
            _ => self.verb == "watch",
        }
    }

    /// What is to be authorised.
    pub fn attributes(&self, query: &Query) -> AccessAttributes {
        if !self.resource_request {
            return AccessAttributes {
                verb: self.verb.clone(),
                path: self.path.clone(),
                ..AccessAttributes::default()
            };
        }
        AccessAttributes {
            verb: self.verb.clone(),
            group: self.group.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: String::new(),
            fields: query.text("fieldSelector").to_string(),
        }
    }
}

/// Parts of a namespace itself, and no resources in it.
const NAMESPACE_PARTS: &[&str] = &["status", "finalize"];

fn verb_of(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, uri: &str) -> RequestInfo {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        RequestInfo::parse(&method, path, &Query::parse(query))
    }

    /// method and URI; verb, group, version, namespace, resource, name, subresource
    #[test]
    fn paths_mean_what_they_mean_in_kubernetes() {
        let table = [
            ("GET /api/v1/pods", "list||v1||pods||"),
            ("GET /api/v1/namespaces", "list||v1||namespaces||"),
            (
                "GET /api/v1/namespaces/other",
                "get||v1|other|namespaces|other|",
            ),
            ("GET /api/v1/namespaces/other/pods", "list||v1|other|pods||"),
            (
                "GET /api/v1/namespaces/other/pods?watch=true",
                "watch||v1|other|pods||",
            ),
            (
                "GET /api/v1/namespaces/other/pods?watch=false",
                "list||v1|other|pods||",
            ),
            (
                "GET /api/v1/namespaces/other/pods/foo",
                "get||v1|other|pods|foo|",
            ),
            (
                "DELETE /api/v1/namespaces/other/pods",
                "deletecollection||v1|other|pods||",
            ),
            (
                "DELETE /api/v1/namespaces/other/pods/foo",
                "delete||v1|other|pods|foo|",
            ),
            (
                "GET /api/v1/watch/namespaces/other/pods/foo",
                "watch||v1|other|pods|foo|",
            ),
            ("GET /api/v1/watch/pods", "watch||v1||pods||"),
            (
                "PUT /api/v1/namespaces/other/finalize",
                "update||v1|other|namespaces|other|finalize",
            ),
            (
                "PUT /api/v1/namespaces/other/status",
                "update||v1|other|namespaces|other|status",
            ),
            (
                "POST /api/v1/namespaces/other/pods/foo/exec",
                "create||v1|other|pods|foo|exec",
            ),
            (
                "PATCH /apis/apps/v1/namespaces/a/deployments/d/scale",
                "patch|apps|v1|a|deployments|d|scale",
            ),
            ("GET /apis/apps/v1", "get||||||"),
            ("GET /healthz", "get||||||"),
        ];
        for (line, expected) in table {
            let (method, uri) = line.split_once(' ').expect("two words");
            let i = parse(method, uri);
            let found = [
                &i.verb,
                &i.group,
                &i.version,
                &i.namespace,
                &i.resource,
                &i.name,
                &i.subresource,
            ]
            .map(String::as_str)
            .join("|");
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn a_name_is_decoded_and_a_proxied_path_is_kept() {
        let info = parse(
            "GET",
            "/api/v1/namespaces/n/services/http:web%3A80/proxy/a/b",
        );
        assert_eq!(info.name, "http:web:80");
        assert_eq!(info.rest, ["a", "b"]);
    }
}
