//! What Kubernetes fills in (API reference, "Pod v1 core"): first what every pod spec gets, also
//! in templates; then what only pods get; then what Kubernetes' admission plugins add.

use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    Container, Pod, PodSpec, ResourceRequirements, Toleration, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use std::collections::BTreeMap;

/// How long a pod stays on a node that is not ready or not reachable, in seconds
/// (Kubernetes, "Taint based Evictions").
const EVICTION_TOLERATION_S: i64 = 300;
/// `terminationGracePeriodSeconds` when a pod does not say.
pub const GRACE_PERIOD_S: i64 = 30;
/// `rw-r--r--`
const FILE_MODE: i32 = 0o644;

/// Fills in a pod spec, be it a pod's or a template's.
pub fn default_spec(spec: &mut PodSpec) {
    fill(&mut spec.restart_policy, "Always");
    fill(&mut spec.dns_policy, "ClusterFirst");
    fill(&mut spec.scheduler_name, "default-scheduler");
    spec.termination_grace_period_seconds
        .get_or_insert(GRACE_PERIOD_S);
    spec.security_context.get_or_insert_default();
    // `serviceAccount` is the old name of `serviceAccountName`; both always say the same.
    if spec
        .service_account_name
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    spec.service_account.clone_from(&spec.service_account_name);
    spec.containers.iter_mut().for_each(default_container);
    spec.init_containers
        .iter_mut()
        .flatten()
        .for_each(default_container);
    spec.volumes.iter_mut().flatten().for_each(default_volume);
}

/// Fills in a pod: its spec, and what templates do not get.
pub fn default_pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    default_spec(spec);
    spec.enable_service_links.get_or_insert(true);
    let host_network = spec.host_network == Some(true);
    let init_containers = spec.init_containers.iter_mut().flatten();
    for container in spec.containers.iter_mut().chain(init_containers) {
        if let Some(resources) = &mut container.resources {
            requests_from_limits(resources);
        }
        for port in container
            .ports
            .iter_mut()
            .flatten()
            .filter(|_| host_network)
        {
            if port.host_port.unwrap_or_default() == 0 {
                port.host_port = Some(port.container_port);
            }
        }
    }
}

/// What Kubernetes' admission plugins (`ServiceAccount`, `Priority`, `DefaultTolerationSeconds`)
/// add to a pod at its creation. Validation does not depend on it.
pub fn admit_defaults(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    fill(&mut spec.service_account_name, "default");
    spec.service_account.clone_from(&spec.service_account_name);
    spec.priority.get_or_insert(0);
    fill(&mut spec.preemption_policy, "PreemptLowerPriority");
    admit_tolerations(spec);
}

/// Tolerations of a node that is not ready or not reachable, for five minutes, unless the pod
/// says otherwise (Kubernetes, `DefaultTolerationSeconds`).
pub fn admit_tolerations(spec: &mut PodSpec) {
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        let says = |t: &Toleration| {
            let matches = |field: &Option<String>, value: &str| {
                field.as_deref().is_none_or(|f| f.is_empty() || f == value)
            };
            matches(&t.key, key) && matches(&t.effect, "NoExecute")
        };
        if !spec.tolerations.iter().flatten().any(says) {
            spec.tolerations.get_or_insert_default().push(Toleration {
                key: Some(key.to_string()),
                operator: Some("Exists".to_string()),
                effect: Some("NoExecute".to_string()),
                toleration_seconds: Some(EVICTION_TOLERATION_S),
                value: None,
            });
        }
    }
}

fn fill(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_string());
    }
}

fn default_container(container: &mut Container) {
    let policy = pull_policy(container.image.as_deref().unwrap_or_default());
    fill(&mut container.image_pull_policy, policy);
    fill(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    fill(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        fill(&mut port.protocol, "TCP");
    }
    for variable in container.env.iter_mut().flatten() {
        let Some(source) = &mut variable.value_from else {
            continue;
        };
        if let Some(field) = &mut source.field_ref {
            fill(&mut field.api_version, "v1");
        }
        if let Some(resource) = &mut source.resource_field_ref {
            canonical(
                resource
                    .divisor
                    .get_or_insert_with(|| Written("0".to_string())),
            );
        }
    }
    if let Some(resources) = &mut container.resources {
        resources
            .limits
            .iter_mut()
            .flatten()
            .for_each(|(_, q)| canonical(q));
        resources
            .requests
            .iter_mut()
            .flatten()
            .for_each(|(_, q)| canonical(q));
    }
}

/// The canonical text of a quantity, so that equal ones are equal texts. Resources are counted
/// in thousandths at most. What is no quantity stays for validation to refuse.
fn canonical(written: &mut Written) {
    if let Ok(quantity) = Quantity::try_from(&*written) {
        let whole = match quantity.is_whole_milli() {
            true => quantity,
            false => Quantity::from_milli(quantity.milli_ceil()),
        };
        *written = whole.to_written();
    }
}

/// An image without tag or with `latest` may change at any time; others stay what they are.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image
        .split_once('@')
        .map_or((image, None), |(n, d)| (n, Some(d)));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if digest.is_none() => "Always",
        _ => "IfNotPresent",
    }
}

fn default_volume(volume: &mut Volume) {
    let named_only = Volume {
        name: volume.name.clone(),
        ..Volume::default()
    };
    if *volume == named_only {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(source) = &mut volume.empty_dir
        && let Some(limit) = &mut source.size_limit
    {
        canonical(limit);
    }
    if let Some(source) = &mut volume.host_path {
        source.type_.get_or_insert_default();
    }
    if let Some(source) = &mut volume.config_map {
        source.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(source) = &mut volume.secret {
        source.default_mode.get_or_insert(FILE_MODE);
    }
}

/// A limit without a request is also the request.
fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else {
        return;
    };
    let requests: &mut BTreeMap<String, Written> = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests
            .entry(name.clone())
            .or_insert_with(|| limit.clone());
    }
}
