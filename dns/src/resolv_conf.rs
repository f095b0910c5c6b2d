//! `/etc/resolv.conf` of a pod (Kubernetes, "DNS for Services and Pods"). Pure: the node's own
//! file comes in as text.

use kabuki_model::k8s_openapi::api::core::v1::PodDNSConfig;
use std::net::IpAddr;

/// More name servers are not asked by the C library (`MAXNS`).
const NAMESERVERS_MAX: usize = 3;
/// Kubernetes' own limits of the search list.
const SEARCH_PATHS_MAX: usize = 32;
const SEARCH_CHARS_MAX: usize = 2048;
/// With the cluster's names, how many dots a name needs to be tried as it is first.
const CLUSTER_NDOTS: &str = "ndots:5";

/// What a pod's file follows from.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `spec.dnsPolicy`; empty is `ClusterFirst`.
    pub policy: String,
    /// Whether the pod has the node's network.
    pub host_network: bool,
    /// `spec.dnsConfig`
    pub config: Option<PodDNSConfig>,
    /// The pod's namespace.
    pub namespace: String,
    /// The cluster's name servers; empty when there are none.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub cluster_domain: String,
}

/// Something for an event of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The event's reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// A parsed file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Resolver {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

/// The text of the pod's file, and what had to be changed or left out. `node` is the node's own
/// file.
///
/// Where the cluster has no name servers, the policies that ask for them mean the node's own file,
/// in silence: defaulting writes `ClusterFirst` into every pod that says nothing, so a warning
/// would meet every pod of such a cluster, and tell none of those that care.
pub fn build(settings: &Settings, node: &str) -> (String, Vec<Warning>) {
    let mut warnings = Vec::new();
    let node = parse(node);
    let mut resolver = match settings.policy.as_str() {
        "None" => Resolver::default(),
        "Default" => node,
        // With the node's network, the cluster's names must be asked for.
        "" | "ClusterFirst" if settings.host_network => node,
        _ if settings.cluster_dns.is_empty() => node,
        _ => cluster(settings, node),
    };
    if let Some(config) = &settings.config {
        merge(&mut resolver, config);
    }
    limit(&mut resolver, &mut warnings);
    (text(&resolver), warnings)
}

fn cluster(settings: &Settings, node: Resolver) -> Resolver {
    let domain = &settings.cluster_domain;
    let mut search = vec![
        format!("{}.svc.{domain}", settings.namespace),
        format!("svc.{domain}"),
        domain.clone(),
    ];
    append(&mut search, node.search);
    Resolver {
        servers: settings.cluster_dns.iter().map(IpAddr::to_string).collect(),
        search,
        options: vec![CLUSTER_NDOTS.to_string()],
    }
}

/// The names to try for a name, one after the other, as a resolver with this file does
/// (resolv.conf(5)): with the search list first, unless the name has enough dots.
pub fn candidates(file: &str, name: &str) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_string()];
    }
    let resolver = parse(file);
    let ndots = resolver
        .options
        .iter()
        .filter_map(|o| o.strip_prefix("ndots:"));
    let ndots = ndots
        .filter_map(|n| n.parse().ok())
        .next_back()
        .unwrap_or(1);
    let searched = resolver
        .search
        .iter()
        .map(|domain| format!("{name}.{domain}"));
    let mut names: Vec<String> = searched.collect();
    let place = match name.matches('.').count() >= ndots {
        true => 0,
        false => names.len(),
    };
    names.insert(place, name.to_string());
    names
}

/// The name servers of a file, in order.
pub fn nameservers(file: &str) -> Vec<IpAddr> {
    let servers = parse(file).servers;
    servers.iter().filter_map(|s| s.parse().ok()).collect()
}

fn append(list: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

fn merge(resolver: &mut Resolver, config: &PodDNSConfig) {
    append(
        &mut resolver.servers,
        config.nameservers.iter().flatten().cloned(),
    );
    append(
        &mut resolver.search,
        config.searches.iter().flatten().cloned(),
    );
    for option in config.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        resolver
            .options
            .retain(|held| held.split(':').next() != Some(name.as_str()));
        resolver.options.push(match option.value.as_deref() {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name,
        });
    }
}

fn limit(resolver: &mut Resolver, warnings: &mut Vec<Warning>) {
    if resolver.servers.len() > NAMESERVERS_MAX {
        resolver.servers.truncate(NAMESERVERS_MAX);
        warnings.push(forming(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied \
             nameserver line is: {}",
            resolver.servers.join(" ")
        )));
    }
    let before = resolver.search.len();
    resolver.search.truncate(SEARCH_PATHS_MAX);
    while resolver.search.join(" ").len() > SEARCH_CHARS_MAX {
        resolver.search.pop();
    }
    if resolver.search.len() < before {
        warnings.push(forming(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied \
             search line is: {}",
            resolver.search.join(" ")
        )));
    }
}

fn forming(message: String) -> Warning {
    Warning {
        reason: "DNSConfigForming",
        message,
    }
}

