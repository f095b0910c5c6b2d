//! The fields of a pod that this version does not honour yet, and refuses by name instead of
//! ignoring them. Honouring one is deleting its line here. A test walks the schema of every type
//! below, so that a field that is neither here nor known to be honoured fails it.

use super::super::path::Path;
use crate::status::Cause;
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, Container, ContainerPort, DownwardAPIVolumeFile,
    DownwardAPIVolumeSource, EmptyDirVolumeSource, EnvVarSource, HTTPGetAction, KeyToPath,
    LifecycleHandler, PodSecurityContext, PodSpec, ProjectedVolumeSource, ResourceRequirements,
    SecretVolumeSource, SecurityContext, ServiceAccountTokenProjection, Toleration, Volume,
    VolumeMount, VolumeProjection,
};
use std::net::Ipv4Addr;

/// Fields by name, each with how to see that it asks for something.
pub(super) type Table<T> = &'static [(&'static str, fn(&T) -> bool)];

pub(super) const POD_SPEC: Table<PodSpec> = &[
    ("evictionResponders", |s| some(&s.eviction_responders)),
    ("hostnameOverride", |s| text(&s.hostname_override)),
    ("os", |s| s.os.as_ref().is_some_and(|os| os.name != "linux")),
    // Nobody makes room for a higher priority yet. With the priority that all have, the default asks
    // for nothing.
    ("preemptionPolicy", |s| {
        s.preemption_policy.as_deref() == Some("PreemptLowerPriority")
            && s.priority.is_some_and(|p| p > 0)
    }),
    ("priorityClassName", |s| text(&s.priority_class_name)),
    ("resourceClaims", |s| some(&s.resource_claims)),
    ("schedulingGates", |s| some(&s.scheduling_gates)),
    ("schedulingGroup", |s| s.scheduling_group.is_some()),
    ("topologySpreadConstraints", |s| {
        some(&s.topology_spread_constraints)
    }),
];

pub(super) const AFFINITY: Table<Affinity> = &[
    ("podAffinity", |a| filled(&a.pod_affinity)),
    ("podAntiAffinity", |a| filled(&a.pod_anti_affinity)),
];

pub(super) const TOLERATION: Table<Toleration> = &[("operator", |t| {
    matches!(t.operator.as_deref(), Some("Lt" | "Gt"))
})];

pub(super) const POD_SECURITY: Table<PodSecurityContext> = &[
    ("seLinuxChangePolicy", |c| text(&c.se_linux_change_policy)),
    ("seLinuxOptions", |c| filled(&c.se_linux_options)),
    ("windowsOptions", |c| filled(&c.windows_options)),
];

pub(super) const CONTAINER: Table<Container> = &[("volumeDevices", |c| some(&c.volume_devices))];

/// Kubernetes documents this handler as one that always fails.
pub(super) const HOOK: Table<LifecycleHandler> = &[("tcpSocket", |h| h.tcp_socket.is_some())];
pub(super) const HTTP_GET: Table<HTTPGetAction> = &[("protocol", |h| text(&h.protocol))];

pub(super) const SECURITY: Table<SecurityContext> = &[
    ("seLinuxOptions", |c| filled(&c.se_linux_options)),
    ("windowsOptions", |c| filled(&c.windows_options)),
];

pub(super) const RESOURCES: Table<ResourceRequirements> = &[("claims", |r| some(&r.claims))];

pub(super) const ENV_SOURCE: Table<EnvVarSource> = &[("fileKeyRef", |s| s.file_key_ref.is_some())];

pub(super) const MOUNT: Table<VolumeMount> = &[
    ("bindMountOptions", |m| some(&m.bind_mount_options)),
    ("mountPropagation", |m| {
        m.mount_propagation.as_deref() == Some("Bidirectional")
    }),
];

