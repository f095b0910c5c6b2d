//! What a node is told: flags, then the configuration file, then defaults.

mod joining;
mod names;
mod own;
mod pods;

pub use joining::{JoinArgs, Joining};
pub use names::{Names, NamesArgs};
pub use own::{Own, OwnArgs};
pub use pods::Pods;

use anyhow::{Context, bail};
use jiff::SignedDuration;
use kabuki_net::plan::NetworkMode;
use names::NamesFile;
use own::OwnFile;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where a node keeps everything, unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/kabuki";

/// Run a node of the cluster on this machine
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  \
    # A cluster of one, on the standard data directory and port\n  \
    kabuki node\n\n  \
    # A second one, on another machine: `kabuki token create` on the first prints this\n  \
    kabuki node --join 10.0.0.1 --token K1-...\n\n  \
    # The same on a local network, where nodes find each other\n  \
    kabuki node --token K1-...\n\n  \
    # A cluster apart from the first on the same machine\n  \
    kabuki node --data-dir /tmp/kabuki --listen 127.0.0.1:7443 --pod-cidr 10.98.0.0/24")]
pub struct NodeArgs {
    /// The node's name [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Where everything of this node is kept [default: /var/lib/kabuki]
    #[arg(long, value_name = "DIR", env = "KABUKI_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where clients connect [default: 0.0.0.0:6443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    #[command(flatten)]
    pub joining: JoinArgs,
    /// The addresses of the pods of a new cluster, of which each node gets a block
    /// [default: 10.244.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<String>,
    /// The addresses of the services of a new cluster [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub service_cidr: Option<String>,
    /// How other nodes' pods are reached: by plain routes (direct), through VXLAN (vxlan), or by
    /// plain routes where nodes share a segment and VXLAN elsewhere (auto); the same on all
    /// nodes [default: auto]
    #[arg(long, value_name = "vxlan|direct|auto")]
    pub network: Option<NetworkMode>,
    #[command(flatten)]
    pub own: OwnArgs,
    #[command(flatten)]
    pub names: NamesArgs,
    /// How long a node may be silent before it counts as not ready; for servers [default: 5s]
    #[arg(long, value_name = "DURATION")]
    pub node_monitor_grace_period: Option<SignedDuration>,
    /// Whether servers keep the machine's processors from halting while writes follow each other
    /// closely: fast answers (busy), or power saved (never) [default: busy]
    #[arg(long, value_name = "busy|never", hide_possible_values = true)]
    pub keep_awake: Option<KeepAwake>,
    /// A YAML file with the same settings (name, dataDir, listen, podCidr, serviceCidr, network,
    /// keepAwake, labels, taints, systemReserved, kubeReserved, clusterDomain), maxPods, dns with
    /// upstreams, stubDomains and clients, and the keys of kubelet's configuration for eviction,
    /// image collection, container logs, static pods (staticPodPath) and exclusive processors
    /// (cpuManagerPolicy, reservedSystemCPUs); flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// When a server keeps the machine's processors from halting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepAwake {
    /// While writes follow each other closely.
    #[default]
    Busy,
    /// At no time.
    Never,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    name: Option<String>,
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    pod_cidr: Option<String>,
    service_cidr: Option<String>,
    network: Option<NetworkMode>,
    keep_awake: Option<KeepAwake>,
    max_pods: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    taints: Vec<String>,
    #[serde(default)]
    system_reserved: BTreeMap<String, String>,
    #[serde(default)]
    kube_reserved: BTreeMap<String, String>,
    cluster_domain: Option<String>,
    #[serde(default)]
    dns: NamesFile,
    #[serde(flatten)]
    pods: pods::PodsFile,
}