/// Reads a file as the C library does: the last `search` or `domain` counts, comments begin at
/// `#` or `;`.
fn parse(text: &str) -> Resolver {
    let mut resolver = Resolver::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace().map(str::to_string);
        match words.next().as_deref() {
            Some("nameserver") => append(&mut resolver.servers, words.next()),
            Some("search" | "domain") => {
                resolver.search.clear();
                append(&mut resolver.search, words.filter(|w| w != "."));
            }
            Some("options") => append(&mut resolver.options, words),
            _ => {}
        }
    }
    resolver
}

fn text(resolver: &Resolver) -> String {
    let mut text = String::new();
    if !resolver.search.is_empty() {
        text.push_str(&format!("search {}\n", resolver.search.join(" ")));
    }
    for server in &resolver.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !resolver.options.is_empty() {
        text.push_str(&format!("options {}\n", resolver.options.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kabuki_model::k8s_openapi::api::core::v1::PodDNSConfigOption;

    const NODE: &str = "# written by hand\ndomain old\nsearch lan example.org\n\
        nameserver 192.0.2.1 ; first\nnameserver 192.0.2.2\noptions edns0\n";

    fn settings(policy: &str) -> Settings {
        Settings {
            policy: policy.to_string(),
            namespace: "shop".to_string(),
            cluster_dns: vec![[10, 96, 0, 10].into()],
            cluster_domain: "cluster.local".to_string(),
            ..Settings::default()
        }
    }

    #[test]
    fn cluster_first_asks_the_cluster_and_keeps_the_nodes_search() {
        let (text, warnings) = build(&settings("ClusterFirst"), NODE);
        assert_eq!(
            text,
            "search shop.svc.cluster.local svc.cluster.local cluster.local lan example.org\n\
             nameserver 10.96.0.10\noptions ndots:5\n"
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn without_cluster_dns_the_nodes_file_is_taken_in_silence() {
        let own = Settings {
            cluster_dns: Vec::new(),
            ..settings("")
        };
        let (text, warnings) = build(&own, NODE);
        assert_eq!(
            text,
            "search lan example.org\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions edns0\n"
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_name_is_tried_with_the_search_list_unless_it_has_enough_dots() {
        let (text, _) = build(&settings("ClusterFirst"), "");
        assert_eq!(
            candidates(&text, "web"),
            [
                "web.shop.svc.cluster.local",
                "web.svc.cluster.local",
                "web.cluster.local",
                "web"
            ]
        );
        assert_eq!(candidates(&text, "a.b.c.d.e.f")[0], "a.b.c.d.e.f");
        assert_eq!(candidates(&text, "web."), ["web."]);
        assert_eq!(candidates(NODE, "a.b")[0], "a.b");
        assert_eq!(nameservers(NODE).len(), 2);
    }

    #[test]
    fn host_network_needs_the_policy_that_names_it() {
        let own = |policy| Settings {
            host_network: true,
            ..settings(policy)
        };
        assert!(build(&own("ClusterFirst"), NODE).0.contains("192.0.2.1"));
        assert!(
            build(&own("ClusterFirstWithHostNet"), NODE)
                .0
                .contains("10.96.0.10")
        );
    }

    #[test]
    fn default_is_the_nodes_file_and_none_is_the_pods_own_alone() {
        let (text, _) = build(&settings("Default"), NODE);
        assert!(text.contains("192.0.2.1") && !text.contains("10.96.0.10"));
        let config = PodDNSConfig {
            nameservers: Some(vec!["198.51.100.1".to_string()]),
            ..PodDNSConfig::default()
        };
        let own = Settings {
            config: Some(config),
            ..settings("None")
        };
        assert_eq!(build(&own, NODE).0, "nameserver 198.51.100.1\n");
    }

    #[test]
    fn the_pods_own_settings_are_merged_and_limits_hold() {
        let option = |name: &str, value: Option<&str>| PodDNSConfigOption {
            name: Some(name.to_string()),
            value: value.map(str::to_string),
        };
        let config = PodDNSConfig {
            nameservers: Some((1..=5).map(|n| format!("198.51.100.{n}")).collect()),
            searches: Some((0..40).map(|n| format!("s{n}.example")).collect()),
            options: Some(vec![option("ndots", Some("2")), option("rotate", None)]),
        };
        let own = Settings {
            config: Some(config),
            ..settings("ClusterFirst")
        };
        let (text, warnings) = build(&own, "");
        assert_eq!(text.matches("nameserver").count(), 3);
        let search = text.lines().next().expect("a line");
        assert_eq!(search.split(' ').count(), 1 + SEARCH_PATHS_MAX);
        assert!(text.ends_with("options ndots:2 rotate\n"));
        assert!(warnings.iter().all(|w| w.reason == "DNSConfigForming") && warnings.len() == 2);
        let long = PodDNSConfig {
            searches: Some((0..20).map(|n| format!("{}{n}", "x".repeat(200))).collect()),
            ..PodDNSConfig::default()
        };
        let own = Settings {
            config: Some(long),
            ..settings("None")
        };
        let (text, _) = build(&own, NODE);
        assert!(text.len() <= SEARCH_CHARS_MAX + "search \n".len());
    }
}
