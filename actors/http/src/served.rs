//! What is served where: the resources of each group and version with their parts, from the
//! registry of kinds.

use kabuki_model::kind::{self, Form, Kind, Scope};
use kabuki_model::request::Subresource;
use kabuki_model::{StatusError, Stored};
use serde_json::{Value, json};
use std::ops::Deref;
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
    /// How it is made of what is stored; `None` when it is what is stored.
    pub form: Option<&'static Form>,
    /// Whether the kind can be scaled.
    pub scales: bool,
}

/// An object as it is shown.
pub enum Shown<'a> {
    /// As it is stored.
    Same(&'a Stored),
    /// In another form.
    Made(Box<Stored>),
}

impl Deref for Shown<'_> {
    type Target = Stored;

    fn deref(&self) -> &Stored {
        match self {
            Self::Same(object) => object,
            Self::Made(object) => object,
        }
    }
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
    /// `ephemeralcontainers`
    EphemeralContainers,
    /// `resize`
    Resize,
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

/// What there is to know of a part of the objects of some kinds.
struct PartRules {
    part: Part,
    /// Its name in paths.
    name: &'static str,
    /// The verbs that it takes, as discovery lists them.
    verbs: &'static [&'static str],
    /// Group, version and kind of what is read and written there; `None` for the object's own.
    kind: Option<(&'static str, &'static str, &'static str)>,
    /// What it is to requests on objects; `None` for what has requests of its own.
    subresource: Option<Subresource>,
    /// The kinds that have it; none for parts that kinds have by their rules.
    of: &'static [&'static str],
}

const CHANGED: &[&str] = &["get", "patch", "update"];
const STREAMED: &[&str] = &["create", "get"];
const PROXIED: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Every part. A new one is a row here; requests, discovery and OpenAPI follow from it.
const PARTS: &[PartRules] = &[
    row(Part::Attach, "attach", STREAMED, &["Pod"]).shows("", "v1", "PodAttachOptions"),
    row(Part::Binding, "binding", &["create"], &["Pod"]).shows("", "v1", "Binding"),
    row(
        Part::EphemeralContainers,
        "ephemeralcontainers",
        CHANGED,
        &["Pod"],
    )
    .is(Subresource::EphemeralContainers),
    row(Part::Eviction, "eviction", &["create"], &["Pod"]).shows("policy", "v1", "Eviction"),
    row(Part::Exec, "exec", STREAMED, &["Pod"]).shows("", "v1", "PodExecOptions"),
    row(Part::Finalize, "finalize", &["update"], &["Namespace"]).is(Subresource::Finalize),
    row(Part::Log, "log", &["get"], &["Pod"]),
    row(Part::PortForward, "portforward", STREAMED, &["Pod"]).shows(
        "",
        "v1",
        "PodPortForwardOptions",
    ),
    row(Part::Proxy, "proxy", PROXIED, &["Node"]).shows("", "v1", "NodeProxyOptions"),
    row(Part::Proxy, "proxy", PROXIED, &["Pod"]).shows("", "v1", "PodProxyOptions"),
    row(Part::Proxy, "proxy", PROXIED, &["Service"]).shows("", "v1", "ServiceProxyOptions"),
    row(Part::Resize, "resize", CHANGED, &["Pod"]).is(Subresource::Resize),
    row(Part::Scale, "scale", CHANGED, &[])
        .is(Subresource::Scale)
        .shows("autoscaling", "v1", "Scale"),
    row(Part::Status, "status", CHANGED, &[]).is(Subresource::Status),
    row(Part::Token, "token", &["create"], &["ServiceAccount"]).shows(
        "authentication.k8s.io",
        "v1",
        "TokenRequest",
    ),
];

const fn row(
    part: Part,
    name: &'static str,
    verbs: &'static [&'static str],
    of: &'static [&'static str],
) -> PartRules {
    PartRules {
        part,
        name,
        verbs,
        kind: None,
        subresource: None,
        of,
    }
}

impl PartRules {
    const fn shows(
        mut self,
        group: &'static str,
        version: &'static str,
        kind: &'static str,
    ) -> Self {
        self.kind = Some((group, version, kind));
        self
    }

    const fn is(mut self, subresource: Subresource) -> Self {
        self.subresource = Some(subresource);
        self
    }
}

/// The verbs of whole objects.
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

impl Part {
    fn rules(self) -> Option<&'static PartRules> {
        PARTS.iter().find(|rules| rules.part == self)
    }

    /// The part of a request on objects; `None` for the whole and for what has requests of its own.
    pub fn subresource(self) -> Option<Subresource> {
        self.rules()?.subresource
    }

    /// Its name in paths.
    pub fn name(self) -> &'static str {
        self.rules().map_or("", |rules| rules.name)
    }

    /// The verbs that it takes, as discovery lists them.
    pub fn verbs(self) -> &'static [&'static str] {
        self.rules().map_or(VERBS, |rules| rules.verbs)
    }

    /// Whether what is read and written there is the object itself.
    pub fn is_object(self) -> bool {
        self.rules().is_none_or(|rules| rules.kind.is_none())
    }

    /// The names of all parts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PARTS.iter().map(|rules| rules.name)
    }
}