/// The settings of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name: an RFC 1123 subdomain.
    pub name: String,
    /// Whether somebody chose the name.
    pub name_given: bool,
    /// How the node comes into its cluster.
    pub joining: Joining,
    /// Where everything of this node is kept.
    pub data_dir: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The addresses of the pods of a new cluster.
    pub pod_cidr: String,
    /// The addresses of services.
    pub service_cidr: String,
    /// How other nodes' pods are reached.
    pub network: NetworkMode,
    /// Whether the machine's processors are kept from halting while writes follow each other closely.
    pub keep_awake: KeepAwake,
    /// How long a node may be silent; `None` is the control plane's default.
    pub node_grace: Option<SignedDuration>,
    /// How many pods the node takes; `None` is the agent's default.
    pub max_pods: Option<u32>,
    /// What the node says of itself and keeps for itself.
    pub own: Own,
    /// The cluster's domain, and who answers for other names.
    pub names: Names,
    /// How the node looks after its pods.
    pub pods: Pods,
}

impl Config {
    /// Settles flags, file and defaults.
    pub fn settle(args: NodeArgs) -> anyhow::Result<Self> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let own = OwnFile {
            labels: file.labels,
            taints: file.taints,
            system_reserved: file.system_reserved,
            kube_reserved: file.kube_reserved,
        };
        let joining = Joining::settle(&args.joining)?;
        let given = args.name.or(file.name);
        let name_given = given.is_some();
        let name = match given {
            Some(name) => name,
            None => host_name()?,
        };
        if let Some(why) = refuse_name(&name) {
            bail!("--name {name:?} cannot be a node's name: {why}");
        }
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let data_dir = args.data_dir.or(file.data_dir);
        let data_dir = data_dir.unwrap_or_else(|| DEFAULT_DATA_DIR.into());
        let data_dir = std::path::absolute(&data_dir)
            .with_context(|| format!("--data-dir {}", data_dir.display()))?;
        let config = Self {
            name,
            name_given,
            joining,
            data_dir,
            listen: args
                .listen
                .or(file.listen)
                .unwrap_or(SocketAddr::new(any, 6443)),
            pod_cidr: args
                .pod_cidr
                .or(file.pod_cidr)
                .unwrap_or_else(|| "10.244.0.0/16".into()),
            service_cidr: args
                .service_cidr
                .or(file.service_cidr)
                .unwrap_or_else(|| "10.96.0.0/16".into()),
            network: args.network.or(file.network).unwrap_or_default(),
            keep_awake: args.keep_awake.or(file.keep_awake).unwrap_or_default(),
            node_grace: args.node_monitor_grace_period,
            max_pods: file.max_pods,
            own: Own::settle(&args.own, own)?,
            names: Names::settle(&args.names, file.cluster_domain, &file.dns)?,
            pods: Pods::settle(file.pods)?,
        };
        check_cidr("--pod-cidr", &config.pod_cidr)?;
        check_cidr("--service-cidr", &config.service_cidr)?;
        Ok(config)
    }
}

impl Config {
    /// Whether this node answers those who look for its cluster on the local network: not when
    /// nobody from there could reach it.
    pub fn answers_seekers(&self) -> bool {
        self.joining.discovery && !self.listen.ip().is_loopback()
    }
}

fn read_file(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    serde_yaml_ng::from_str(&text)
        .with_context(|| format!("the configuration file {} is wrong", path.display()))
}

fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("cannot read the host's name; give --name")?;
    Ok(name.to_string_lossy().to_lowercase())
}

fn refuse_name(name: &str) -> Option<&'static str> {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if name.len() > 253 {
        return Some("it has more than 253 characters");
    }
    let fine = edge(name.chars().next()) && edge(name.chars().last()) && name.chars().all(inner);
    (!fine).then_some(
        "it must consist of lower case letters, digits, '-' and '.', and begin and end with a \
         letter or digit",
    )
}

