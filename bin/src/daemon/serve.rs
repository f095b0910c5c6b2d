//! Runs a node until it is told to end: settles how it came into its cluster, puts its parts
//! together, starts them.

use super::config::{Config, DEFAULT_DATA_DIR, NodeArgs};
use super::{
    addresses, demo, descriptors, journal, kubeconfig, lock, membership, node, server, worker,
};
use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use kabuki_kit::{Root, Tree};
use kabuki_plane::admitting::{Founding, bootstrap_cluster};
use kabuki_plane::bootstrap;
use kabuki_plane::pki::Authority;
use kabuki_protocol::join::Role;
use kabuki_protocol::session::VersionInfo;
use std::io::{ErrorKind, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long stopping everything may take; containers are not touched.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a server that has joined may take to get the state.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);
/// By then the images, certificates and lists that a start goes through are forgotten again.
const SETTLED: Duration = Duration::from_secs(5);

/// `kabuki node`
pub fn run(args: NodeArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    journal::begin();
    descriptors::allow_many();
    let config = Config::settle(args)?;
    refuse_user()?;
    // Of one that runs already, the data directory tells more than the port; and a port that is
    // taken must not leave a new data directory behind.
    let held = config
        .data_dir
        .exists()
        .then(|| lock::take(&config.data_dir));
    let held = held.transpose()?;
    refuse_port(config.listen)?;
    let _lock = match held {
        Some(lock) => lock,
        None => lock::take(&config.data_dir)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(&config, started));
    // Blocking work that is still under way (a pull, an unpacking) is redone at the next start.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn refuse_user() -> anyhow::Result<()> {
    // The kernel shows a process under its effective user.
    let user = std::fs::metadata("/proc/self")
        .context("cannot read /proc/self")?
        .uid();
    if user != 0 {
        bail!(
            "a node makes namespaces, mounts and network devices, and needs root for it: run \
             `sudo kabuki node`"
        );
    }
    Ok(())
}

/// Tries the port before anything on this machine is changed. Whoever takes it between now and
/// the real attempt is still found by that.
fn refuse_port(listen: SocketAddr) -> anyhow::Result<()> {
    match TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
            "{} is in use by another program: stop that one (`ss -ltnp` names it), or give \
             --listen with another port",
            listen
        ),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => bail!(
            "{} is no address of this machine: give --listen with one that is, or 0.0.0.0 for all",
            listen.ip()
        ),
        Err(error) => Err(error).with_context(|| format!("cannot listen on {listen}")),
    }
}

async fn serve(config: &Config, started: Instant) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let membership = tokio::select! {
        settled = membership::settle(config) => settled?,
        name = signals.next() => {
            tracing::info!("{name} before this node was in a cluster");
            return Ok(());
        }
    };
    let tree = Tree::new();
    // Never that of an earlier start, and never zero, which stands for none.
    let boot = rand::random::<u64>() | 1;
    let version = version_info(&membership.member.name);
    match membership.member.role {
        Role::Server => {
            let server = server::assemble(config, &membership, boot, version, &tree).await?;
            show_demo(&server.parts).await;
            let spec = node::tree(server.plane.child(), &server.parts);
            let mut root = Root::start(&tree, "node", spec).await?;
            let kubeconfig = tokio::select! {
                ready = prepare(config, &membership, &server) => ready?,
                name = signals.next() => return stop(root, name).await,
                reason = root.wait() => return Err(beyond(reason)),
            };
            membership.settled(&config.data_dir)?;
            ready(config, &membership, started);
            if std::io::stdout().is_terminal() {
                welcome(config, kubeconfig.path());
            }
            let stopped = tokio::select! {
                stopped = run_until_told(&mut root, &mut signals) => stopped?,
                never = kubeconfig.follow() => match never {},
            };
            server.parts.agent.end_pods().await;
            // Another server leads at once, instead of after a time-out.
            let _ = server.plane.raft().transfer_leadership(None).await;
            stop(root, stopped).await
        }
        Role::Worker => {
            let worker = worker::assemble(config, &membership, boot, version, &tree).await?;
            show_demo(&worker.parts).await;
            let spec = node::tree(worker.roster, &worker.parts);
            let mut root = Root::start(&tree, "node", spec).await?;
            membership.settled(&config.data_dir)?;
            ready(config, &membership, started);
            let stopped = run_until_told(&mut root, &mut signals).await?;
            worker.parts.agent.end_pods().await;
            stop(root, stopped).await
        }
    }
}

