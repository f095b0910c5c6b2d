//! What an agent is told when it starts, and where it keeps its files.

use k8s_openapi::api::core::v1::Taint;
use kabuki_lifecycle::cpus::CpuSet;
use kabuki_lifecycle::eviction;
use kabuki_net::plan::{Cidr, NetworkMode, VxlanSettings};
use kabuki_net::{DEFAULT_VNI, DEFAULT_VXLAN_PORT, NetworkConfig};
use kabuki_protocol::ApiHandle;
use kabuki_runtime::image::RegistryConfig;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The data directory of a machine with one node.
const DEFAULT_DATA_DIR: &str = "/var/lib/kabuki";

/// Settings of a node's agent.
#[derive(Clone)]
pub struct AgentConfig {
    /// The node's name, as in `spec.nodeName`.
    pub node_name: String,
    /// Where everything that outlives a boot is kept.
    pub data_dir: PathBuf,
    /// The node's address, for its status and its pods'.
    pub node_ip: IpAddr,
    /// The port where the node answers over HTTPS, for its status; `None` says none.
    pub node_port: Option<u16>,
    /// The node's block of pod addresses.
    pub pod_cidr: Cidr,
    /// The block of all nodes' pods.
    pub cluster_cidr: Cidr,
    /// How other nodes' pods are reached.
    pub network_mode: NetworkMode,
    /// The number of the VXLAN network, 1 to 2^24 - 1: the same on all nodes.
    pub vxlan_vni: u32,
    /// The UDP port of VXLAN: the same on all nodes.
    pub vxlan_port: u16,
    /// The API under the node's identity.
    pub api: ApiHandle,
    /// How a shim is started; `None` is this very program with the argument `shim`.
    pub shim: Option<(PathBuf, Vec<OsString>)>,
    /// Registries that need settings.
    pub registries: Vec<RegistryConfig>,
    /// PEM certificates that registries may have, in addition to the machine's.
    pub registry_ca_file: Option<PathBuf>,
    /// Labels of the node beside those that say what machine it is.
    pub labels: BTreeMap<String, String>,
    /// Taints of the node. Only its first registration gives them: later they are for others to
    /// change.
    pub taints: Vec<Taint>,
    /// What pods may not use: for the system, and for the node itself.
    pub reserved: Vec<Reserved>,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// How many shims wait for a pod.
    pub spare_shims: usize,
    /// When pods are evicted because the node runs short.
    pub eviction: eviction::Settings,
    /// When images are removed that nobody uses.
    pub image_gc: ImageGc,
    /// A container's log is rotated at this size, in bytes (`containerLogMaxSize`).
    pub log_max_bytes: u64,
    /// How many files of a container's log are kept (`containerLogMaxFiles`).
    pub log_max_files: u32,
    /// Whether Guaranteed containers have whole processors to themselves (`cpuManagerPolicy`).
    pub exclusive_cpus: bool,
    /// The processors that the system keeps (`reservedSystemCPUs`); `None` takes as many as are
    /// reserved.
    pub reserved_cpus: Option<CpuSet>,
    /// The folder of pods that the node runs without being told to by the control plane
    /// (`staticPodPath`).
    pub static_pods: Option<PathBuf>,
    /// Kernel parameters that pods may set although others may feel it (`allowedUnsafeSysctls`).
    pub unsafe_sysctls: Vec<String>,
    /// How long pods may take to end when the machine goes down, and how much of that is for the
    /// critical ones (`shutdownGracePeriod`, `shutdownGracePeriodCriticalPods`). `None` leaves
    /// them running when the node stops.
    pub shutdown: Option<(Duration, Duration)>,
    /// The address of the cluster's name server, which every node makes its own; without any, pods
    /// use the node's name servers.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The range of services, when it is known.
    pub service_cidr: Option<Cidr>,
    /// Who answers for names that are not the cluster's.
    pub names: NamesConfig,
}

/// Who answers for names that are not the cluster's, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamesConfig {
    /// Name servers to ask; empty takes those of the node.
    pub upstreams: Vec<SocketAddr>,
    /// Domains with name servers of their own.
    pub stub_domains: BTreeMap<String, Vec<SocketAddr>>,
    /// Who may ask, beside the cluster's pods and this node.
    pub clients: Vec<Cidr>,
}

/// Resources that are kept from pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Thousandths of a processor.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
}

/// When images are removed that nobody uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageGc {
    /// Above this share of the disk in use (`imageGCHighThresholdPercent`).
    pub high_percent: u8,
    /// Until it is below this one (`imageGCLowThresholdPercent`).
    pub low_percent: u8,
    /// None that was used so lately (`imageMinimumGCAge`).
    pub minimum_age: Duration,
}

impl Default for ImageGc {
    /// Kubelet's own.
    fn default() -> Self {
        Self {
            high_percent: 85,
            low_percent: 80,
            minimum_age: Duration::from_secs(120),
        }
    }
}

