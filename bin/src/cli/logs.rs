//! `logs`: what containers wrote.

mod lines;

use super::failure::{Failure, Outcome, fail};
use super::pods::{self, PodHandle};
use super::session::Session;
use super::waiting::duration;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use kabuki_protocol::node::{FromNode, LogRequest, LogStream, NodeRequest};
use lines::Lines;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # A pod's log; what its container wrote before it was restarted\n  \
    kabuki logs web-1\n  \
    kabuki logs web-1 --previous\n\n  \
    # The last lines of a Deployment's pod, and all that follows\n  \
    kabuki logs deploy/web --tail=20 -f\n\n  \
    # Every container of every pod with a label, each line with its origin\n  \
    kabuki logs -l app=web --all-containers --prefix")]
pub struct LogsArgs {
    /// POD, or TYPE/NAME of a workload; then a container
    #[arg(value_name = "POD")]
    what: Vec<String>,
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// What the instance before the present one wrote
    #[arg(short, long)]
    previous: bool,
    /// Which container
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Every container of the pod
    #[arg(long)]
    all_containers: bool,
    /// Every pod of the workload
    #[arg(long)]
    all_pods: bool,
    /// Only so many of the last lines; -1 is all [default: -1, with a selector 10]
    #[arg(long, allow_negative_numbers = true, value_name = "LINES")]
    tail: Option<i64>,
    /// Only lines of the last while: 30s, 5m, 1h
    #[arg(long, value_name = "DURATION", conflicts_with = "since_time")]
    since: Option<String>,
    /// Only lines since a time: 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since_time: Option<String>,
    /// Each line begins with its time
    #[arg(long)]
    timestamps: bool,
    /// Each line begins with its pod and container
    #[arg(long)]
    prefix: bool,
    /// At most so many bytes of each log
    #[arg(long, value_name = "BYTES")]
    limit_bytes: Option<u64>,
    /// Of all pods with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// How many logs may be followed at once
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    max_log_requests: usize,
    /// A log that cannot be read does not end the others
    #[arg(long)]
    ignore_errors: bool,
}

/// One log that is to be shown.
struct Source {
    pod: PodHandle,
    container: String,
}

/// The last lines that are shown of each log when a selector is given.
const SELECTOR_TAIL: i64 = 10;

/// Runs `logs`.
pub async fn run(session: &Session, mut args: LogsArgs) -> Outcome {
    if args.previous && args.follow {
        fail!("only one of follow (-f) or previous (-p) is allowed");
    }
    if args.all_containers && args.container.is_some() {
        fail!(
            "--all-containers=true should not be specified with container name {:?}",
            args.container.unwrap_or_default()
        );
    }
    // `logs POD CONTAINER`, the older way to name a container.
    if args.what.len() == 2 && super::resolver::kind_named(&args.what[0]).is_err() {
        args.container = args.what.pop();
    }
    let since_ns = since(&args)?;
    let sources = sources(session, &args).await?;
    if sources.is_empty() {
        session.out.note(format!(
            "No resources found in {} namespace.",
            session.namespace()?
        ));
        return Ok(());
    }
    if args.follow && sources.len() > args.max_log_requests {
        fail!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, \
             use --max-log-requests to increase the limit",
            sources.len(),
            args.max_log_requests
        );
    }
    let requests = sources
        .iter()
        .map(|source| show(session, &args, source, since_ns));
    if !args.follow {
        for request in requests {
            tolerate(session, &args, request.await)?;
        }
        return Ok(());
    }
    let mut running: FuturesUnordered<_> = requests.collect();
    while let Some(outcome) = running.next().await {
        tolerate(session, &args, outcome)?;
    }
    Ok(())
}

fn tolerate(session: &Session, args: &LogsArgs, outcome: Outcome) -> Outcome {
    match outcome {
        Err(failure @ Failure::Server(_)) if args.ignore_errors => {
            session.out.note(failure.text());
            Ok(())
        }
        other => other,
    }
}

