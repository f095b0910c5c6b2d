//! What an agent is told when it starts, and where it keeps its files.

use kabuki_net::plan::Cidr;
use kabuki_protocol::ApiHandle;
use kabuki_runtime::image::RegistryConfig;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

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
    /// The node's block of pod addresses.
    pub pod_cidr: Cidr,
    /// The block of all nodes' pods.
    pub cluster_cidr: Cidr,
    /// The API under the node's identity.
    pub api: ApiHandle,
    /// How a shim is started; `None` is this very program with the argument `shim`.
    pub shim: Option<(PathBuf, Vec<OsString>)>,
    /// Registries that need settings.
    pub registries: Vec<RegistryConfig>,
    /// PEM certificates that registries may have, in addition to the machine's.
    pub registry_ca_file: Option<PathBuf>,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// How many shims wait for a pod.
    pub spare_shims: usize,
    /// The cluster's name servers; without any, pods use the node's.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub cluster_domain: String,
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
            pod_cidr,
            cluster_cidr,
            api,
            shim: None,
            registries: Vec::new(),
            registry_ca_file: None,
            // Kubernetes' own default; a block of 256 addresses holds twice as many.
            max_pods: 110,
            spare_shims: 2,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_string(),
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