impl AgentConfig {
    /// Settings with the usual values for all that may be left out.
    pub fn new(
        node_name: &str,
        data_dir: impl Into<PathBuf>,
        node_ip: IpAddr,
        pod_cidr: Cidr,
        cluster_cidr: Cidr,
        api: ApiHandle,
    ) -> Self {
        Self {
            node_name: node_name.to_string(),
            data_dir: data_dir.into(),
            node_ip,
            node_port: None,
            pod_cidr,
            cluster_cidr,
            network_mode: NetworkMode::default(),
            vxlan_vni: DEFAULT_VNI,
            vxlan_port: DEFAULT_VXLAN_PORT,
            api,
            shim: None,
            registries: Vec::new(),
            registry_ca_file: None,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            reserved: Vec::new(),
            // Kubernetes' own default; a block of 256 addresses holds twice as many.
            max_pods: 110,
            spare_shims: 2,
            eviction: eviction::Settings::default(),
            image_gc: ImageGc::default(),
            log_max_bytes: 10 << 20,
            log_max_files: 5,
            exclusive_cpus: false,
            reserved_cpus: None,
            static_pods: None,
            unsafe_sysctls: Vec::new(),
            shutdown: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_string(),
            service_cidr: None,
            names: NamesConfig::default(),
        }
    }

    /// The settings of the node's network.
    pub(crate) fn network(&self, layout: &Layout) -> NetworkConfig {
        NetworkConfig {
            bridge: bridge_name(layout),
            pod_cidr: self.pod_cidr,
            cluster_cidr: self.cluster_cidr,
            node_ip: self.node_ip,
            mode: self.network_mode,
            vxlan: VxlanSettings {
                device: overlay_name(layout),
                vni: self.vxlan_vni,
                port: self.vxlan_port,
            },
            mtu: None,
        }
    }
}

/// Where a node keeps its files. All of it follows from the data directory, so that several
/// nodes can share a machine and a restarted one finds what it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What outlives a boot.
    pub data: PathBuf,
    /// What does not: on a tmpfs.
    pub run: PathBuf,
    /// `pods` and `containers` below it hold the logs.
    pub log: PathBuf,
    /// The root of the node's cgroups.
    pub cgroup: String,
}

impl Layout {
    /// The places for a data directory.
    pub fn new(data_dir: &Path) -> Self {
        let usual = data_dir == Path::new(DEFAULT_DATA_DIR);
        let mark = format!(
            "kabuki-{:08x}",
            hash(data_dir.as_os_str().as_encoded_bytes())
        );
        Self {
            data: data_dir.to_path_buf(),
            run: match usual {
                true => PathBuf::from("/run/kabuki"),
                false => Path::new("/run").join(&mark),
            },
            log: match usual {
                true => PathBuf::from("/var/log"),
                false => data_dir.join("log"),
            },
            cgroup: format!("/{mark}"),
        }
    }

    /// Where shims live.
    pub fn shims(&self) -> PathBuf {
        self.run.join("shims")
    }

    /// The cgroup of the shims themselves.
    pub fn shim_cgroup(&self) -> String {
        format!("{}/shims", self.cgroup)
    }

    /// Layers of directories to mount on.
    pub fn places(&self) -> PathBuf {
        self.data.join("places")
    }

    /// The images.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Profiles that `seccompProfile.localhostProfile` names.
    pub fn seccomp(&self) -> PathBuf {
        self.data.join("seccomp")
    }

    /// All that is kept of pods.
    pub fn pods(&self) -> PathBuf {
        self.data.join("pods")
    }

    /// What is kept of one pod.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// The copy of what is known of services and endpoints.
    pub fn services(&self) -> PathBuf {
        self.data.join("services")
    }

    /// The copy of the node's pods.
    pub fn known_pods(&self) -> PathBuf {
        self.data.join("known-pods")
    }

    /// Who has which processors to itself.
    pub fn cpus(&self) -> PathBuf {
        self.data.join("cpu_manager_state")
    }

    /// All volumes in memory.
    pub fn memory_volumes(&self) -> PathBuf {
        self.run.join("volumes")
    }

    /// Logs by pod.
    pub fn pod_logs(&self) -> PathBuf {
        self.log.join("pods")
    }

    /// Links to the logs, one for each container, as log collectors expect them.
    pub fn container_logs(&self) -> PathBuf {
        self.log.join("containers")
    }
}

/// FNV-1a: short, and the same in every version.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| {
        (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)
    })
}

/// The bridge's name, at most 15 bytes; nodes that share a network namespace cannot share it.
pub(crate) fn bridge_name(layout: &Layout) -> String {
    format!("kb-{}", layout.cgroup.trim_start_matches("/kabuki-"))
}

/// The VXLAN device's name, as the bridge's.
pub(crate) fn overlay_name(layout: &Layout) -> String {
    format!("kv-{}", layout.cgroup.trim_start_matches("/kabuki-"))
}
