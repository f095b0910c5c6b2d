//! `run`: one pod from a few words.

use super::exec::attach_to;
use super::failure::{Failure, Outcome, fail};
use super::pods;
use super::resolver::{Found, kind_named};
use super::session::Session;
use super::waiting::{Limit, until_gone, watch_object};
use super::write::{WriteArgs, place};
use kabuki_model::k8s_openapi::api::core::v1::Pod;
use kabuki_model::object::{ObjectKey, Stored};
use kabuki_model::request::DeleteOptions;
use kabuki_model::status::Reason;
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    kabuki run web --image=web:1 --port=80\n\n  \
    # A shell that leaves nothing behind\n  \
    kabuki run -it shell --rm --restart=Never --image=busybox -- sh\n\n  \
    # The manifest only\n  \
    kabuki run web --image=web:1 --dry-run=client -o yaml")]
pub struct RunArgs {
    /// The pod's name
    name: String,
    /// The image
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// An environment variable; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// The port that the container serves
    #[arg(long)]
    port: Option<u16>,
    /// Labels instead of run=NAME
    #[arg(short, long, value_name = "KEY=VALUE", value_delimiter = ',')]
    labels: Vec<String>,
    /// Annotations
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    annotations: Vec<String>,
    /// When the container is started again
    #[arg(long, default_value = "Always", value_name = "Always|OnFailure|Never")]
    restart: String,
    /// When the image is pulled
    #[arg(long, value_name = "Always|IfNotPresent|Never")]
    image_pull_policy: Option<String>,
    /// Keep standard input of the container open, and attach to it
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,
    /// Attach to the container once it runs
    #[arg(long)]
    attach: bool,
    /// Delete the pod when attaching ends
    #[arg(long)]
    rm: bool,
    /// The arguments replace the image's command, not its arguments
    #[arg(long)]
    command: bool,
    /// Run as privileged
    #[arg(long)]
    privileged: bool,
    /// Only the output of the container
    #[arg(short, long)]
    quiet: bool,
    /// How long to wait until the pod runs
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pod_running_timeout: String,
    #[command(flatten)]
    write: WriteArgs,
    /// Arguments of the container, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Runs `run`.
pub async fn run(session: &Session, args: RunArgs) -> Outcome {
    let attach = args.attach || args.stdin;
    let dry = args.write.dry_run() != super::printer::DryRun::None;
    if args.rm && !attach {
        fail!("--rm should only be used for attached containers: give -i or --attach too");
    }
    if args.tty && !args.stdin {
        fail!("-i/--stdin is required for containers with -t/--tty=true");
    }
    if dry && attach && args.rm {
        fail!("--dry-run cannot be used with attached container");
    }
    let kind = kind_named("pods")?;
    let mut value = manifest(&args)?;
    let namespace = match args.write.dry_run().on_client() {
        true => session.globals.namespace.clone().unwrap_or_default(),
        false => session.namespace()?,
    };
    place(&mut value, kind, &namespace);
    if !attach || dry {
        return args
            .write
            .create(session, kind, &namespace, value)
            .await
            .map(drop);
    }
    let pod = session
        .create(kind, &namespace, &value, args.write.options())
        .await?;
    let outcome = attached(session, &args, &pod.key).await;
    if args.rm {
        session.delete(&pod.key, DeleteOptions::default()).await?;
        let found = Found {
            kind,
            object: pod.clone(),
        };
        until_gone(session, &found, &Limit::NEVER).await?;
        if !args.quiet {
            session.out.line(format!(
                "pod {:?} deleted from {namespace} namespace",
                args.name
            ))?;
        }
    }
    outcome
}

/// Attaches once the container runs; the exit code of one that is not started again is passed on.
async fn attached(session: &Session, args: &RunArgs, key: &ObjectKey) -> Outcome {
    let limit = Limit::parse("--pod-running-timeout", &args.pod_running_timeout)?;
    let decide = |object: Option<&Arc<Stored>>| {
        let Some(object) = object else {
            return Err(Failure::new(format!(
                "pod {} was deleted meanwhile",
                args.name
            )));
        };
        let pod = object.typed::<Pod>()?;
        let phase = pod
            .status
            .as_ref()
            .and_then(|s| s.phase.clone())
            .unwrap_or_default();
        Ok(match phase.as_str() {
            "Running" | "Succeeded" | "Failed" => ControlFlow::Break(phase),
            _ => ControlFlow::Continue(()),
        })
    };
    let phase = match limit.run(watch_object(session, key, decide)).await {
        Some(phase) => phase?,
        None => fail!(
            "timed out waiting for the pod to run: `kabuki describe pod {}` says why",
            args.name
        ),
    };
    let pod = pods::named(session, &args.name).await?;
    if phase == "Running" {
        let name = args.name.clone();
        let outcome = attach_to(session, &pod, name, args.stdin, args.tty, args.quiet).await;
        match outcome {
            // It ended between the two.
            Err(Failure::Server(error))
                if error.reason == Reason::BadRequest && args.restart != "Always" =>
            {
                super::logs::print(session, &pod, &args.name).await?;
            }
            outcome => outcome?,
        }
        if args.restart == "Always" {
            let flags = if args.tty { "-it" } else { "-i" };
            session.out.note(format!(
                "Session ended, resume using 'kabuki attach {0} -c {0} {flags}' command when the \
                 pod is running",
                args.name
            ));
            return Ok(());
        }
    } else {
        // It was over before anyone could attach: its log is all that there is.
        super::logs::print(session, &pod, &args.name).await?;
    }
    ended(session, key).await
}

/// Waits until the pod has ended, and passes its container's exit code on.
async fn ended(session: &Session, key: &ObjectKey) -> Outcome {
    let decide = |object: Option<&Arc<Stored>>| {
        let Some(object) = object else {
            fail!("pod {key} was deleted before it ended");
        };
        let status = object.typed::<Pod>()?.status.clone().unwrap_or_default();
        Ok(match status.phase.as_deref() {
            Some("Succeeded" | "Failed") => ControlFlow::Break(status),
            _ => ControlFlow::Continue(()),
        })
    };
    let status = watch_object(session, key, decide).await?;
    if status.phase.as_deref() == Some("Succeeded") {
        return Ok(());
    }
    let mut containers = status.container_statuses.into_iter().flatten();
    let state = containers.next().and_then(|c| c.state?.terminated);
    let Some(state) = state.filter(|s| s.exit_code != 0) else {
        fail!(
            "pod {}/{} failed with unknown exit code",
            key.namespace,
            key.name
        );
    };
    let reason = state.reason.unwrap_or_default();
    session.out.note(format!(
        "pod {}/{} terminated ({reason})",
        key.namespace, key.name
    ));
    Err(Failure::Exit(u8::try_from(state.exit_code).unwrap_or(1)))
}

fn manifest(args: &RunArgs) -> Outcome<Value> {
    let mut container = Map::new();
    container.insert("image".into(), args.image.as_str().into());
    container.insert("name".into(), args.name.as_str().into());
    if !args.args.is_empty() {
        let field = if args.command { "command" } else { "args" };
        container.insert(field.into(), args.args.clone().into());
    }
    let variables: Vec<Value> = pairs(&args.env)?
        .into_iter()
        .map(|(k, v)| json!({"name": k, "value": v}))
        .collect();
    if !variables.is_empty() {
        container.insert("env".into(), variables.into());
    }
    if let Some(port) = args.port {
        container.insert("ports".into(), json!([{"containerPort": port}]));
    }
    if let Some(policy) = &args.image_pull_policy {
        container.insert("imagePullPolicy".into(), policy.as_str().into());
    }
    if args.privileged {
        container.insert("securityContext".into(), json!({"privileged": true}));
    }
    if args.stdin {
        container.insert("stdin".into(), true.into());
        container.insert("stdinOnce".into(), true.into());
    }
    if args.tty {
        container.insert("tty".into(), true.into());
    }
    let labels = match args.labels.is_empty() {
        true => vec![("run".to_string(), args.name.clone())],
        false => pairs(&args.labels)?,
    };
    let map = |pairs: Vec<(String, String)>| -> Value {
        pairs
            .into_iter()
            .map(|(k, v)| (k, Value::String(v)))
            .collect::<Map<_, _>>()
            .into()
    };
    let mut metadata = json!({"name": args.name, "labels": map(labels)});
    if !args.annotations.is_empty() {
        metadata["annotations"] = map(pairs(&args.annotations)?);
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [container], "restartPolicy": args.restart},
    }))
}

fn pairs(texts: &[String]) -> Outcome<Vec<(String, String)>> {
    texts
        .iter()
        .map(|text| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
            _ => Err(Failure::new(format!("{text:?} is not KEY=VALUE"))),
        })
        .collect()
}
