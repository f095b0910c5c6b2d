//! `create service clusterip|nodeport|loadbalancer|externalname`.

use super::simple::create;
use crate::cli::failure::{Outcome, fail};
use crate::cli::session::Session;
use crate::cli::write::WriteArgs;
use serde_json::{Value, json};

/// Arguments of `create service`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki create service clusterip web --tcp=80:8080\n  \
    kabuki create service clusterip db --clusterip=None\n  \
    kabuki create service nodeport web --tcp=80 --node-port=30080\n  \
    kabuki create service externalname search --external-name=search.example.com")]
pub struct ServiceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// With an address inside of the cluster
    Clusterip(ClusterIpArgs),
    /// With a port on every node, too
    Nodeport(NodePortArgs),
    /// With an address for the outside, too
    Loadbalancer(PlainArgs),
    /// Another name for a name outside of the cluster
    Externalname(ExternalNameArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kabuki create service loadbalancer web --tcp=80:8080")]
struct PlainArgs {
    /// Its name
    name: String,
    /// A port, or a port and the pods' port (a number or a name)
    #[arg(long, value_name = "PORT[:TARGET]", value_delimiter = ',')]
    tcp: Vec<String>,
    #[command(flatten)]
    write: WriteArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki create service clusterip web --tcp=80:8080\n  \
    kabuki create service clusterip db --clusterip=None")]
struct ClusterIpArgs {
    #[command(flatten)]
    plain: PlainArgs,
    /// Its address; None for a headless service
    #[arg(long, value_name = "ADDRESS|None")]
    clusterip: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  kabuki create service nodeport web --tcp=80:8080 --node-port=30080"
)]
struct NodePortArgs {
    #[command(flatten)]
    plain: PlainArgs,
    /// The port on every node
    #[arg(long, value_name = "PORT")]
    node_port: Option<u16>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  \
    kabuki create service externalname search --external-name=search.example.com")]
struct ExternalNameArgs {
    #[command(flatten)]
    plain: PlainArgs,
    /// The name that it stands for
    #[arg(long, required = true, value_name = "NAME")]
    external_name: String,
}

impl ServiceArgs {
    /// Runs it.
    pub async fn run(self, session: &Session) -> Outcome {
        let (plain, value) = self.what.manifest()?;
        create(session, "services", value, &plain.write).await
    }
}

impl What {
    fn manifest(self) -> Outcome<(PlainArgs, Value)> {
        let (plain, mut value, needs_ports) = match self {
            Self::Clusterip(args) => {
                let mut value = service(&args.plain, "ClusterIP")?;
                let headless = args.clusterip.as_deref() == Some("None");
                if let Some(address) = args.clusterip {
                    value["spec"]["clusterIP"] = address.into();
                }
                (args.plain, value, !headless)
            }
            Self::Nodeport(args) => {
                let mut value = service(&args.plain, "NodePort")?;
                if let Some(port) = args.node_port
                    && args.plain.tcp.len() > 1
                {
                    fail!("--node-port={port} cannot be that of several --tcp ports");
                }
                if let Some(port) = args.node_port
                    && !args.plain.tcp.is_empty()
                {
                    value["spec"]["ports"][0]["nodePort"] = port.into();
                }
                (args.plain, value, true)
            }
            Self::Loadbalancer(plain) => {
                let value = service(&plain, "LoadBalancer")?;
                (plain, value, true)
            }
            Self::Externalname(args) => {
                let mut value = service(&args.plain, "ExternalName")?;
                value["spec"]["externalName"] = args.external_name.into();
                (args.plain, value, false)
            }
        };
        if plain.tcp.is_empty() {
            if needs_ports {
                fail!("at least one tcp port specifier must be provided: give --tcp=PORT[:TARGET]");
            }
            if let Some(spec) = value["spec"].as_object_mut() {
                spec.remove("ports");
            }
        }
        Ok((plain, value))
    }
}

/// The service of a name, for the pods with the label `app=NAME`.
fn service(plain: &PlainArgs, service_type: &str) -> Outcome<Value> {
    let mut ports = Vec::new();
    for given in &plain.tcp {
        let (port, target) = given.split_once(':').unwrap_or((given, given));
        let Some(port) = port.parse::<u16>().ok().filter(|p| *p > 0) else {
            fail!("--tcp={given}: {port:?} is no port");
        };
        let target: Value = match target.parse::<u16>() {
            Ok(number) => number.into(),
            Err(_) => target.into(),
        };
        ports.push(json!({
            "name": given.replace(':', "-"), "port": port, "protocol": "TCP", "targetPort": target,
        }));
    }
    let labels = json!({"app": plain.name});
    Ok(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": plain.name, "labels": labels},
        "spec": {"type": service_type, "selector": labels, "ports": ports},
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{FromArgMatches, Subcommand};

    fn parsed(args: &[&str]) -> Outcome<Value> {
        let command = What::augment_subcommands(clap::Command::new("service"));
        let matches = command.try_get_matches_from([&["service"][..], args].concat());
        let what = What::from_arg_matches(&matches.expect("parses")).expect("parses");
        what.manifest().map(|(_, value)| value)
    }

    #[test]
    fn a_service_is_made_from_a_few_words() {
        let value = parsed(&["clusterip", "web", "--tcp=80:http,443"]).expect("is one");
        assert_eq!(
            value["spec"],
            json!({"type": "ClusterIP", "selector": {"app": "web"}, "ports": [
                {"name": "80-http", "port": 80, "protocol": "TCP", "targetPort": "http"},
                {"name": "443", "port": 443, "protocol": "TCP", "targetPort": 443},
            ]})
        );
        let value = parsed(&["clusterip", "db", "--clusterip=None"]).expect("is one");
        assert_eq!(value["spec"]["clusterIP"], "None");
        assert!(value["spec"].get("ports").is_none());
        let value = parsed(&["nodeport", "web", "--tcp=80", "--node-port=30080"]).expect("is one");
        assert_eq!(value["spec"]["ports"][0]["nodePort"], 30080);
        let value = parsed(&["externalname", "s", "--external-name=a.example"]).expect("is one");
        assert_eq!(value["spec"]["externalName"], "a.example");
    }

    #[test]
    fn ports_are_needed_and_checked() {
        assert!(parsed(&["clusterip", "web"]).is_err());
        assert!(parsed(&["loadbalancer", "web", "--tcp=0"]).is_err());
        let several = ["nodeport", "web", "--tcp=80,81", "--node-port=30080"];
        assert!(parsed(&several).is_err());
    }
}
