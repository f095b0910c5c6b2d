//! What a node is told: flags, then the configuration file, then defaults.

use anyhow::{Context, bail};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where a node keeps everything, unless told otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/kabuki";

/// Run a node of the cluster on this machine
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  \
    # A cluster of one, on the standard data directory and port\n  \
    kabuki node\n\n  \
    # A second one on the same machine, apart from the first\n  \
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
    /// The addresses of this node's pods [default: 10.244.0.0/24]
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<String>,
    /// The addresses of services [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub service_cidr: Option<String>,
    /// A YAML file with the same settings (name, dataDir, listen, podCidr, serviceCidr) and
    /// maxPods; flags win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    name: Option<String>,
    data_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
    pod_cidr: Option<String>,
    service_cidr: Option<String>,
    max_pods: Option<u32>,
}

/// The settings of a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name: an RFC 1123 subdomain.
    pub name: String,
    /// Where everything of this node is kept.
    pub data_dir: PathBuf,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The addresses of this node's pods.
    pub pod_cidr: String,
    /// The addresses of services.
    pub service_cidr: String,
    /// How many pods the node takes; `None` is the agent's default.
    pub max_pods: Option<u32>,
}

impl Config {
    /// Settles flags, file and defaults.
    pub fn settle(args: NodeArgs) -> anyhow::Result<Self> {
        let file = match &args.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let name = match args.name.or(file.name) {
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
            data_dir,
            listen: args
                .listen
                .or(file.listen)
                .unwrap_or(SocketAddr::new(any, 6443)),
            pod_cidr: args
                .pod_cidr
                .or(file.pod_cidr)
                .unwrap_or_else(|| "10.244.0.0/24".into()),
            service_cidr: args
                .service_cidr
                .or(file.service_cidr)
                .unwrap_or_else(|| "10.96.0.0/16".into()),
            max_pods: file.max_pods,
        };
        check_cidr("--pod-cidr", &config.pod_cidr)?;
        check_cidr("--service-cidr", &config.service_cidr)?;
        Ok(config)
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
            data_dir: None,
            listen: None,
            pod_cidr: None,
            service_cidr: None,
            config: None,
        }
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("node.yaml");
        std::fs::write(&path, "name: b\npodCidr: 10.9.0.0/24\n").expect("writes");
        let mut given = args();
        given.config = Some(path);
        let config = Config::settle(given).expect("is fine");
        assert_eq!(
            (config.name.as_str(), config.pod_cidr.as_str()),
            ("a", "10.9.0.0/24")
        );
        assert_eq!(config.listen.port(), 6443);
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
