//! `exec` and `attach`: processes in containers.

use super::failure::{Outcome, fail};
use super::interact::{self, Joined};
use super::pods;
use super::session::Session;
use super::terminal;
use kabuki_protocol::node::{AttachRequest, ExecRequest, NodeRequest};

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # A command\n  \
    kabuki exec web-1 -- ls -l /\n\n  \
    # A shell\n  \
    kabuki exec -it deploy/web -- sh\n\n  \
    # Input from a file\n  \
    kabuki exec -i web-1 -c db -- psql < dump.sql")]
pub struct ExecArgs {
    /// POD, or TYPE/NAME of a workload
    #[arg(value_name = "POD")]
    what: Vec<String>,
    /// Which container
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// Only the output of the process
    #[arg(short, long)]
    quiet: bool,
    /// The command and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs `exec`.
pub async fn exec(session: &Session, args: ExecArgs) -> Outcome {
    if args.what.is_empty() {
        fail!("pod, type/name or --filename must be specified");
    }
    if args.command.is_empty() {
        match args.what.len() {
            1 => fail!("you must specify at least one command for the container, after `--`"),
            _ => fail!(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead"
            ),
        }
    }
    let pod = pods::one_of(session, &args.what).await?;
    if pod.is_over() {
        fail!(
            "cannot exec into a container in a completed pod; current phase is {}",
            pod.phase()
        );
    }
    let container = pod.container(session, args.container.as_deref())?;
    let joined = Joined::settle(session, args.stdin, args.tty);
    let request = ExecRequest {
        pod: pod.pod.clone(),
        container,
        command: args.command,
        stdin: joined.stdin,
        tty: joined.tty,
        size: joined.tty.then(terminal::size).flatten(),
    };
    let stream = session
        .stream(Some(pod.node()?), NodeRequest::Exec(request))
        .await?;
    let end = interact::join(session, stream, joined).await?;
    interact::finish(session, end)
}

/// Arguments of `attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    # See what a container writes\n  \
    kabuki attach web-1\n\n  \
    # Also type into it (its pod must have `stdin` and `tty`)\n  \
    kabuki attach -it web-1 -c shell")]
pub struct AttachArgs {
    /// POD, or TYPE/NAME of a workload
    #[arg(value_name = "POD", required = true)]
    what: Vec<String>,
    /// Which container
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Standard input is a terminal
    #[arg(short, long)]
    tty: bool,
    /// Only the output of the process
    #[arg(short, long)]
    quiet: bool,
}

/// Runs `attach`.
pub async fn attach(session: &Session, args: AttachArgs) -> Outcome {
    let pod = pods::one_of(session, &args.what).await?;
    if pod.is_over() {
        fail!(
            "cannot attach a container in a completed pod; current phase is {}",
            pod.phase()
        );
    }
    let container = pod.container(session, args.container.as_deref())?;
    attach_to(session, &pod, container, args.stdin, args.tty, args.quiet).await
}

/// Joins this program to a container.
pub async fn attach_to(
    session: &Session,
    pod: &pods::PodHandle,
    container: String,
    stdin: bool,
    tty: bool,
    quiet: bool,
) -> Outcome {
    let joined = Joined::settle(session, stdin, tty);
    if !quiet && joined.stdin && joined.tty {
        session
            .out
            .note("If you don't see a command prompt, try pressing enter.");
    }
    let request = AttachRequest {
        pod: pod.pod.clone(),
        container,
        stdin: joined.stdin,
        tty: joined.tty,
        size: joined.tty.then(terminal::size).flatten(),
    };
    let stream = session
        .stream(Some(pod.node()?), NodeRequest::Attach(request))
        .await?;
    let end = interact::join(session, stream, joined).await?;
    interact::finish(session, end)
}
