//! `debug`: another container in a running pod, with tools that the pod's own images lack; or a copy
//! of the pod that does something else (`copy`).

mod copy;

use super::exec::attach_to;
use super::failure::{Failure, Outcome, fail};
use super::pods::{self, PodHandle};
use super::resolver;
use super::session::Session;
use super::waiting::{Limit, watch_object};
use anyhow::Context;
use kabuki_model::k8s_openapi::api::core::v1::{ContainerState, Pod};
use kabuki_model::object::{ObjectKey, Stored};
use kabuki_model::request::{DeleteOptions, PatchType, Request, Subresource, WriteOptions};
use kabuki_model::status::Reason;
use kabuki_protocol::node::PodRef;
use serde_json::{Map, Value, json};
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long to wait for an added container before one is joined to it.
const ATTACH_LIMIT: Duration = Duration::from_secs(60);
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
    kabuki debug web-1 --image=busybox -c look -- ls -l /\n\n  \
    # A copy of a pod that crashes, with a shell in place of its program\n  \
    kabuki debug -it web-1 --copy-to=web-debug --container=web -- sh\n\n  \
    # With volumes of the pod: more.yaml is `volumeMounts: [{name: data, mountPath: /data}]`\n  \
    kabuki debug -it web-1 --image=busybox --custom=more.yaml")]
pub struct DebugArgs {
    /// POD, or TYPE/NAME of a workload
    #[arg(value_name = "POD", required = true)]
    what: Vec<String>,
    /// The image of the new container
    #[arg(long, value_name = "IMAGE", required_unless_present = "copy_to")]
    image: Option<String>,
    /// The name of the new container; or of the one that a copy changes
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Leave the pod alone and make a copy of it with this name
    #[arg(long, value_name = "NAME", conflicts_with = "custom")]
    copy_to: Option<String>,
    /// Of the copy: other images, as CONTAINER=IMAGE, or *=IMAGE for all
    #[arg(
        long,
        value_name = "NAME=IMAGE",
        value_delimiter = ',',
        requires = "copy_to"
    )]
    set_image: Vec<String>,
    /// Of the copy: its containers see each other's processes
    #[arg(long, requires = "copy_to", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_name = "true|false")]
    share_processes: Option<bool>,
    /// The copy runs on the same node
    #[arg(long, requires = "copy_to")]
    same_node: bool,
    /// Delete the pod when its copy has been made
    #[arg(long, requires = "copy_to")]
    replace: bool,
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
    /// A file with more fields of the new container, as YAML or JSON
    #[arg(long, value_name = "FILE")]
    custom: Option<PathBuf>,
    /// The command and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `debug`.
pub async fn run(session: &Session, args: DebugArgs) -> Outcome {
    let pod = pods::one_of(session, &args.what).await?;
    if let Some(to) = &args.copy_to {
        return look_into_a_copy(session, &pod, &args, to).await;
    }
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
    let plain = container(&args, &name)?;
    let added = match &args.custom {
        Some(file) => customised(plain, &name, &fields_of(file)?)?,
        None => plain,
    };
    let patch = json!({"spec": {"ephemeralContainers": [added]}});
    let request = Request::Patch {
        key: key.clone(),
        subresource: Some(Subresource::EphemeralContainers),
        patch_type: PatchType::Strategic,
        patch: patch.to_string().into(),
        options: WriteOptions::default(),
    };
    session.request(request).await?;
    attach(session, &args, &pod.pod, &name).await
}

/// Makes a copy, and looks into it.
async fn look_into_a_copy(
    session: &Session,
    pod: &PodHandle,
    args: &DebugArgs,
    to: &str,
) -> Outcome {
    copy::check(args)?;
    let original = serde_json::to_value(&*pod.object).map_err(anyhow::Error::from)?;
    let new_name = match &args.container {
        Some(name) => name.clone(),
        None => format!("debugger-{}", suffix()),
    };
    let copy = copy::of(&original, args, to, new_name)?;
    let kind = resolver::kind_named("pods")?;
    let namespace = &pod.pod.namespace;
    let options = WriteOptions::default();
    session.create(kind, namespace, &copy.pod, options).await?;
    session.out.note(match &copy.container {
        Some(name) => format!("Created debugging pod {to} with container {name}."),
        None => format!("Created debugging pod {to}."),
    });
    if args.replace {
        let key = session.key(kind, namespace, &pod.pod.name);
        session.delete(&key, DeleteOptions::default()).await?;
    }
    let Some(name) = copy.container else {
        return Ok(());
    };
    let copied = PodRef {
        namespace: namespace.clone(),
        name: to.to_string(),
    };
    attach(session, args, &copied, &name).await
}