/// What a server has to do before it is ready. Gives the administrator's kubeconfig, which is
/// written.
async fn prepare(
    config: &Config,
    membership: &membership::Membership,
    server: &server::ServerNode,
) -> anyhow::Result<kubeconfig::AdminKubeconfig> {
    if owes_foundation(&config.data_dir)? {
        bootstrap::ensure(server.plane.gateway())
            .await
            .context("cannot make the initial namespaces")?;
        bootstrap_cluster(&server.ground, &config.data_dir, &membership.credentials)
            .await
            .context("cannot write down what the cluster is founded on")?;
    }
    let listen = SocketAddr::new(config.listen.ip(), server.parts.port.address()?.port());
    let kubeconfig =
        kubeconfig::AdminKubeconfig::new(&config.data_dir, server.plane.raft().clone(), listen);
    let known = kubeconfig.known_authority(&membership.member.name);
    let (authority, bundle) = tokio::time::timeout(CATCH_UP_LIMIT, known)
        .await
        .map_err(|_| anyhow!("this server did not get the state within {CATCH_UP_LIMIT:?}"))??;
    renew_ended(membership, &authority)?;
    kubeconfig.write(&authority, &bundle)?;
    Ok(kubeconfig)
}

/// A server that was off for longer than its certificate lived signs itself a new one, by the CA of
/// its own state: servers that were all off could not reach each other to ask.
fn renew_ended(membership: &membership::Membership, authority: &Authority) -> anyhow::Result<()> {
    let (member, credentials) = (&membership.member, &membership.credentials);
    if credentials.certificate_ends() > Timestamp::now() {
        return Ok(());
    }
    let (csr, addresses) = (credentials.csr_pem()?, addresses::all());
    let signed = authority.node_certificate(&csr, &member.name, member.role, &addresses)?;
    credentials.install(&signed, &credentials.bundle_pem())?;
    tracing::info!("this server's certificate ended while it was off: signed anew");
    Ok(())
}

/// Whether this server founded a cluster whose state does not have everything yet.
fn owes_foundation(data_dir: &Path) -> anyhow::Result<bool> {
    let begun = Founding::load(data_dir)?.is_some();
    Ok(begun || data_dir.join("pki/ca.key").exists())
}

/// Before anyone can ask for it: a pod whose image is missing waits for long.
async fn show_demo(parts: &node::Parts) {
    if let Err(error) = demo::ensure(parts.agent.images()).await {
        tracing::warn!(
            error = format!("{error:#}"),
            "the demonstration's image is not available"
        );
    }
}

fn ready(config: &Config, membership: &membership::Membership, started: Instant) {
    tracing::info!(
        node.name = membership.member.name,
        node.role = ?membership.member.role,
        listen = %config.listen,
        took_ms = started.elapsed().as_millis() as u64,
        "ready"
    );
    tokio::spawn(async {
        tokio::time::sleep(SETTLED).await;
        match tokio::task::spawn_blocking(kabuki_runtime::give_back_memory).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "memory of the start is kept"),
            Err(error) => tracing::debug!(%error, "memory of the start is kept"),
        }
    });
}

/// The signals that end a node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// What was done to the node.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "terminated",
            _ = self.interrupt.recv() => "interrupted",
        }
    }
}

async fn run_until_told(root: &mut Root, signals: &mut Signals) -> anyhow::Result<&'static str> {
    tokio::select! {
        name = signals.next() => Ok(name),
        reason = root.wait() => Err(beyond(reason)),
    }
}

fn beyond(reason: Option<String>) -> anyhow::Error {
    let reason = reason.unwrap_or_else(|| "without a reason".to_string());
    anyhow!("the node failed beyond what its supervisors heal: {reason}")
}

async fn stop(root: Root, why: &str) -> anyhow::Result<()> {
    tracing::info!("{why}; containers live on");
    root.stop(STOP_LIMIT)
        .await
        .map_err(|stuck| anyhow!("did not stop in time: {stuck:?}"))
}

fn version_info(node: &str) -> VersionInfo {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    VersionInfo {
        kabuki: env!("CARGO_PKG_VERSION").to_string(),
        kubernetes: kabuki_model::KUBERNETES_VERSION.to_string(),
        node: node.to_string(),
        platform: format!("linux/{arch}"),
    }
}

fn welcome(config: &Config, kubeconfig: &Path) {
    let usual = config.data_dir == std::path::Path::new(DEFAULT_DATA_DIR);
    println!("\nNode {} is ready. In another terminal:\n", config.name);
    if !usual {
        println!("    export KUBECONFIG={}", kubeconfig.display());
    }
    println!("    kabuki get nodes");
    println!(
        "    kabuki create deployment hello --image={} --replicas=2",
        demo::NAME
    );
    println!("    kabuki get pods -o wide\n");
    let reset = match usual {
        true => "kabuki reset".to_string(),
        false => format!("kabuki reset --data-dir {}", config.data_dir.display()),
    };
    println!("Ctrl-C stops the node; its containers live on. `{reset}` removes everything.\n");
}
