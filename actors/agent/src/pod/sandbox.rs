//! Namespaces and network of a pod: a shim, its link, and the files in `/etc`.

use super::actor::PodMessage;
use super::identities;
use crate::services::{PodEntry, Services};
use k8s_openapi::api::core::v1::{Pod, PodSpec as Spec};
use k8s_openapi::api::node::v1::RuntimeClass;
use kabuki_dns::resolv_conf;
use kabuki_lifecycle::{Fact, files, hugepages, resources};
use kabuki_model::Resource;
use kabuki_runtime::{IpcMode, NetMode, PidMode, PodSpec, Resources, ShimClient};
use ractor::ActorRef;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Taking something down that resists is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// Makes the sandbox. What an earlier attempt left is removed first.
pub(super) async fn prepare(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    pod: &Arc<Pod>,
    actor: &ActorRef<PodMessage>,
) -> Fact {
    match try_prepare(services, entry, pod, actor).await {
        Ok(ips) => Fact::SandboxReady { ips },
        Err(message) => {
            take_down(services, entry).await;
            Fact::SandboxFailed { message }
        }
    }
}

async fn try_prepare(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    pod: &Arc<Pod>,
    actor: &ActorRef<PodMessage>,
) -> Result<Vec<String>, String> {
    check_handler(services, pod).await?;
    if entry.shim_id().is_some() {
        take_down(services, entry).await;
    }
    let (client, events) = services.spares.take().await.map_err(|e| chain(&e))?;
    entry.set_shim(Some(client.clone()));
    let _ = actor.cast(PodMessage::Shim(events));
    let spec = pod.spec.clone().unwrap_or_default();
    let own_network = spec.host_network != Some(true);
    let set_up = set_up(services, entry, pod, &client);
    let wired = async {
        match own_network {
            false => Ok(services.host.ips.clone()),
            true => {
                let attached = services
                    .network
                    .attach(&entry.uid, &client.netns_path())
                    .await;
                attached
                    .map(|ip| vec![ip.to_string()])
                    .map_err(|e| chain(&e))
            }
        }
    };
    let named = write_names(services, entry, pod, &spec);
    let ips = match spec.host_users {
        // The network is made with the users that it belongs to.
        Some(false) => {
            set_up.await?;
            named.await?;
            wired.await?
        }
        _ => {
            let (done, named, ips) = tokio::join!(set_up, named, wired);
            done.and(named)?;
            ips?
        }
    };
    write_hosts(services, entry, &spec, &ips)
        .await
        .map_err(|e| chain(&e))?;
    Ok(ips)
}

/// What a node runs pods with, under the names by which a RuntimeClass may ask for it.
pub(crate) const HANDLERS: &[&str] = &["kabuki", "runc"];

/// A pod's RuntimeClass must ask for what this node has.
async fn check_handler(services: &Services, pod: &Pod) -> Result<(), String> {
    let name = pod
        .spec
        .as_ref()
        .and_then(|s| s.runtime_class_name.as_deref());
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let kind = Resource::RUNTIME_CLASSES;
    let class = crate::api::get::<RuntimeClass>(&services.api, kind, "", name).await;
    let class = class.map_err(|e| format!("failed to get sandbox runtime: {e}"))?;
    let Some(class) = class else {
        return Err(format!(
            "failed to get sandbox runtime: RuntimeClass {name:?} not found"
        ));
    };
    if HANDLERS.contains(&class.handler.as_str()) {
        return Ok(());
    }
    Err(format!(
        "failed to get sandbox runtime: no runtime for {:?} is configured",
        class.handler
    ))
}

async fn set_up(
    services: &Services,
    entry: &PodEntry,
    pod: &Pod,
    client: &ShimClient,
) -> Result<(), String> {
    let mut spec = pod_spec(services, entry, pod)?;
    if pod.spec.as_ref().and_then(|s| s.host_users) == Some(false) {
        let (layout, uid) = (services.layout.clone(), entry.uid.clone());
        let claimed = tokio::task::spawn_blocking(move || identities::range_of(&layout, &uid));
        spec.users = Some(claimed.await.map_err(|e| e.to_string())??);
    }
    let warnings = client.setup(spec).await.map_err(|e| chain(&e))?;
    for warning in warnings {
        tracing::warn!(pod.uid = entry.uid, warning, "sandbox");
    }
    Ok(())
}

/// The name that the pod goes by inside.
pub(super) fn kernel_name(
    services: &Services,
    entry: &PodEntry,
    spec: &Spec,
) -> Result<String, String> {
    let hostname = files::hostname(&entry.name, spec);
    let domain = &services.config.cluster_domain;
    let qualified = files::fully_qualified(&hostname, &entry.namespace, spec, domain);
    files::kernel_name(&hostname, qualified.as_deref(), spec)
}

fn pod_spec(services: &Services, entry: &PodEntry, pod: &Pod) -> Result<PodSpec, String> {
    let spec = pod.spec.clone().unwrap_or_default();
    let hostname = kernel_name(services, entry, &spec)?;
    let class = resources::qos_class(pod);
    let limits = resources::pod_limits(pod);
    let security = spec.security_context.as_ref();
    let sysctls = security.iter().flat_map(|s| s.sysctls.iter().flatten());
    Ok(PodSpec {
        uid: entry.uid.clone(),
        namespace: entry.namespace.clone(),
        name: entry.name.clone(),
        hostname,
        cgroup_parent: resources::cgroup_parent(&services.layout.cgroup, class),
        resources: Resources {
            hugetlb: hugepages::pod_limits(&spec, services.capacity.hugepages.keys()),
            ..to_resources(&limits)
        },
        net: if spec.host_network == Some(true) {
            NetMode::Host
        } else {
            NetMode::New
        },
        pid: match (spec.host_pid, spec.share_process_namespace) {
            (Some(true), _) => PidMode::Host,
            (_, Some(true)) => PidMode::Pod,
            _ => PidMode::Container,
        },
        ipc: if spec.host_ipc == Some(true) {
            IpcMode::Host
        } else {
            IpcMode::Pod
        },
        sysctls: sysctls.map(|s| (s.name.clone(), s.value.clone())).collect(),
        mounts: crate::volume::memory_mounts(services, entry, &spec),
        shm_size: 0,
        users: None,
    })
}

