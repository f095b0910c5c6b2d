//! `expose`: a service for the pods of something that is there.

use super::failure::{Failure, Outcome, fail};
use super::resolver::{self, FileArgs, Found, SelectArgs, kind_named};
use super::session::Session;
use super::write::{WriteArgs, place};
use kabuki_model::object::Resource;
use serde_json::{Map, Value, json};

/// Arguments of `expose`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # A service for a deployment, on port 80 of the service and 8080 of the pods\n  \
    kabuki expose deployment web --port=80 --target-port=8080\n\n  \
    # On every node, too\n  \
    kabuki expose deployment web --port=80 --type=NodePort --name=web-outside\n\n  \
    # The manifest only\n  \
    kabuki expose pod web-1 --port=80 --dry-run=client -o yaml")]
pub struct ExposeArgs {
    /// TYPE NAME, or TYPE/NAME: a deployment, replica set, pod or service
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    #[command(flatten)]
    files: FileArgs,
    /// The service's ports; those of the containers if none are given
    #[arg(long, value_delimiter = ',', value_name = "PORT")]
    port: Vec<u16>,
    /// The pods' port, a number or a name; that of the service if none is given
    #[arg(long, value_name = "PORT")]
    target_port: Option<String>,
    /// The protocol; that of the containers' ports if none is given
    #[arg(long, value_name = "TCP|UDP|SCTP")]
    protocol: Option<String>,
    /// The service's name; that of the object if none is given
    #[arg(long)]
    name: Option<String>,
    /// ClusterIP, NodePort or LoadBalancer
    #[arg(long = "type", value_name = "TYPE")]
    service_type: Option<String>,
    /// The service's address; None for a headless service
    #[arg(long, value_name = "ADDRESS|None")]
    cluster_ip: Option<String>,
    /// An address outside of the cluster that is answered for, too
    #[arg(long, value_name = "ADDRESS")]
    external_ip: Option<String>,
    /// The address that the load balancer is to have
    #[arg(long, value_name = "ADDRESS")]
    load_balancer_ip: Option<String>,
    /// None or ClientIP
    #[arg(long, value_name = "None|ClientIP")]
    session_affinity: Option<String>,
    /// Labels of the service's pods instead of those that the object selects
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    selector: Vec<String>,
    /// Labels of the service instead of those of the object
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Runs `expose`.
pub async fn run(session: &Session, args: ExposeArgs) -> Outcome {
    let findings =
        resolver::find_either(session, &args.what, &SelectArgs::default(), &args.files).await?;
    let mut failures = findings.failures;
    if findings.found.is_empty() && failures.is_empty() {
        fail!("nothing to expose: give TYPE NAME, or -f FILE");
    }
    for found in &findings.found {
        match expose(session, &args, found).await {
            Err(failure @ Failure::Server(_)) => {
                failures.push(failure.during("exposing", &found.label()));
            }
            other => other?,
        }
    }
    Failure::gather(failures)
}

async fn expose(session: &Session, args: &ExposeArgs, found: &Found) -> Outcome {
    let kind = kind_named("services")?;
    let mut value = manifest(args, found)?;
    let namespace = found.key().namespace.to_string();
    place(&mut value, kind, &namespace);
    if !args.write.dry_run().on_client() {
        let options = args.write.options();
        let created = session.create(kind, &namespace, &value, options).await?;
        value = created.to_value()?;
    }
    args.write.done(session, kind, &value, "exposed")
}

fn manifest(args: &ExposeArgs, found: &Found) -> Outcome<Value> {
    let object = found.object.to_value()?;
    let label = found.label();
    let name: String = match &args.name {
        Some(name) => name.clone(),
        None => found.key().name.chars().take(63).collect(),
    };
    let selector = match args.selector.is_empty() {
        true => selector(found, &object)?,
        false => pairs(&args.selector)?,
    };
    let labels = match args.labels.is_empty() {
        true => object["metadata"]["labels"].clone(),
        false => pairs(&args.labels)?,
    };
    let mut spec = Map::new();
    let headless = args.cluster_ip.as_deref() == Some("None");
    let ports = ports(args, found, &object)?;
    if ports.is_empty() && !headless {
        fail!("{label}: couldn't find port via --port flag or introspection");
    }
    spec.insert("ports".into(), ports.into());
    spec.insert("selector".into(), selector);
    for (field, given) in [
        ("type", &args.service_type),
        ("clusterIP", &args.cluster_ip),
        ("loadBalancerIP", &args.load_balancer_ip),
        ("sessionAffinity", &args.session_affinity),
    ] {
        if let Some(given) = given {
            spec.insert(field.into(), given.as_str().into());
        }
    }
    if let Some(address) = &args.external_ip {
        spec.insert("externalIPs".into(), json!([address]));
    }
    let mut metadata = json!({ "name": name });
    if !labels.is_null() {
        metadata["labels"] = labels;
    }
    Ok(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
}

/// The labels of the pods.
fn selector(found: &Found, object: &Value) -> Outcome<Value> {
    let label = found.label();
    let resource = &found.kind.resource;
    let (labels, why) = if *resource == Resource::PODS {
        let why = "the pod has no labels and cannot be exposed";
        (&object["metadata"]["labels"], why)
    } else if *resource == Resource::SERVICES {
        (
            &object["spec"]["selector"],
            "the service has no pod selector set",
        )
    } else if [Resource::DEPLOYMENTS, Resource::REPLICA_SETS].contains(resource) {
        let selector = &object["spec"]["selector"];
        if selector["matchExpressions"]
            .as_array()
            .is_some_and(|e| !e.is_empty())
        {
            fail!(
                "{label}: couldn't convert expressions of its selector: give --selector=KEY=VALUE"
            );
        }
        (&selector["matchLabels"], "it selects no pods")
    } else {
        fail!("cannot expose a {}", found.kind.names.kind);
    };
    match labels.as_object().is_some_and(|l| !l.is_empty()) {
        true => Ok(labels.clone()),
        false => fail!("{label}: {why}"),
    }
}

fn pairs(given: &[String]) -> Outcome<Value> {
    let mut map = Map::new();
    for pair in given {
        let Some((key, value)) = pair.split_once('=') else {
            fail!("{pair:?} is no KEY=VALUE");
        };
        map.insert(key.to_string(), value.into());
    }
    Ok(Value::Object(map))
}

/// The ports that were asked for, else those that the object has.
fn ports(args: &ExposeArgs, found: &Found, object: &Value) -> Outcome<Vec<Value>> {
    let known = known_ports(found, object);
    let wanted: Vec<u16> = match args.port.is_empty() {
        true => known.iter().map(|(port, _)| *port).collect(),
        false => args.port.clone(),
    };
    let several = wanted.len() > 1;
    let ports = wanted.iter().enumerate().map(|(index, port)| {
        let own = known.iter().find(|(known, _)| known == port);
        let own = own.map_or("TCP", |(_, protocol)| protocol.as_str());
        let protocol = args.protocol.as_deref().unwrap_or(own).to_uppercase();
        let target: Value = match args.target_port.as_deref() {
            None => (*port).into(),
            Some(text) => text
                .parse::<u16>()
                .map_or_else(|_| text.into(), Value::from),
        };
        let mut value = json!({"port": port, "protocol": protocol, "targetPort": target});
        if several {
            value["name"] = format!("port-{}", index + 1).into();
        }
        value
    });
    Ok(ports.collect())
}

/// The ports of the object's containers, or of the service, with their protocols.
fn known_ports(found: &Found, object: &Value) -> Vec<(u16, String)> {
    let resource = &found.kind.resource;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (ports, field) = if *resource == Resource::SERVICES {
        (list(&object["spec"]["ports"]), "port")
    } else {
        let spec = match *resource == Resource::PODS {
            true => &object["spec"],
            false => &object["spec"]["template"]["spec"],
        };
        let containers = list(&spec["containers"]);
        let ports = containers.iter().flat_map(|c| list(&c["ports"]));
        (ports.collect(), "containerPort")
    };
    let read = |port: &Value| {
        let number = port[field].as_u64().and_then(|n| u16::try_from(n).ok())?;
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        Some((number, protocol.to_string()))
    };
    ports.iter().filter_map(read).collect()
}
