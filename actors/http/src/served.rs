//! What is served where: the resources of each group and version with their parts, from the
//! registry of kinds.

use kabuki_model::kind::{self, Kind, Scope};
use kabuki_model::request::Subresource;
use serde_json::json;
use std::sync::LazyLock;

/// A kind as it is served in one group and version.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// The group of the path; empty for the core group.
    pub group: &'static str,
    /// The version of the path.
    pub version: &'static str,
    /// The kind behind it.
    pub kind: &'static Kind,
    /// Whether the kind can be scaled.
    pub scales: bool,
}

/// A part of an object with a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The object itself.
    Whole,
    /// `status`
    Status,
    /// `scale`
    Scale,
    /// `finalize`
    Finalize,
    /// `binding`
    Binding,
    /// `eviction`
    Eviction,
    /// `token`
    Token,
    /// `log`
    Log,
    /// `exec`
    Exec,
    /// `attach`
    Attach,
    /// `portforward`
    PortForward,
    /// `proxy`
    Proxy,
}

impl Part {
    /// The part of a request on objects; `None` for the whole and for what has requests of its own.
    pub fn subresource(self) -> Option<Subresource> {
        match self {
            Self::Status => Some(Subresource::Status),
            Self::Scale => Some(Subresource::Scale),
            Self::Finalize => Some(Subresource::Finalize),
            _ => None,
        }
    }

    /// Its name in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Finalize => "finalize",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Token => "token",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
        }
    }

    /// The verbs that it takes, as discovery lists them.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Whole => &[
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            Self::Status | Self::Scale => &["get", "patch", "update"],
            Self::Finalize => &["update"],
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Log => &["get"],
            Self::Exec | Self::Attach | Self::PortForward => &["create", "get"],
            Self::Proxy => &["create", "delete", "get", "patch", "update"],
        }
    }

    /// Group, version and kind of what is read and written there; `None` for the object's own.
    pub fn kind(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Scale => Some(("autoscaling", "v1", "Scale")),
            Self::Binding => Some(("", "v1", "Binding")),
            Self::Eviction => Some(("policy", "v1", "Eviction")),
            Self::Token => Some(("authentication.k8s.io", "v1", "TokenRequest")),
            Self::Exec => Some(("", "v1", "PodExecOptions")),
            Self::Attach => Some(("", "v1", "PodAttachOptions")),
            Self::PortForward => Some(("", "v1", "PodPortForwardOptions")),
            Self::Proxy => Some(("", "v1", "PodProxyOptions")),
            Self::Whole | Self::Status | Self::Finalize | Self::Log => None,
        }
    }
}

impl Served {
    fn new(kind: &'static Kind) -> Self {
        let smallest = kind.decode(json!({"metadata": {"name": "x"}, "spec": {}}));
        Self {
            group: kind.names.group,
            version: kind.names.version,
            kind,
            scales: smallest.is_ok_and(|d| d.object.scale().is_some()),
        }
    }

    /// `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether its objects live in namespaces.
    pub fn namespaced(&self) -> bool {
        self.kind.scope() == Scope::Namespaced
    }

    /// Its parts, by name, without the whole.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = match self.kind.names.kind {
            "Pod" => vec![
                Part::Attach,
                Part::Binding,
                Part::Eviction,
                Part::Exec,
                Part::Log,
                Part::PortForward,
                Part::Proxy,
            ],
            "Service" => vec![Part::Proxy],
            "Namespace" => vec![Part::Finalize],
            "ServiceAccount" => vec![Part::Token],
            _ => Vec::new(),
        };
        if self.scales {
            parts.push(Part::Scale);
        }
        if self.kind.has_status {
            parts.push(Part::Status);
        }
        parts.sort_by_key(|part| part.name());
        parts
    }

    /// The part of this name.
    pub fn part(&self, name: &str) -> Option<Part> {
        match name {
            "" => Some(Part::Whole),
            name => self.parts().into_iter().find(|part| part.name() == name),
        }
    }

    /// The verbs on the whole.
    pub fn verbs(&self) -> impl Iterator<Item = &'static str> + use<> {
        // A namespace takes everything in it along: that is only done one by one.
        let namespace = self.kind.names.kind == "Namespace";
        let verbs = Part::Whole.verbs().iter().copied();
        verbs.filter(move |verb| !(namespace && *verb == "deletecollection"))
    }
}

static ALL: LazyLock<Vec<Served>> = LazyLock::new(|| kind::all().iter().map(Served::new).collect());

/// Everything that is served, in the order of the registry.
pub fn all() -> &'static [Served] {
    &ALL
}

/// The resource of a path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<Served> {
    let fits =
        |s: &&Served| s.kind.names.plural == plural && s.group == group && s.version == version;
    all().iter().find(fits).copied()
}