pub(super) fn to_resources(limits: &resources::Limits) -> Resources {
    Resources {
        cpu_shares: Some(limits.cpu_shares),
        cpu_quota_us: limits.cpu_quota_us,
        cpu_period_us: limits.cpu_quota_us.map(|_| resources::CPU_PERIOD_US),
        memory_limit: limits.memory,
        ..Resources::default()
    }
}

/// Where a pod's own `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` are.
pub(crate) fn etc(services: &Services, entry: &PodEntry) -> PathBuf {
    services.layout.pod(&entry.uid).join("etc")
}

/// Writes what is known before the pod has an address.
async fn write_names(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    pod: &Pod,
    spec: &Spec,
) -> Result<(), String> {
    let dir = etc(services, entry);
    let kernel_name = kernel_name(services, entry, spec)?;
    let resolver = resolv_conf::Settings {
        policy: spec.dns_policy.clone().unwrap_or_default(),
        host_network: spec.host_network == Some(true),
        config: spec.dns_config.clone(),
        namespace: entry.namespace.clone(),
        cluster_dns: services.config.cluster_dns.clone(),
        cluster_domain: services.config.cluster_domain.clone(),
    };
    let written = tokio::task::spawn_blocking(move || {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&dir)?;
        let node = std::fs::read_to_string(crate::names::node_file()).unwrap_or_default();
        std::fs::write(dir.join("hostname"), format!("{kernel_name}\n"))?;
        let (text, warnings) = resolv_conf::build(&resolver, &node);
        std::fs::write(dir.join("resolv.conf"), text)?;
        Ok::<_, io::Error>(warnings)
    });
    let warnings = written.await.map_err(io::Error::other).flatten();
    for warning in warnings.map_err(|e| chain(&e))? {
        let about = crate::event::about_pod(pod);
        let (reason, message) = (warning.reason.to_string(), warning.message);
        services.events.record(crate::event::Note {
            about,
            warning: true,
            reason,
            message,
        });
    }
    Ok(())
}

/// Writes the pod's addresses, beside its names.
async fn write_hosts(
    services: &Arc<Services>,
    entry: &Arc<PodEntry>,
    spec: &Spec,
    ips: &[String],
) -> io::Result<()> {
    let file = etc(services, entry).join("hosts");
    let hostname = files::hostname(&entry.name, spec);
    let aliases = spec.host_aliases.clone().unwrap_or_default();
    let domain = &services.config.cluster_domain;
    let qualified = files::fully_qualified(&hostname, &entry.namespace, spec, domain);
    let host_network = spec.host_network == Some(true);
    let ips = ips.to_vec();
    let written = tokio::task::spawn_blocking(move || {
        let node_hosts = || std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let hosts = match host_network {
            true => files::hosts_of_node(&node_hosts(), &aliases),
            false => files::hosts(&ips, &hostname, qualified.as_deref(), &aliases),
        };
        std::fs::write(file, hosts)
    });
    written.await.map_err(io::Error::other).flatten()
}

/// Removes the sandbox, and the pod's files unless they are to be kept. Goes on until all of it
/// is gone: what is left would be nobody's.
pub(super) async fn teardown(services: &Arc<Services>, entry: &Arc<PodEntry>, keep_volumes: bool) {
    take_down(services, entry).await;
    if !keep_volumes {
        entry.volumes.close().await;
        remove_files(services, &entry.uid).await;
    }
}

async fn take_down(services: &Arc<Services>, entry: &Arc<PodEntry>) {
    let uid = &entry.uid;
    let unwire = async {
        while let Err(error) = services.network.detach(uid).await {
            tracing::error!(
                pod.uid = uid,
                error = chain(&error),
                "the pod's link is not gone"
            );
            tokio::time::sleep(RETRY).await;
        }
    };
    let end = async {
        if let Some(id) = entry.shim_id() {
            let asked = match entry.shim() {
                Some(client) => client.shutdown().await.is_ok(),
                None => false,
            };
            if !asked {
                remove_shim(services, &id).await;
            }
            entry.set_shim(None);
        }
    };
    tokio::join!(unwire, end);
}

/// Kills a shim and all that it holds.
pub(crate) async fn remove_shim(services: &Services, id: &str) {
    while let Err(error) = services.launcher.clean(id).await {
        tracing::error!(
            shim.id = id,
            error = chain(&error),
            "the pod's shim is not gone"
        );
        tokio::time::sleep(RETRY).await;
    }
}

/// Removes all files of a pod but its logs.
pub(crate) async fn remove_files(services: &Services, uid: &str) {
    let dirs = [
        services.layout.pod(uid),
        services.layout.memory_volumes().join(uid),
    ];
    loop {
        let all = dirs.clone();
        let removed =
            tokio::task::spawn_blocking(move || all.iter().try_for_each(|dir| remove_tree(dir)));
        match removed.await.map_err(io::Error::other).flatten() {
            Ok(()) => return,
            Err(error) => {
                tracing::error!(pod.uid = uid, %error, "the pod's files are not gone");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Removes a directory; one that is gone is fine.
pub(crate) fn remove_tree(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
