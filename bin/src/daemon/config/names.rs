//! What a node is told about names: the cluster's domain, and who answers for all others.

use anyhow::{Context, bail};
use kabuki_agent::NamesConfig;
use kabuki_model::syntax;
use kabuki_net::plan::Cidr;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// The cluster's domain, unless told otherwise.
const DEFAULT_DOMAIN: &str = "cluster.local";
/// Names of pods below a longer one would not fit.
const DOMAIN_MAX: usize = 54;
const DNS_PORT: u16 = 53;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct NamesArgs {
    /// The domain below which services and pods have names; the same on all nodes
    /// [default: cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: Option<String>,
    /// A name server for all other names; may be given several times [default: those of this
    /// machine]
    #[arg(
        long = "dns-upstream",
        value_name = "ADDRESS[:PORT]",
        value_delimiter = ','
    )]
    pub dns_upstreams: Vec<String>,
}

/// The same as a file has it, and what only a file says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NamesFile {
    #[serde(default)]
    upstreams: Vec<String>,
    #[serde(default)]
    stub_domains: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    clients: Vec<String>,
}

/// Names, settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The cluster's domain.
    pub domain: String,
    /// Who answers for other names, and to whom.
    pub config: NamesConfig,
}

impl Names {
    /// Settles flags and file.
    pub(super) fn settle(
        args: &NamesArgs,
        domain: Option<String>,
        file: &NamesFile,
    ) -> anyhow::Result<Self> {
        let domain = args.cluster_domain.clone().or(domain);
        let domain = domain.unwrap_or_else(|| DEFAULT_DOMAIN.to_string());
        let domain = domain.trim_end_matches('.').to_string();
        if let Some(why) = syntax::dns_subdomain(&domain) {
            bail!("--cluster-domain {domain:?}: {why}");
        }
        if domain.len() > DOMAIN_MAX {
            bail!("--cluster-domain {domain:?} has more than {DOMAIN_MAX} characters");
        }
        let upstreams = match args.dns_upstreams.is_empty() {
            true => servers("dns.upstreams", &file.upstreams)?,
            false => servers("--dns-upstream", &args.dns_upstreams)?,
        };
        let mut stub_domains = BTreeMap::new();
        for (stub, given) in &file.stub_domains {
            let name = stub.trim_end_matches('.').to_ascii_lowercase();
            if let Some(why) = syntax::dns_subdomain(&name) {
                bail!("dns.stubDomains {stub:?}: {why}");
            }
            if given.is_empty() {
                bail!("dns.stubDomains {stub:?} has no name servers");
            }
            stub_domains.insert(name, servers("dns.stubDomains", given)?);
        }
        let clients = file.clients.iter();
        let clients = clients.map(|text| {
            let cidr = text.parse::<Cidr>();
            cidr.with_context(|| format!("dns.clients {text:?}"))
        });
        Ok(Self {
            domain,
            config: NamesConfig {
                upstreams,
                stub_domains,
                clients: clients.collect::<anyhow::Result<_>>()?,
            },
        })
    }
}

fn servers(what: &str, texts: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    let read = |text: &String| {
        let bare = text.parse::<IpAddr>().map(|a| SocketAddr::new(a, DNS_PORT));
        bare.or_else(|_| text.parse::<SocketAddr>())
            .with_context(|| format!("{what} {text:?} is no ADDRESS or ADDRESS:PORT"))
    };
    texts.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(args: &NamesArgs, file: &str) -> anyhow::Result<Names> {
        let file: NamesFile = serde_yaml_ng::from_str(file)?;
        Names::settle(args, None, &file)
    }

    #[test]
    fn servers_have_port_53_unless_told_otherwise_and_flags_win() {
        let file = "{upstreams: [192.0.2.1], stubDomains: {Corp.Example.: ['10.0.0.1:5353']}, \
                    clients: [192.0.2.0/24]}";
        let names = settle(&NamesArgs::default(), file).expect("is fine");
        assert_eq!(names.domain, "cluster.local");
        assert_eq!(names.config.upstreams[0].to_string(), "192.0.2.1:53");
        let stub = &names.config.stub_domains["corp.example"];
        assert_eq!(stub[0].to_string(), "10.0.0.1:5353");
        assert_eq!(names.config.clients.len(), 1);
        let args = NamesArgs {
            cluster_domain: Some("k8s.example.".to_string()),
            dns_upstreams: vec!["fd00::1".to_string()],
        };
        let names = settle(&args, file).expect("is fine");
        assert_eq!(names.domain, "k8s.example");
        assert_eq!(names.config.upstreams[0].to_string(), "[fd00::1]:53");
    }

    #[test]
    fn what_is_no_name_or_address_is_refused() {
        let none = NamesArgs::default();
        for (file, why) in [
            ("{upstreams: [one]}", "dns.upstreams \"one\""),
            (
                "{stubDomains: {'a..b': [10.0.0.1]}}",
                "dns.stubDomains \"a..b\"",
            ),
            ("{stubDomains: {a: []}}", "has no name servers"),
            ("{clients: [10.0.0.0]}", "dns.clients \"10.0.0.0\""),
            ("{upstream: []}", "unknown field `upstream`"),
        ] {
            let error = format!("{:#}", settle(&none, file).expect_err("refused"));
            assert!(error.contains(why), "{error}");
        }
        let args = NamesArgs {
            cluster_domain: Some("Cluster".to_string()),
            ..NamesArgs::default()
        };
        let error = settle(&args, "{}").expect_err("refused").to_string();
        assert!(
            error.starts_with("--cluster-domain \"Cluster\": "),
            "{error}"
        );
    }
}