fn check_cidr(flag: &str, cidr: &str) -> anyhow::Result<()> {
    let parsed = cidr.split_once('/').and_then(|(address, length)| {
        Some((
            address.parse::<Ipv4Addr>().ok()?,
            length.parse::<u32>().ok()?,
        ))
    });
    let Some((address, length)) = parsed else {
        bail!("{flag} {cidr:?} is no IPv4 range like 10.244.0.0/24");
    };
    if !(8..=30).contains(&length) {
        bail!("{flag} {cidr:?}: the prefix length must be from 8 to 30");
    }
    let mask = u32::MAX << (32 - length);
    if u32::from(address) & !mask != 0 {
        let network = Ipv4Addr::from(u32::from(address) & mask);
        bail!("{flag} {cidr:?} has host bits set; did you mean {network}/{length}?");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> NodeArgs {
        NodeArgs {
            name: Some("a".into()),
            joining: JoinArgs::default(),
            data_dir: None,
            listen: None,
            pod_cidr: None,
            service_cidr: None,
            network: None,
            keep_awake: None,
            own: OwnArgs::default(),
            names: NamesArgs::default(),
            node_monitor_grace_period: None,
            config: None,
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("node.yaml");
        let text = "name: b\npodCidr: 10.9.0.0/24\nlabels: {rack: \"7\"}\ntaints: [a:NoSchedule]\n\
                    systemReserved: {memory: 1Gi}\n";
        std::fs::write(&path, text).expect("writes");
        let mut given = args();
        given.config = Some(path);
        let config = Config::settle(given).expect("is fine");
        assert_eq!(
            (config.name.as_str(), config.pod_cidr.as_str()),
            ("a", "10.9.0.0/24")
        );
        assert_eq!(config.listen.port(), 6443);
        assert_eq!(config.own.labels["rack"], "7");
        assert_eq!(config.own.taints[0].key, "a");
        assert_eq!(config.own.reserved[0].memory, 1 << 30);
    }

    #[test]
    fn processors_are_kept_awake_while_it_is_busy_unless_told_otherwise() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("node.yaml");
        let with = |text: &str, flag: Option<KeepAwake>| {
            std::fs::write(&path, text).expect("writes");
            let given = NodeArgs {
                config: Some(path.clone()),
                keep_awake: flag,
                ..args()
            };
            Config::settle(given).map(|c| c.keep_awake)
        };
        assert_eq!(with("{}", None).expect("is fine"), KeepAwake::Busy);
        let never = "keepAwake: never\n";
        assert_eq!(with(never, None).expect("is fine"), KeepAwake::Never);
        let flag = Some(KeepAwake::Busy);
        assert_eq!(with(never, flag).expect("is fine"), KeepAwake::Busy);
        let wrong = with("keepAwake: always\n", None).expect_err("there is no such time");
        assert!(format!("{wrong:#}").contains("always"), "{wrong:#}");
    }

    #[test]
    fn the_network_mode_is_auto_unless_told_otherwise() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("node.yaml");
        std::fs::write(&path, "network: direct\n").expect("writes");
        let mut given = args();
        let settled = |given: &NodeArgs| Config::settle(given.clone()).map(|c| c.network);
        assert_eq!(settled(&given).expect("is fine"), NetworkMode::Auto);
        given.config = Some(path.clone());
        assert_eq!(settled(&given).expect("is fine"), NetworkMode::Direct);
        given.network = Some(NetworkMode::Vxlan);
        assert_eq!(settled(&given).expect("is fine"), NetworkMode::Vxlan);
        std::fs::write(&path, "network: fast\n").expect("writes");
        let error = format!("{:#}", settled(&given).expect_err("refused"));
        assert!(error.contains("unknown variant `fast`"), "{error}");
    }

    #[test]
    fn unknown_settings_and_wrong_ranges_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("node.yaml");
        std::fs::write(&path, "podCIDR: 10.9.0.0/24\n").expect("writes");
        let mut given = args();
        given.config = Some(path);
        let error = format!("{:#}", Config::settle(given).expect_err("refused"));
        assert!(error.contains("unknown field `podCIDR`"), "{error}");
        let mut given = args();
        given.pod_cidr = Some("10.9.0.1/24".into());
        let error = Config::settle(given).expect_err("refused").to_string();
        assert!(error.ends_with("did you mean 10.9.0.0/24?"), "{error}");
    }
}
