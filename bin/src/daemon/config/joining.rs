//! How a node comes into its cluster.

use anyhow::{Context, bail};
use kabuki_cluster::join::Token;
use kabuki_protocol::join::{Role, VersionRange};

/// What a node is asked to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum WantedRole {
    /// As the cluster needs it and the token allows.
    #[default]
    Auto,
    /// Hold the state, and run pods.
    Server,
    /// Run pods.
    Worker,
}

/// A program of another version, for tests of upgrades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Skew {
    /// One that also speaks the next version.
    Neighbour,
    /// One that no longer speaks this version.
    Distant,
}

#[derive(Debug, Clone, Default, clap::Args)]
pub struct JoinArgs {
    /// A member of the cluster to join, any of them; may be given several times. Without it the
    /// token's cluster is looked for on the local network
    #[arg(long, value_name = "ADDRESS[:PORT]", value_delimiter = ',')]
    pub join: Vec<String>,
    /// The token of the cluster to join (`kabuki token create` on one of its nodes prints it)
    #[arg(long, env = "KABUKI_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// What to be in the cluster: a server holds the state, a worker only runs pods
    #[arg(long, value_enum, value_name = "auto|server|worker")]
    pub role: Option<WantedRole>,
    /// Neither look for other nodes on the local network nor answer those who look
    #[arg(long)]
    pub no_discovery: bool,
    /// Where other nodes reach this one, when that is another address than they would see
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Option<String>,
    /// Pretend to be a program of another version
    #[arg(long, hide = true, value_enum)]
    pub version_skew_test: Option<Skew>,
}

/// How a node comes into its cluster, settled.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Members to ask: `HOST:PORT`.
    pub addresses: Vec<String>,
    /// What proves that it may.
    pub token: Option<Token>,
    /// What it wants to be; `None` leaves it to the cluster.
    pub role: Option<Role>,
    /// Whether the local network is used to find each other.
    pub discovery: bool,
    /// Where others reach it: host, and port when it differs.
    pub advertise: Option<(String, Option<u16>)>,
    /// What the program speaks.
    pub versions: VersionRange,
}

impl Joining {
    /// Settles the flags.
    pub fn settle(args: &JoinArgs) -> anyhow::Result<Self> {
        let token = args
            .token
            .as_deref()
            .map(str::trim)
            .map(str::parse::<Token>);
        let token = token.transpose().context("--token")?;
        if token.is_none() && !args.join.is_empty() {
            bail!(
                "--join needs --token: run `kabuki token create` on a node of the cluster, and give \
                 what it prints"
            );
        }
        if token.is_some() && args.join.is_empty() && args.no_discovery {
            bail!("with --no-discovery, --join ADDRESS must say where the cluster is");
        }
        let role = match args.role.unwrap_or_default() {
            WantedRole::Auto => None,
            WantedRole::Server => Some(Role::Server),
            WantedRole::Worker => Some(Role::Worker),
        };
        let addresses = args.join.iter().map(|a| with_port("--join", a, 6443));
        let advertise = args.advertise.as_deref().map(|a| split("--advertise", a));
        let own = kabuki_protocol::cluster::VERSIONS;
        Ok(Self {
            addresses: addresses.collect::<anyhow::Result<_>>()?,
            token,
            role,
            discovery: !args.no_discovery,
            advertise: advertise.transpose()?,
            versions: match args.version_skew_test {
                None => own,
                Some(Skew::Neighbour) => VersionRange {
                    oldest: own.oldest,
                    newest: own.newest + 1,
                },
                Some(Skew::Distant) => VersionRange {
                    oldest: own.newest + 2,
                    newest: own.newest + 2,
                },
            },
        })
    }
}

fn with_port(flag: &str, address: &str, default: u16) -> anyhow::Result<String> {
    let (host, port) = split(flag, address)?;
    let port = port.unwrap_or(default);
    Ok(match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    })
}

/// `HOST`, `HOST:PORT`, `V6` or `[V6]:PORT`.
fn split(flag: &str, address: &str) -> anyhow::Result<(String, Option<u16>)> {
    let wrong = || format!("{flag} {address:?} is no address like 10.0.0.1 or node-1:6443");
    let port = |text: &str| text.parse::<u16>().ok().filter(|p| *p > 0);
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest.split_once(']').with_context(wrong)?;
        return match after.strip_prefix(':') {
            Some(text) => Ok((host.to_string(), Some(port(text).with_context(wrong)?))),
            None if after.is_empty() => Ok((host.to_string(), None)),
            None => bail!(wrong()),
        };
    }
    match address.split_once(':') {
        // More than one colon: an IPv6 address without a port.
        Some((_, rest)) if rest.contains(':') => Ok((address.to_string(), None)),
        Some((host, text)) if !host.is_empty() => {
            Ok((host.to_string(), Some(port(text).with_context(wrong)?)))
        }
        None if !address.is_empty() => Ok((address.to_string(), None)),
        _ => bail!(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_the_usual_port_when_they_have_none() {
        let with = |a| with_port("--join", a, 6443).ok();
        assert_eq!(with("10.0.0.1").as_deref(), Some("10.0.0.1:6443"));
        assert_eq!(with("node-1:7443").as_deref(), Some("node-1:7443"));
        assert_eq!(with("fd00::1").as_deref(), Some("[fd00::1]:6443"));
        assert_eq!(with("[fd00::1]:7443").as_deref(), Some("[fd00::1]:7443"));
        for wrong in ["", ":6443", "host:", "host:99999", "[fd00::1", "[fd00::1]x"] {
            assert!(with(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn joining_needs_a_token() {
        let args = JoinArgs {
            join: vec!["10.0.0.1".to_string()],
            ..JoinArgs::default()
        };
        let error = Joining::settle(&args).expect_err("refused").to_string();
        assert!(error.contains("kabuki token create"), "{error}");
    }
}
