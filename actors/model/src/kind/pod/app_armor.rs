//! AppArmor's profiles were asked for by annotations before there was a field (Kubernetes, "Restrict
//! a Container's Access to Resources with AppArmor"). A new pod's annotation becomes the field of
//! the container that it names, so that everything else reads fields only.

use k8s_openapi::api::core::v1::{AppArmorProfile, Pod, PodSpec, SecurityContext};

/// Followed by a container's name.
pub(super) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The profile that an annotation's value means.
pub(super) fn from_annotation(value: &str) -> Option<AppArmorProfile> {
    let profile = |type_: &str, localhost: Option<&str>| AppArmorProfile {
        type_: type_.to_string(),
        localhost_profile: localhost.map(str::to_string),
    };
    match value {
        "unconfined" => Some(profile("Unconfined", None)),
        "runtime/default" => Some(profile("RuntimeDefault", None)),
        other => {
            let name = other.strip_prefix("localhost/")?;
            (!name.trim().is_empty()).then(|| profile("Localhost", Some(name)))
        }
    }
}

/// All containers by name, with their security context.
pub(super) fn containers(spec: &PodSpec) -> impl Iterator<Item = (&str, Option<&SecurityContext>)> {
    let init = spec.init_containers.iter().flatten();
    let own = init.chain(&spec.containers);
    let own = own.map(|c| (c.name.as_str(), c.security_context.as_ref()));
    let added = spec.ephemeral_containers.iter().flatten();
    own.chain(added.map(|c| (c.name.as_str(), c.security_context.as_ref())))
}

/// Writes what the annotations ask for into the fields that say nothing.
pub(super) fn fields_from_annotations(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    for (key, value) in pod.metadata.annotations.iter().flatten() {
        let (Some(name), Some(asked)) = (key.strip_prefix(APP_ARMOR), from_annotation(value))
        else {
            continue;
        };
        let init = spec.init_containers.iter_mut().flatten();
        let mut own = init.chain(&mut spec.containers);
        if let Some(container) = own.find(|c| c.name == name) {
            let context = container.security_context.get_or_insert_default();
            context.app_armor_profile.get_or_insert(asked);
        }
    }
}