impl Served {
    fn new(kind: &'static Kind, form: Option<&'static Form>) -> Self {
        let smallest = kind.decode(json!({"metadata": {"name": "x"}, "spec": {}}));
        let stored = (kind.names.group, kind.names.version);
        let (group, version) = form.map_or(stored, |form| (form.group, form.version));
        Self {
            group,
            version,
            kind,
            form,
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

    /// The group and version that writes are to say; empty for kinds that have only one.
    pub fn written_as(&self) -> String {
        match self.kind.forms {
            [] => String::new(),
            _ => self.api_version(),
        }
    }

    /// A stored object as it is shown here.
    ///
    /// # Errors
    /// A stored object that is no JSON.
    pub fn shown<'a>(&self, object: &'a Stored) -> Result<Shown<'a>, StatusError> {
        let Some(form) = self.form else {
            return Ok(Shown::Same(object));
        };
        let shown = form.shown(object);
        let shown = shown.map_err(|e| StatusError::internal(format!("{e}: {}", e.source)))?;
        Ok(Shown::Made(Box::new(shown)))
    }

    /// The JSON schema, with descriptions. Made anew at each call.
    pub fn schema(&self) -> Value {
        match self.form {
            None => self.kind.schema(),
            Some(form) => (form.schema)(),
        }
    }

    /// Whether its objects live in namespaces.
    pub fn namespaced(&self) -> bool {
        self.kind.scope() == Scope::Namespaced
    }

    fn has(&self, rules: &PartRules) -> bool {
        match rules.part {
            Part::Scale => self.scales,
            Part::Status => self.kind.has_status,
            _ => rules.of.contains(&self.kind.names.kind),
        }
    }

    /// Its parts, by name, without the whole.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<'_> {
        let own = PARTS.iter().filter(|rules| self.has(rules));
        own.map(|rules| rules.part)
    }

    /// The part of this name.
    pub fn part(&self, name: &str) -> Option<Part> {
        match name {
            "" => Some(Part::Whole),
            name => self.parts().find(|part| part.name() == name),
        }
    }

    /// Group, version and kind of what is read and written at a part; `None` for the object's own.
    pub fn kind_of(&self, part: Part) -> Option<(&'static str, &'static str, &'static str)> {
        let own = |rules: &&PartRules| rules.part == part && self.has(rules);
        PARTS.iter().find(own)?.kind
    }

    /// The verbs on the whole.
    pub fn verbs(&self) -> impl Iterator<Item = &'static str> + use<> {
        // A namespace takes everything in it along: that is only done one by one.
        let namespace = self.kind.names.kind == "Namespace";
        let verbs = VERBS.iter().copied();
        verbs.filter(move |verb| !(namespace && *verb == "deletecollection"))
    }
}

static ALL: LazyLock<Vec<Served>> = LazyLock::new(|| {
    let forms = |kind: &'static Kind| {
        let others = kind.forms.iter();
        let others = others.map(move |form| Served::new(kind, Some(form)));
        std::iter::once(Served::new(kind, None)).chain(others)
    };
    kind::all().iter().flat_map(forms).collect()
});

/// Everything that is served, in the order of the registry.
pub fn all() -> &'static [Served] {
    &ALL
}

/// The resource of a path.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Served> {
    let fits =
        |s: &&Served| s.kind.names.plural == plural && s.group == group && s.version == version;
    all().iter().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_pod_are_kubernetes() {
        let pods = find("", "v1", "pods").expect("pods");
        let names: Vec<&str> = pods.parts().map(Part::name).collect();
        assert_eq!(
            names,
            [
                "attach",
                "binding",
                "ephemeralcontainers",
                "eviction",
                "exec",
                "log",
                "portforward",
                "proxy",
                "resize",
                "status",
            ]
        );
        let shown = |plural: &str, part| find("", "v1", plural).and_then(|s| s.kind_of(part));
        let proxied = |kind| Some(("", "v1", kind));
        assert_eq!(shown("pods", Part::Proxy), proxied("PodProxyOptions"));
        assert_eq!(shown("nodes", Part::Proxy), proxied("NodeProxyOptions"));
        assert_eq!(
            shown("services", Part::Proxy),
            proxied("ServiceProxyOptions")
        );
        assert_eq!(shown("pods", Part::Resize), None);
    }

    #[test]
    fn one_kind_is_served_in_several_group_versions() {
        let stored = find("", "v1", "events").expect("events");
        let other = find("events.k8s.io", "v1", "events").expect("events");
        assert_eq!(stored.kind.resource, other.kind.resource);
        assert_eq!(other.written_as(), "events.k8s.io/v1");
        assert_eq!(stored.written_as(), "v1");
        let pods = find("", "v1", "pods").expect("pods");
        assert_eq!(pods.written_as(), "");
    }
}
