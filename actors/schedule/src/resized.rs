//! What a pod counts for while it is being resized: of each container the most of what it is to
//! have, what its node has granted, and what it has. A wish that its node can never grant does
//! not count.

use kabuki_model::k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec, PodStatus};
use kabuki_model::k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use kabuki_model::quantity::Quantity;
use std::borrow::Cow;
use std::collections::BTreeMap;

type Amounts = BTreeMap<String, Written>;

/// The manifest with the requests that count.
pub(crate) fn counted<'a>(spec: &'a PodSpec, status: Option<&PodStatus>) -> Cow<'a, PodSpec> {
    let Some(status) = status else {
        return Cow::Borrowed(spec);
    };
    let infeasible = status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "PodResizePending" && c.reason.as_deref() == Some("Infeasible"));
    let statuses = status.container_statuses.iter().flatten();
    let statuses = statuses.chain(status.init_container_statuses.iter().flatten());
    let statuses: Vec<&ContainerStatus> = statuses.filter(|s| differs(spec, s)).collect();
    if statuses.is_empty() {
        return Cow::Borrowed(spec);
    }
    let mut spec = spec.clone();
    let init = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(init) {
        if let Some(status) = statuses.iter().find(|s| s.name == container.name) {
            count(container, status, infeasible);
        }
    }
    Cow::Owned(spec)
}

fn requests_of(container: &Container) -> Option<&Amounts> {
    container.resources.as_ref()?.requests.as_ref()
}

fn actual_of(status: &ContainerStatus) -> Option<&Amounts> {
    status.resources.as_ref()?.requests.as_ref()
}

/// Whether the status says other amounts than the manifest.
fn differs(spec: &PodSpec, status: &ContainerStatus) -> bool {
    let init = spec.init_containers.iter().flatten();
    let mut all = spec.containers.iter().chain(init);
    let Some(container) = all.find(|c| c.name == status.name) else {
        return false;
    };
    let wanted = requests_of(container);
    let said = [status.allocated_resources.as_ref(), actual_of(status)];
    said.into_iter()
        .any(|amounts| amounts.is_some() && amounts != wanted)
}

fn count(container: &mut Container, status: &ContainerStatus, infeasible: bool) {
    let mut most = match infeasible {
        true => Amounts::new(),
        false => requests_of(container).cloned().unwrap_or_default(),
    };
    let others = [status.allocated_resources.as_ref(), actual_of(status)];
    for (name, amount) in others.into_iter().flatten().flatten() {
        let read = |q: &Written| Quantity::try_from(q).unwrap_or(Quantity::ZERO);
        let held = most.get(name).map(read);
        if held.is_none_or(|held| held < read(amount)) {
            most.insert(name.clone(), amount.clone());
        }
    }
    container.resources.get_or_insert_default().requests = Some(most);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn cpu(wanted: &str, allocated: &str, actual: &str, conditions: Value) -> String {
        let spec =
            json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": wanted}}}]});
        let status = json!({"conditions": conditions, "containerStatuses": [{
            "name": "a", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": {"cpu": allocated},
            "resources": {"requests": {"cpu": actual}},
        }]});
        let spec: PodSpec = serde_json::from_value(spec).expect("a spec");
        let status: PodStatus = serde_json::from_value(status).expect("a status");
        let counted = counted(&spec, Some(&status));
        let requests = requests_of(&counted.containers[0]).expect("requests");
        requests["cpu"].0.clone()
    }

    #[test]
    fn a_pod_that_is_resized_counts_for_the_most_that_it_may_have() {
        let none = json!([]);
        assert_eq!(cpu("1", "1", "1", none.clone()), "1");
        assert_eq!(cpu("3", "2", "1", none.clone()), "3");
        assert_eq!(cpu("1", "1500m", "2", none.clone()), "2");
        assert_eq!(cpu("1", "2", "1500m", none), "2");
        let deferred =
            json!([{"type": "PodResizePending", "status": "True", "reason": "Deferred"}]);
        assert_eq!(cpu("9", "2", "2", deferred), "9");
        let never = json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        assert_eq!(cpu("9", "2", "1", never), "2");
    }
}
