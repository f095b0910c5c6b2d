//! `debug`: another container in a running pod, with tools that the pod's own images lack.

use super::exec::attach_to;
use super::failure::{Failure, Outcome, fail};
use super::pods;
use super::resolver;
use super::session::Session;
use super::waiting::{Limit, watch_object};
use kabuki_model::k8s_openapi::api::core::v1::{ContainerState, Pod};
use kabuki_model::object::{ObjectKey, Stored};
use kabuki_model::request::{PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use serde_json::{Map, Value, json};
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Letters and digits of generated names, as Kubernetes has them.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Arguments of `debug`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # A shell beside the containers of a pod\n  \
    kabuki debug -it web-1 --image=busybox\n\n  \
    # The same, seeing the processes of one of them\n  \
    kabuki debug -it web-1 --image=busybox --target=web\n\n  \
    # One command, whose output stays in the log\n  \
    kabuki debug web-1 --image=busybox -c look -- ls -l /")]
pub struct DebugArgs {
    /// POD, or TYPE/NAME of a workload
    #[arg(value_name = "POD", required = true)]
    what: Vec<String>,
    /// The image of the new container
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// The name of the new container
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// See the processes of this container
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Connect to the container once it runs; so do -i and -t
    #[arg(long)]
    attach: bool,
    /// Only the output of the process
    #[arg(short, long)]
    quiet: bool,
    /// Variables, as NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// When the image is fetched: Always, IfNotPresent or Never
    #[arg(long, value_name = "POLICY")]
    image_pull_policy: Option<String>,
    /// The command is its arguments only
    #[arg(long)]
    arguments_only: bool,
    /// The command and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `debug`.
pub async fn run(session: &Session, args: DebugArgs) -> Outcome {
    let pod = pods::one_of(session, &args.what).await?;
    if pod.is_over() {
        fail!(
            "cannot debug a completed pod; current phase is {}",
            pod.phase()
        );
    }
    if let Some(target) = &args.target
        && !pod.containers().contains(&target.as_str())
    {
        fail!("container {target} not found in pod {}", pod.pod.name);
    }
    let name = match &args.container {
        Some(name) => name.clone(),
        None => {
            let name = format!("debugger-{}", suffix());
            session
                .out
                .note(format!("Defaulting debug container name to {name}."));
            name
        }
    };
    let kind = resolver::kind_named("pods")?;
    let key = session.key(kind, &pod.pod.namespace, &pod.pod.name);
    let patch = json!({"spec": {"ephemeralContainers": [container(&args, &name)?]}});
    let request = Request::Patch {
        key: key.clone(),
        subresource: Some(Subresource::EphemeralContainers),
        patch_type: PatchType::Strategic,
        patch: patch.to_string().into(),
        options: WriteOptions::default(),
    };
    session.request(request).await?;
    if !(args.attach || args.stdin || args.tty) {
        return Ok(());
    }
    let state = running(session, &key, &name).await?;
    if state.terminated.is_some() {
        return super::logs::print(session, &pod, &name).await;
    }
    let container = name.clone();
    match attach_to(session, &pod, container, args.stdin, args.tty, args.quiet).await {
        // It ended between the two.
        Err(Failure::Server(error)) if error.reason == Reason::BadRequest => {
            super::logs::print(session, &pod, &name).await
        }
        outcome => outcome,
    }
}

fn container(args: &DebugArgs, name: &str) -> Outcome<Value> {
    let mut container = Map::new();
    container.insert("name".into(), name.into());
    container.insert("image".into(), args.image.as_str().into());
    if !args.command.is_empty() {
        let field = if args.arguments_only {
            "args"
        } else {
            "command"
        };
        container.insert(field.into(), args.command.clone().into());
    }
    if let Some(target) = &args.target {
        container.insert("targetContainerName".into(), target.as_str().into());
    }
    if let Some(policy) = &args.image_pull_policy {
        container.insert("imagePullPolicy".into(), policy.as_str().into());
    }
    for (field, set) in [("stdin", args.stdin), ("tty", args.tty)] {
        if set {
            container.insert(field.into(), true.into());
        }
    }
    let variable = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        _ => Err(Failure::new(format!("{text:?} is not NAME=VALUE"))),
    };
    let variables = args.env.iter().map(variable).collect::<Outcome<Vec<_>>>()?;
    if !variables.is_empty() {
        container.insert("env".into(), variables.into());
    }
    Ok(container.into())
}

/// Waits until the container runs or has ended; says at once why it cannot be set up.
async fn running(session: &Session, key: &ObjectKey, name: &str) -> Outcome<ContainerState> {
    let decide = |object: Option<&Arc<Stored>>| {
        let Some(object) = object else {
            fail!("pod {key} was deleted meanwhile");
        };
        let status = object.typed::<Pod>()?.status.clone().unwrap_or_default();
        let mut added = status.ephemeral_container_statuses.into_iter().flatten();
        let state = added.find(|c| c.name == name).and_then(|c| c.state);
        let state = state.unwrap_or_default();
        let waiting = state.waiting.as_ref().and_then(|w| w.reason.as_deref());
        if let Some(reason) = waiting.filter(|r| r.contains("Err") || r.contains("BackOff")) {
            let message = state.waiting.as_ref().and_then(|w| w.message.clone());
            fail!("{reason}: {}", message.unwrap_or_default());
        }
        Ok(
            match state.running.is_some() || state.terminated.is_some() {
                true => ControlFlow::Break(state),
                false => ControlFlow::Continue(()),
            },
        )
    };
    let limit = Limit::parse("1m")?;
    match limit.run(watch_object(session, key, decide)).await {
        Some(state) => state,
        None => fail!(
            "timed out waiting for the container: `kabuki describe pod {}` says why",
            key.name
        ),
    }
}

/// Five letters that no other name is likely to end in.
fn suffix() -> String {
    // Every hasher of this kind has keys of its own, drawn from the system's randomness.
    let state = std::collections::hash_map::RandomState::new();
    let mut bits = state.build_hasher().finish();
    let mut next = || {
        let count = LETTERS.len() as u64;
        let letter = LETTERS[(bits % count) as usize];
        bits /= count;
        char::from(letter)
    };
    (0..5).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: DebugArgs,
    }

    #[test]
    fn the_command_line_becomes_a_container() {
        let line = [
            "debug",
            "web",
            "--image=tools",
            "--target=a",
            "-it",
            "--env=A=b",
            "--",
            "sh",
            "-c",
            "ls",
        ];
        let args = Line::try_parse_from(line).expect("it parses").args;
        assert_eq!(
            container(&args, "d").expect("a container"),
            json!({"name": "d", "image": "tools", "targetContainerName": "a", "stdin": true,
                "tty": true, "command": ["sh", "-c", "ls"], "env": [{"name": "A", "value": "b"}]})
        );
        assert_eq!(suffix().len(), 5);
    }
}
