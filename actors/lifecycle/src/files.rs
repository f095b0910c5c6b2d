//! Files that every container finds, and the names in them.

use k8s_openapi::api::core::v1::{HostAlias, PodSpec};

/// Linux takes no longer host name, in bytes.
const HOSTNAME_MAX: usize = 63;
/// Nor a longer name for the node, dots included.
const NODENAME_MAX: usize = 64;

/// The pod's host name: its own, or its name as far as it fits.
pub fn hostname(pod_name: &str, spec: &PodSpec) -> String {
    let own = spec
        .hostname_override
        .as_deref()
        .or(spec.hostname.as_deref());
    let name = own.filter(|name| !name.is_empty()).unwrap_or(pod_name);
    let cut = name.get(..HOSTNAME_MAX).unwrap_or(name);
    cut.trim_end_matches(['-', '.']).to_string()
}

/// The pod's name in DNS, when it has a subdomain.
pub fn fully_qualified(
    hostname: &str,
    namespace: &str,
    spec: &PodSpec,
    domain: &str,
) -> Option<String> {
    let subdomain = spec.subdomain.as_deref().filter(|s| !s.is_empty())?;
    Some(format!("{hostname}.{subdomain}.{namespace}.svc.{domain}"))
}

/// The name that the kernel knows the pod by: the one in DNS, if the pod asks for that and has one
/// (`setHostnameAsFQDN`), else its host name.
///
/// # Errors
/// When the name in DNS is too long for the kernel.
pub fn kernel_name(
    hostname: &str,
    qualified: Option<&str>,
    spec: &PodSpec,
) -> Result<String, String> {
    let Some(qualified) = qualified.filter(|_| spec.set_hostname_as_fqdn == Some(true)) else {
        return Ok(hostname.to_string());
    };
    if qualified.len() > NODENAME_MAX {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {qualified} is \
             too long ({NODENAME_MAX} characters is the max, {} characters requested)",
            qualified.len()
        ));
    }
    Ok(qualified.to_string())
}

/// `/etc/hosts` of a pod with its own network.
pub fn hosts(
    ips: &[String],
    hostname: &str,
    qualified: Option<&str>,
    aliases: &[HostAlias],
) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for ip in ips {
        match qualified {
            Some(name) => text.push_str(&format!("{ip}\t{name}\t{hostname}\n")),
            None => text.push_str(&format!("{ip}\t{hostname}\n")),
        }
    }
    text.push_str(&aliases_text(aliases));
    text
}

/// `/etc/hosts` of a pod with the node's network: the node's own, and the aliases.
pub fn hosts_of_node(node: &str, aliases: &[HostAlias]) -> String {
    format!(
        "# Kubernetes-managed hosts file (host network).\n{node}{}",
        aliases_text(aliases)
    )
}

fn aliases_text(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_the_name_in_dns_when_the_pod_asks_for_it() {
        let mut spec = PodSpec::default();
        let long = format!("web.{}.default.svc.cluster.local", "s".repeat(40));
        assert_eq!(
            kernel_name("web", Some(&long), &spec),
            Ok("web".to_string())
        );
        spec.set_hostname_as_fqdn = Some(true);
        assert_eq!(kernel_name("web", None, &spec), Ok("web".to_string()));
        let name = "web.db.default.svc.cluster.local";
        assert_eq!(kernel_name("web", Some(name), &spec), Ok(name.to_string()));
        assert!(kernel_name("web", Some(&long), &spec).is_err());
    }

    #[test]
    fn hosts_names_the_pod_and_its_aliases() {
        let alias = HostAlias {
            ip: "10.9.9.9".to_string(),
            hostnames: Some(vec!["db".to_string(), "db.local".to_string()]),
        };
        let text = hosts(&["10.0.0.7".to_string()], "web", None, &[alias]);
        assert!(text.contains("\n10.0.0.7\tweb\n"));
        assert!(text.ends_with("# Entries added by HostAliases.\n10.9.9.9\tdb\tdb.local\n"));
    }

    #[test]
    fn a_long_name_is_cut_where_linux_needs_it() {
        let name = format!("{}-{}", "a".repeat(62), "b".repeat(20));
        assert_eq!(hostname(&name, &PodSpec::default()), "a".repeat(62));
        let spec = PodSpec {
            hostname: Some("own".to_string()),
            ..PodSpec::default()
        };
        assert_eq!(hostname(&name, &spec), "own");
    }
}
