//! `set image|env|resources`: changes of the containers of a workload's template.

use super::change::ChangeArgs;
use super::failure::{Outcome, fail};
use super::resolver::Found;
use super::session::Session;
use serde_json::{Map, Value, json};

/// Arguments of `set`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki set image deploy/web web=web:2\n  \
    kabuki set env deploy/web COLOR=red OLD-\n  \
    kabuki set resources deploy/web --limits=cpu=200m,memory=128Mi")]
pub struct SetArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Change images
    #[command(after_help = "Examples:\n  \
        kabuki set image deploy/web web=web:2\n  \
        kabuki set image deploy --all '*=web:2'")]
    Image(ImageArgs),
    /// Change environment variables
    #[command(after_help = "Example:\n  kabuki set env deploy/web COLOR=red OLD-")]
    Env(EnvArgs),
    /// Change what containers request and may use
    #[command(after_help = "Example:\n  \
        kabuki set resources deploy/web -c web --requests=cpu=100m --limits=memory=128Mi")]
    Resources(ResourcesArgs),
}

#[derive(Debug, clap::Args)]
struct ImageArgs {
    /// TYPE NAME.. or TYPE/NAME.., then CONTAINER=IMAGE (`*` is every container)
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct EnvArgs {
    /// TYPE NAME.. or TYPE/NAME.., then KEY=VALUE or KEY-
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// Only these containers: a name, or `*`
    #[arg(short, long, default_value = "*")]
    containers: String,
    /// Show what there is
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
struct ResourcesArgs {
    /// TYPE NAME.. or TYPE/NAME..
    #[arg(value_name = "TYPE")]
    what: Vec<String>,
    /// Only these containers: a name, or `*`
    #[arg(short, long, default_value = "*")]
    containers: String,
    /// What they may use at most: cpu=200m,memory=128Mi
    #[arg(long, value_name = "AMOUNTS")]
    limits: Option<String>,
    /// What they are sure of: cpu=100m,memory=64Mi
    #[arg(long, value_name = "AMOUNTS")]
    requests: Option<String>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Runs `set`.
pub async fn run(session: &Session, args: SetArgs) -> Outcome {
    match args.what {
        What::Image(args) => image(session, args).await,
        What::Env(args) => env(session, args).await,
        What::Resources(args) => resources(session, args).await,
    }
}

/// Splits arguments where the pairs begin.
fn split(args: &[String], begins: impl Fn(&str) -> bool) -> (&[String], &[String]) {
    let at = args.iter().position(|a| begins(a)).unwrap_or(args.len());
    args.split_at(at)
}

/// The pod spec of a pod, or of a workload's template.
fn pod_spec<'a>(found: &Found, value: &'a mut Value) -> Outcome<&'a mut Value> {
    let at = match found.kind.names.kind {
        "Pod" => "/spec",
        _ => "/spec/template/spec",
    };
    match value.pointer_mut(at) {
        Some(spec) if spec["containers"].is_array() => Ok(spec),
        _ => fail!("{} has no containers", found.label()),
    }
}

/// The containers with a name (`*`: all of them).
fn containers<'a>(spec: &'a mut Value, name: &str) -> Vec<&'a mut Value> {
    let Some(spec) = spec.as_object_mut() else {
        return Vec::new();
    };
    let lists = spec
        .iter_mut()
        .filter(|(f, _)| matches!(f.as_str(), "containers" | "initContainers"));
    let all = lists.filter_map(|(_, list)| list.as_array_mut()).flatten();
    all.filter(|c| name == "*" || c["name"] == name).collect()
}

async fn image(session: &Session, args: ImageArgs) -> Outcome {
    let (what, pairs) = split(&args.what, |a| a.contains('='));
    if pairs.is_empty() {
        fail!("at least one image update is required: CONTAINER=IMAGE");
    }
    let edit = |found: &Found, value: &mut Value| {
        let spec = pod_spec(found, value)?;
        for pair in pairs {
            let Some((name, image)) = pair.split_once('=').filter(|(_, i)| !i.is_empty()) else {
                fail!("{pair:?} is not CONTAINER=IMAGE");
            };
            let found = containers(spec, name);
            if found.is_empty() {
                fail!("unable to find container named {name:?}");
            }
            for container in found {
                container["image"] = image.into();
            }
        }
        Ok("image updated")
    };
    args.change.each(session, what, edit).await
}

