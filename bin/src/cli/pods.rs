//! From what a person names (a pod, a workload, a selector) to pods and containers.

use super::failure::{Failure, Outcome, fail};
use super::resolver;
use super::session::Session;
use kabuki_model::LabelSelector;
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as Written;
use kabuki_model::kind::Kind;
use kabuki_model::object::{Resource, Stored};
use kabuki_model::request::ListRequest;
use kabuki_protocol::node::PodRef;
use serde_json::Value;
use std::sync::Arc;

/// The annotation that names the container that is meant when none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// One pod.
#[derive(Debug, Clone)]
pub struct PodHandle {
    /// Its namespace and name.
    pub pod: PodRef,
    /// The object.
    pub object: Arc<Pod>,
}

impl PodHandle {
    fn new(stored: &Stored) -> Outcome<Self> {
        Ok(Self {
            pod: PodRef {
                namespace: stored.key.namespace.to_string(),
                name: stored.key.name.to_string(),
            },
            object: stored.typed::<Pod>()?,
        })
    }

    /// The node that it is on.
    pub fn node(&self) -> Outcome<&str> {
        let node = self
            .object
            .spec
            .as_ref()
            .and_then(|s| s.node_name.as_deref());
        let missing = || {
            Failure::new(format!(
                "pod {} does not have a host assigned: `kabuki describe pod {}` says why",
                self.pod.name, self.pod.name
            ))
        };
        node.filter(|n| !n.is_empty()).ok_or_else(missing)
    }

    /// The names of its containers: init containers first, those added by `debug` last.
    pub fn containers(&self) -> Vec<&str> {
        let spec = self.object.spec.as_ref();
        let init = spec
            .into_iter()
            .flat_map(|s| s.init_containers.iter().flatten());
        let own = spec.into_iter().flat_map(|s| s.containers.iter());
        let added = spec
            .into_iter()
            .flat_map(|s| s.ephemeral_containers.iter().flatten());
        let added = added.map(|c| c.name.as_str());
        init.chain(own)
            .map(|c| c.name.as_str())
            .chain(added)
            .collect()
    }

    /// The container that is meant: the named one, else the pod's default. Says which when there
    /// are several.
    pub fn container(&self, session: &Session, named: Option<&str>) -> Outcome<String> {
        let all = self.containers();
        if let Some(named) = named {
            return match all.contains(&named) {
                true => Ok(named.to_string()),
                false => fail!(
                    "container {named} not found in pod {}: it has {}",
                    self.pod.name,
                    all.join(", ")
                ),
            };
        }
        let annotations = self.object.metadata.annotations.as_ref();
        if let Some(name) = annotations.and_then(|a| a.get(DEFAULT_CONTAINER))
            && all.contains(&name.as_str())
        {
            return Ok(name.clone());
        }
        let spec = self.object.spec.as_ref();
        let first = spec
            .and_then(|s| s.containers.first())
            .map(|c| c.name.clone());
        let first = first.unwrap_or_default();
        if all.len() > 1 {
            session.out.note(format!(
                "Defaulted container {first:?} out of: {}",
                all.join(", ")
            ));
        }
        Ok(first)
    }

    /// Whether it has ended for good.
    pub fn is_over(&self) -> bool {
        matches!(self.phase(), "Succeeded" | "Failed")
    }

    /// Its phase.
    pub fn phase(&self) -> &str {
        let phase = self.object.status.as_ref().and_then(|s| s.phase.as_deref());
        phase.unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        let status = self.object.status.as_ref();
        let mut conditions = status
            .into_iter()
            .flat_map(|s| s.conditions.iter().flatten());
        conditions.any(|c| c.type_ == "Ready" && c.status == "True")
    }
}

/// The pods that a selector selects in the command's namespace (or in all).
pub async fn selected(session: &Session, labels: &str, all: bool) -> Outcome<Vec<PodHandle>> {
    let namespace = if all {
        None
    } else {
        Some(session.namespace()?)
    };
    let mut request = ListRequest::all(Resource::PODS, namespace.as_deref());
    request.labels = labels.to_string();
    let (_, pods) = resolver::list(session, request).await?;
    pods.iter().map(|p| PodHandle::new(p)).collect()
}

/// The pod by this name.
pub async fn named(session: &Session, name: &str) -> Outcome<PodHandle> {
    named_in(session, &session.namespace()?, name).await
}

/// The pod by this name in another namespace than the command's.
pub async fn named_in(session: &Session, namespace: &str, name: &str) -> Outcome<PodHandle> {
    let kind = resolver::kind_named("pods")?;
    let key = session.key(kind, namespace, name);
    let pod = session.get(&key).await?;
    PodHandle::new(&pod)
}

/// Every pod of `POD`, `TYPE/NAME` or `TYPE NAME`.
pub async fn of(session: &Session, what: &[String]) -> Outcome<Vec<PodHandle>> {
    let (kind, name) = resolver::one(what, "pods")?;
    if kind.resource == Resource::PODS {
        return Ok(vec![named(session, &name).await?]);
    }
    let key = session.key(kind, &session.namespace()?, &name);
    let owner = session.get(&key).await?;
    let labels = selector_of(kind, &owner.to_value()?)?;
    let mut pods = selected(session, &labels, false).await?;
    if pods.is_empty() {
        fail!("{} has no pods yet", resolver::label(kind, &name));
    }
    // Those that do something and go on doing it first, then the oldest.
    pods.sort_by_key(|p| {
        let created = p.object.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let leaving = p.object.metadata.deletion_timestamp.is_some();
        (
            p.is_over(),
            leaving,
            p.phase() != "Running",
            !p.is_ready(),
            created,
        )
    });
    Ok(pods)
}

/// One pod of `POD`, `TYPE/NAME` or `TYPE NAME`; says which when there are several.
pub async fn one_of(session: &Session, what: &[String]) -> Outcome<PodHandle> {
    let mut pods = of(session, what).await?;
    if pods.len() > 1 {
        session.out.note(format!(
            "Found {} pods, using pod/{}",
            pods.len(),
            pods[0].pod.name
        ));
    }
    Ok(pods.swap_remove(0))
}

/// The selector of a workload's pods, in selector syntax.
pub fn selector_of(kind: &Kind, value: &Value) -> Outcome<String> {
    let selector = &value["spec"]["selector"];
    if !selector.is_object() {
        fail!("{} objects have no pods", kind.names.singular);
    }
    let wrong = |error: String| Failure::new(format!("{} selector: {error}", kind.names.singular));
    let written: Written =
        serde_json::from_value(selector.clone()).map_err(|e| wrong(e.to_string()))?;
    let selector = LabelSelector::try_from(&written).map_err(|e| wrong(e.to_string()))?;
    Ok(selector.to_string())
}