pub(super) const VOLUME: Table<Volume> = &[
    ("awsElasticBlockStore", |v| {
        v.aws_elastic_block_store.is_some()
    }),
    ("azureDisk", |v| v.azure_disk.is_some()),
    ("azureFile", |v| v.azure_file.is_some()),
    ("cephfs", |v| v.cephfs.is_some()),
    ("cinder", |v| v.cinder.is_some()),
    ("csi", |v| v.csi.is_some()),
    ("ephemeral", |v| v.ephemeral.is_some()),
    ("fc", |v| v.fc.is_some()),
    ("flexVolume", |v| v.flex_volume.is_some()),
    ("flocker", |v| v.flocker.is_some()),
    ("gcePersistentDisk", |v| v.gce_persistent_disk.is_some()),
    ("gitRepo", |v| v.git_repo.is_some()),
    ("glusterfs", |v| v.glusterfs.is_some()),
    ("image", |v| v.image.is_some()),
    ("iscsi", |v| v.iscsi.is_some()),
    ("nfs", |v| v.nfs.is_some()),
    ("persistentVolumeClaim", |v| {
        v.persistent_volume_claim.is_some()
    }),
    ("photonPersistentDisk", |v| {
        v.photon_persistent_disk.is_some()
    }),
    ("portworxVolume", |v| v.portworx_volume.is_some()),
    ("quobyte", |v| v.quobyte.is_some()),
    ("rbd", |v| v.rbd.is_some()),
    ("scaleIO", |v| v.scale_io.is_some()),
    ("storageos", |v| v.storageos.is_some()),
    ("vsphereVolume", |v| v.vsphere_volume.is_some()),
];

pub(super) const DOWNWARD: Table<DownwardAPIVolumeSource> =
    &[("defaultUser", |v| v.default_user.is_some())];
pub(super) const DOWNWARD_FILE: Table<DownwardAPIVolumeFile> = &[("user", |f| f.user.is_some())];
pub(super) const PROJECTED: Table<ProjectedVolumeSource> =
    &[("defaultUser", |v| v.default_user.is_some())];
pub(super) const TOKEN: Table<ServiceAccountTokenProjection> = &[("user", |t| t.user.is_some())];
pub(super) const PROJECTION: Table<VolumeProjection> = &[
    ("clusterTrustBundle", |s| s.cluster_trust_bundle.is_some()),
    ("podCertificate", |s| s.pod_certificate.is_some()),
];

pub(super) const EMPTY_DIR: Table<EmptyDirVolumeSource> = &[("mode", |v| v.mode.is_some())];
pub(super) const CONFIG_MAP: Table<ConfigMapVolumeSource> =
    &[("defaultUser", |v| v.default_user.is_some())];
pub(super) const SECRET: Table<SecretVolumeSource> =
    &[("defaultUser", |v| v.default_user.is_some())];
pub(super) const ITEM: Table<KeyToPath> = &[("user", |i| i.user.is_some())];

pub(super) const PORT: Table<ContainerPort> = &[("hostIP", |p| {
    // The node's ports are IPv4 only.
    text(&p.host_ip) && !p.host_ip.iter().any(|ip| ip.parse::<Ipv4Addr>().is_ok())
})];
/// [`PORT`] of a pod in the host's network.
pub(super) const HOST_NETWORK_PORT: Table<ContainerPort> = &[("hostIP", |p| text(&p.host_ip))];

/// Notes every field of `object` that asks for what is not honoured.
pub(super) fn refuse<T>(table: Table<T>, object: &T, path: &Path, causes: &mut Vec<Cause>) {
    for (field, _) in table.iter().filter(|(_, asks)| asks(object)) {
        causes.push(refusal(field, &path.child(field)));
    }
}

/// Notes a resource that containers may ask for in Kubernetes, but not of this version.
pub(super) fn refuse_resource(name: &str, path: &Path, causes: &mut Vec<Cause>) {
    let is_known = matches!(name, "cpu" | "memory" | "ephemeral-storage");
    if !is_known && !name.starts_with("hugepages-") {
        causes.push(refusal(name, path));
    }
}

fn refusal(what: &str, path: &Path) -> Cause {
    Cause::forbidden(
        path,
        &format!("{what} is not supported by this version of Kabuki"),
    )
}

fn some<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|l| !l.is_empty())
}

/// Whether an object is there and says something: an empty one asks for nothing.
fn filled<T: Default + PartialEq>(object: &Option<T>) -> bool {
    object.as_ref().is_some_and(|o| *o != T::default())
}

fn text(field: &Option<String>) -> bool {
    field.as_ref().is_some_and(|f| !f.is_empty())
}

#[cfg(test)]
mod tests;