async fn env(session: &Session, args: EnvArgs) -> Outcome {
    let (what, pairs) = split(&args.what, |a| a.contains('=') || a.ends_with('-'));
    if args.list {
        let findings = args.change.find(session, what).await?;
        for found in &findings.found {
            let mut value = found.object.to_value()?;
            list(
                session,
                found,
                pod_spec(found, &mut value)?,
                &args.containers,
            )?;
        }
        return super::failure::Failure::gather(findings.failures);
    }
    if pairs.is_empty() {
        fail!(
            "at least one environment variable must be provided: KEY=VALUE, or KEY- to remove it"
        );
    }
    let edit = |found: &Found, value: &mut Value| {
        let spec = pod_spec(found, value)?;
        let containers = containers(spec, &args.containers);
        if containers.is_empty() {
            fail!("unable to find container named {:?}", args.containers);
        }
        for container in containers {
            if !container["env"].is_array() {
                container["env"] = json!([]);
            }
            let Some(variables) = container["env"].as_array_mut() else {
                continue;
            };
            for pair in pairs {
                set_variable(variables, pair);
            }
        }
        Ok("env updated")
    };
    args.change.each(session, what, edit).await
}

fn set_variable(variables: &mut Vec<Value>, pair: &str) {
    let (name, value) = match pair.split_once('=') {
        Some((name, value)) => (name, Some(json!({"name": name, "value": value}))),
        None => (pair.trim_end_matches('-'), None),
    };
    let at = variables.iter().position(|v| v["name"] == name);
    match (at, value) {
        (Some(at), Some(value)) => variables[at] = value,
        (Some(at), None) => drop(variables.remove(at)),
        (None, Some(value)) => variables.push(value),
        (None, None) => {}
    }
}

fn list(session: &Session, found: &Found, spec: &mut Value, name: &str) -> Outcome {
    for container in containers(spec, name) {
        let container_name = container["name"].as_str().unwrap_or_default();
        session
            .out
            .line(format!("# {}, container {container_name}", found.label()))?;
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default();
            match variable["value"].as_str() {
                Some(value) => session.out.line(format!("{name}={value}"))?,
                None => session
                    .out
                    .line(format!("# {name} from {}", variable["valueFrom"]))?,
            }
        }
    }
    Ok(())
}

async fn resources(session: &Session, args: ResourcesArgs) -> Outcome {
    let limits = args.limits.as_deref().map(amounts).transpose()?;
    let requests = args.requests.as_deref().map(amounts).transpose()?;
    if limits.is_none() && requests.is_none() {
        fail!(
            "you must specify an update to requests or limits (in the form of --requests/--limits)"
        );
    }
    let edit = |found: &Found, value: &mut Value| {
        let spec = pod_spec(found, value)?;
        let containers = containers(spec, &args.containers);
        if containers.is_empty() {
            fail!("unable to find container named {:?}", args.containers);
        }
        for container in containers {
            for (field, amounts) in [("limits", &limits), ("requests", &requests)] {
                for (resource, amount) in amounts.iter().flatten() {
                    if !container["resources"].is_object() {
                        container["resources"] = json!({});
                    }
                    container["resources"][field][resource] = amount.clone();
                }
            }
        }
        Ok("resource requirements updated")
    };
    args.change.each(session, &args.what, edit).await
}

fn amounts(text: &str) -> Outcome<Map<String, Value>> {
    let mut amounts = Map::new();
    for pair in text.split(',').filter(|p| !p.is_empty()) {
        let Some((resource, amount)) = pair.split_once('=') else {
            fail!("{pair:?} is not RESOURCE=AMOUNT");
        };
        if amount.parse::<kabuki_model::Quantity>().is_err() {
            fail!("{amount:?} is no amount like 200m or 128Mi");
        }
        amounts.insert(resource.to_string(), amount.into());
    }
    Ok(amounts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_replaced_and_removed() {
        let mut variables = vec![json!({"name": "A", "value": "1"}), json!({"name": "B"})];
        for pair in ["A=2=3", "B-", "C=", "D-"] {
            set_variable(&mut variables, pair);
        }
        assert_eq!(
            variables,
            [
                json!({"name": "A", "value": "2=3"}),
                json!({"name": "C", "value": ""})
            ]
        );
    }

    #[test]
    fn amounts_must_be_quantities() {
        assert_eq!(amounts("cpu=200m,memory=1Gi").expect("parses").len(), 2);
        assert!(amounts("cpu").is_err());
        assert!(amounts("cpu=much").is_err());
    }
}