async fn sources(session: &Session, args: &LogsArgs) -> Outcome<Vec<Source>> {
    let pods = match (&args.selector, args.what.is_empty()) {
        (Some(_), false) => fail!("only a selector (-l) or a POD name is allowed"),
        (None, true) => fail!("expected 'logs [-f] (POD | TYPE/NAME) [-c CONTAINER]'"),
        (Some(labels), true) => pods::selected(session, labels, false).await?,
        (None, false) if args.all_pods => pods::of(session, &args.what).await?,
        (None, false) => vec![pods::one_of(session, &args.what).await?],
    };
    let mut sources = Vec::new();
    for pod in pods {
        let containers = match args.all_containers {
            true => pod.containers().into_iter().map(str::to_string).collect(),
            false => vec![pod.container(session, args.container.as_deref())?],
        };
        sources.extend(containers.into_iter().map(|container| Source {
            pod: pod.clone(),
            container,
        }));
    }
    Ok(sources)
}

fn since(args: &LogsArgs) -> Outcome<Option<i64>> {
    let at = match (&args.since, &args.since_time) {
        (Some(span), _) => {
            let seconds = i64::try_from(duration("--since", span)?.as_secs()).unwrap_or(i64::MAX);
            let second = Timestamp::now().as_second().saturating_sub(seconds);
            Timestamp::from_second(second).unwrap_or(Timestamp::MIN)
        }
        (None, Some(time)) => time.parse().map_err(|_| {
            Failure::new(format!(
                "--since-time {time:?} is no time like 2026-01-31T12:00:00Z"
            ))
        })?,
        (None, None) => return Ok(None),
    };
    Ok(Some(i64::try_from(at.as_nanosecond()).unwrap_or(0)))
}

/// Shows the whole log of a container.
pub async fn print(session: &Session, pod: &PodHandle, container: &str) -> Outcome {
    let request = LogRequest {
        pod: pod.pod.clone(),
        container: container.to_string(),
        follow: false,
        previous: false,
        tail_lines: None,
        since_ns: None,
        timestamps: false,
        limit_bytes: None,
        stream: LogStream::All,
    };
    read(session, pod, request, String::new()).await
}

async fn show(
    session: &Session,
    args: &LogsArgs,
    source: &Source,
    since_ns: Option<i64>,
) -> Outcome {
    let tail = args
        .tail
        .or(args.selector.is_some().then_some(SELECTOR_TAIL));
    let request = LogRequest {
        pod: source.pod.pod.clone(),
        container: source.container.clone(),
        follow: args.follow,
        previous: args.previous,
        tail_lines: tail.and_then(|t| u64::try_from(t).ok()),
        since_ns,
        timestamps: args.timestamps,
        limit_bytes: args.limit_bytes,
        stream: LogStream::All,
    };
    let prefix = match args.prefix {
        true => format!("[pod/{}/{}] ", source.pod.pod.name, source.container),
        false => String::new(),
    };
    read(session, &source.pod, request, prefix).await
}

async fn read(session: &Session, pod: &PodHandle, request: LogRequest, prefix: String) -> Outcome {
    let node = pod.node()?;
    let mut stream = session
        .stream(Some(node), NodeRequest::Logs(request))
        .await?;
    let mut lines = Lines::new(prefix);
    while let Some(chunk) = stream.output.recv().await {
        match chunk {
            FromNode::Output(bytes) => session.out.bytes(&lines.push(&bytes))?,
            FromNode::Done(Ok(_)) => return session.out.bytes(&lines.finish()),
            FromNode::Done(Err(error)) => {
                session.out.bytes(&lines.finish())?;
                return Err(error.into());
            }
            _ => {}
        }
    }
    session.out.bytes(&lines.finish())?;
    fail!(
        "the log of {} ended early: node {node} is gone",
        pod.pod.name
    )
}
