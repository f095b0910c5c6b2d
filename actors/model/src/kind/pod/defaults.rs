//! What Kubernetes fills in (API reference, "Pod v1 core"): first what every pod spec gets, also
//! in templates; then what only pods get; then what Kubernetes' admission plugins add.

use crate::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, EnvVar, HTTPGetAction, Pod, PodSpec, Probe,
    ResourceRequirements, Toleration, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use std::collections::BTreeMap;

/// How long a pod stays on a node that is not ready or not reachable, in seconds
/// (Kubernetes, "Taint based Evictions").
const EVICTION_TOLERATION_S: i64 = 300;
/// `terminationGracePeriodSeconds` when a pod does not say.
pub const GRACE_PERIOD_S: i64 = 30;
/// What the token of a service account lives when a volume does not say.
const TOKEN_LIFE_S: i64 = 3600;
/// Where containers leave their last words.
const MESSAGE_PATH: &str = "/dev/termination-log";
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
    for added in spec.ephemeral_containers.iter_mut().flatten() {
        let policy = pull_policy(added.image.as_deref().unwrap_or_default());
        fill(&mut added.image_pull_policy, policy);
        fill(&mut added.termination_message_path, MESSAGE_PATH);
        fill(&mut added.termination_message_policy, "File");
        for variable in added.env.iter_mut().flatten() {
            default_variable(variable);
        }
    }
    spec.volumes.iter_mut().flatten().for_each(default_volume);
}

/// Fills in a pod: its spec, and what templates do not get.
pub fn default_pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    default_spec(spec);
    spec.enable_service_links.get_or_insert(true);
    let host_network = spec.host_network == Some(true);
    default_containers(spec, host_network);
    default_pod_requests(spec);
}

/// What a pod requests as a whole, where it speaks of itself as a whole at all: what its
/// containers ask for, or else its limit.
fn default_pod_requests(spec: &mut PodSpec) {
    if spec.resources.is_none() {
        return;
    }
    let missing = ["cpu", "memory"].map(|name| {
        let said = super::resources::pod_request(spec, name).is_some();
        let asked = |c: &Container| Some(super::resources::request(c, name));
        let sum = super::resources::together(spec, asked).filter(|q| !q.is_zero());
        let limit = super::resources::pod_limit(spec, name);
        (name, sum.or(limit).filter(|_| !said))
    });
    if let Some(resources) = &mut spec.resources {
        for (name, amount) in missing {
            if let Some(amount) = amount {
                let requests = resources.requests.get_or_insert_default();
                requests.insert(name.to_string(), amount.to_written());
            }
        }
        let (limits, requests) = (&mut resources.limits, &mut resources.requests);
        let all = limits
            .iter_mut()
            .flatten()
            .chain(requests.iter_mut().flatten());
        all.for_each(|(_, written)| canonical(written));
    }
}

fn default_containers(spec: &mut PodSpec, host_network: bool) {
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
    // Where it would ask for something, it is refused: nobody is displaced yet.
    if *spec.priority.get_or_insert(0) <= 0 {
        fill(&mut spec.preemption_policy, "PreemptLowerPriority");
    }
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
    fill(&mut container.termination_message_path, MESSAGE_PATH);
    fill(&mut container.termination_message_policy, "File");
    for port in container.ports.iter_mut().flatten() {
        fill(&mut port.protocol, "TCP");
    }
    for variable in container.env.iter_mut().flatten() {
        default_variable(variable);
    }
    for probe in [
        &mut container.startup_probe,
        &mut container.readiness_probe,
        &mut container.liveness_probe,
    ] {
        probe.iter_mut().for_each(default_probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        for hook in [&mut lifecycle.post_start, &mut lifecycle.pre_stop] {
            let get = hook.iter_mut().flat_map(|h| &mut h.http_get);
            get.for_each(default_get);
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

fn default_variable(variable: &mut EnvVar) {
    let Some(source) = &mut variable.value_from else {
        return;
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

fn default_probe(probe: &mut Probe) {
    for (field, value) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if field.is_none_or(|f| f == 0) {
            *field = Some(value);
        }
    }
    probe.http_get.iter_mut().for_each(default_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn default_get(get: &mut HTTPGetAction) {
    fill(&mut get.path, "/");
    fill(&mut get.scheme, "HTTP");
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
    if let Some(source) = &mut volume.downward_api {
        source.default_mode.get_or_insert(FILE_MODE);
        default_files(source.items.as_deref_mut());
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(FILE_MODE);
        for source in projected.sources.iter_mut().flatten() {
            if let Some(token) = &mut source.service_account_token {
                token.expiration_seconds.get_or_insert(TOKEN_LIFE_S);
            }
            if let Some(downward) = &mut source.downward_api {
                default_files(downward.items.as_deref_mut());
            }
        }
    }
}

/// Files of the downward API, as variables of it.
fn default_files(items: Option<&mut [DownwardAPIVolumeFile]>) {
    for item in items.unwrap_or_default() {
        if let Some(field) = &mut item.field_ref {
            fill(&mut field.api_version, "v1");
        }
        if let Some(resource) = &mut item.resource_field_ref {
            let divisor = resource.divisor.get_or_insert_with(|| Written("0".into()));
            canonical(divisor);
        }
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