/// Waits for the container and joins it, if that is asked for.
async fn attach(session: &Session, args: &DebugArgs, pod: &PodRef, name: &str) -> Outcome {
    if !(args.attach || args.stdin || args.tty) {
        return Ok(());
    }
    let kind = resolver::kind_named("pods")?;
    let key = session.key(kind, &pod.namespace, &pod.name);
    let state = running(session, &key, name).await?;
    // By now it has a node.
    let pod = &pods::named(session, &pod.name).await?;
    if state.terminated.is_some() {
        return super::logs::print(session, pod, name).await;
    }
    let container = name.to_string();
    match attach_to(session, pod, container, args.stdin, args.tty, args.quiet).await {
        // It ended between the two.
        Err(Failure::Server(error)) if error.reason == Reason::BadRequest => {
            super::logs::print(session, pod, name).await
        }
        outcome => outcome,
    }
}

fn container(args: &DebugArgs, name: &str) -> Outcome<Value> {
    let mut container = Map::new();
    container.insert("name".into(), name.into());
    if let Some(target) = &args.target {
        container.insert("targetContainerName".into(), target.as_str().into());
    }
    fill(&mut container, args)?;
    Ok(container.into())
}

/// What the command line says of a container.
fn fill(container: &mut Map<String, Value>, args: &DebugArgs) -> Outcome {
    if let Some(image) = &args.image {
        container.insert("image".into(), image.as_str().into());
    }
    if !args.command.is_empty() {
        let field = if args.arguments_only {
            "args"
        } else {
            "command"
        };
        container.insert(field.into(), args.command.clone().into());
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
    Ok(())
}

/// The fields of `--custom`, which says nothing of what the command line says.
fn fields_of(file: &Path) -> Outcome<Value> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let read = serde_yaml_ng::from_str::<Value>(&text);
    let fields = read.with_context(|| format!("cannot read {} as YAML", file.display()))?;
    if !fields.is_object() {
        fail!("{} does not hold the fields of a container", file.display());
    }
    const ELSEWHERE: [&str; 5] = ["name", "image", "command", "lifecycle", "volumeDevices"];
    match ELSEWHERE.iter().find(|name| !fields[**name].is_null()) {
        Some(name) => fail!("{}: {name} cannot be changed by --custom", file.display()),
        None => Ok(fields),
    }
}

/// The container with these fields over its own; lists are merged as in a manifest.
fn customised(container: Value, name: &str, fields: &Value) -> Outcome<Value> {
    let pod = |container: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": {"ephemeralContainers": [container]}});
    let mut fields = fields.clone();
    fields["name"] = name.into();
    let patched = kabuki_model::patch::apply(PatchType::Strategic, &pod(container), &pod(fields));
    let mut patched = patched.map_err(|error| Failure::new(error.to_string()))?;
    let made = patched.pointer_mut("/spec/ephemeralContainers/0");
    let made = made.map(Value::take).filter(Value::is_object);
    made.ok_or_else(|| Failure::new("--custom leaves nothing of the container"))
}

/// Waits until the container runs or has ended; says at once why it cannot be set up.
async fn running(session: &Session, key: &ObjectKey, name: &str) -> Outcome<ContainerState> {
    let decide = |object: Option<&Arc<Stored>>| {
        let Some(object) = object else {
            fail!("pod {key} was deleted meanwhile");
        };
        let status = object.typed::<Pod>()?.status.clone().unwrap_or_default();
        let lists = [
            status.ephemeral_container_statuses,
            status.container_statuses,
        ];
        let mut all = lists.into_iter().flatten().flatten();
        let state = all.find(|c| c.name == name).and_then(|c| c.state);
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
    let limit = Limit::after(ATTACH_LIMIT);
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

    pub(super) fn parsed(line: &[&str]) -> DebugArgs {
        Line::try_parse_from(line).expect("it parses").args
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
        let args = parsed(&line);
        assert_eq!(
            container(&args, "d").expect("a container"),
            json!({"name": "d", "image": "tools", "targetContainerName": "a", "stdin": true,
                "tty": true, "command": ["sh", "-c", "ls"], "env": [{"name": "A", "value": "b"}]})
        );
        assert_eq!(suffix().len(), 5);
    }

    #[test]
    fn further_fields_join_those_of_the_command_line() {
        let plain = json!({"name": "look", "image": "i", "env": [{"name": "A", "value": "1"}]});
        let fields = json!({"env": [{"name": "B", "value": "2"}], "workingDir": "/w"});
        let all = customised(plain, "look", &fields).expect("merged");
        assert_eq!(
            (&all["image"], &all["workingDir"]),
            (&json!("i"), &json!("/w"))
        );
        let gone = customised(all.clone(), "look", &json!({"$patch": "delete"}));
        assert!(gone.is_err(), "{gone:?}");
        let named = all["env"].as_array().into_iter().flatten();
        let mut names: Vec<_> = named.filter_map(|e| e["name"].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["A", "B"]);
    }

    #[test]
    fn a_file_may_not_say_what_the_command_line_says() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("more.yaml");
        std::fs::write(&file, "image: other\n").expect("written");
        match fields_of(&file) {
            Err(Failure::Local(why)) => assert!(why.contains("image cannot be changed"), "{why}"),
            other => panic!("{other:?}"),
        }
        std::fs::write(&file, "- a\n").expect("written");
        assert!(fields_of(&file).is_err());
    }
}
