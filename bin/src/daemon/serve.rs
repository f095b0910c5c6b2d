//! Wires a node and runs it until it is told to end.
//!
//! ```text
//! node (one-for-one)
//! ├── plane (rest-for-one)    raft group, gateway, events, controllers, scheduler
//! ├── clients (one-for-one)   the client port
//! └── agent (one-for-one)     pods, images, the Node object
//! ```

use super::config::{Config, DEFAULT_DATA_DIR, NodeArgs};
use super::{addresses, demo, descriptors, journal, lock};
use anyhow::{Context, anyhow, bail};
use kabuki_agent::{AgentConfig, NodeAgent};
use kabuki_kit::{Root, Strategy, SupervisorSpec, Tree};
use kabuki_model::identity::Identity;
use kabuki_plane::pki::{self, Authority};
use kabuki_plane::session::{ClientPort, Nodes, Services};
use kabuki_plane::{Plane, bootstrap};
use kabuki_protocol::NodeHandle;
use kabuki_protocol::session::{ALPN, VersionInfo};
use std::io::{ErrorKind, IsTerminal};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long stopping everything may take; containers are not touched.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// A node is restarted as a whole only when a part of it failed this often.
const RESTARTS: u32 = 64;

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

/// The only node there is, yet.
struct OnlyNode {
    name: String,
    node: NodeHandle,
}

impl Nodes for OnlyNode {
    fn node(&self, name: &str) -> Option<NodeHandle> {
        (name == self.name).then(|| self.node.clone())
    }
}

async fn serve(config: &Config, started: Instant) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tree = Tree::new();
    let plane = Plane::new(&config.data_dir);
    let gateway = plane.gateway().clone();
    let node_ip = addresses::primary(config.listen.ip());
    let pod_cidr = config
        .pod_cidr
        .parse()
        .map_err(|e| anyhow!("--pod-cidr: {e}"))?;
    let api = gateway.api(Identity::node(&config.name));
    let mut settings = AgentConfig::new(
        &config.name,
        &config.data_dir,
        node_ip,
        pod_cidr,
        pod_cidr,
        api,
    );
    settings.max_pods = config.max_pods.unwrap_or(settings.max_pods);
    let agent = NodeAgent::open(settings, &tree).await?;
    let services = Services {
        gateway: gateway.clone(),
        nodes: Arc::new(OnlyNode {
            name: config.name.clone(),
            node: agent.node(),
        }),
        version: version_info(&config.name),
    };
    let authority = Authority::open(&config.data_dir)?;
    let server = authority.server(&server_names(config), &addresses::all())?;
    let tls = pki::server_config(&authority, &server, &[ALPN])?;
    let port = ClientPort::bind(config.listen, tls, services).await?;
    let url = server_url(config.listen.ip(), port.address()?.port());
    let kubeconfig = pki::write_admin_kubeconfig(&config.data_dir, &authority, &url)?;

    // Before anyone can ask for it: a pod whose image is missing waits for long.
    if let Err(error) = demo::ensure(agent.images()).await {
        tracing::warn!(
            error = format!("{error:#}"),
            "the demonstration's image is not available"
        );
    }
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .intensity(RESTARTS, Duration::from_secs(60))
        .child(plane.child())
        .child(port.child())
        .child(agent.child());
    let mut root = Root::start(&tree, "node", spec).await?;
    bootstrap::ensure(&gateway)
        .await
        .context("cannot make the initial namespaces")?;
    tracing::info!(
        node.name = config.name, listen = %config.listen, took_ms = started.elapsed().as_millis() as u64,
        "ready"
    );
    if std::io::stdout().is_terminal() {
        welcome(config, &kubeconfig);
    }
    tokio::select! {
        _ = terminate.recv() => tracing::info!("terminating; containers live on"),
        _ = interrupt.recv() => tracing::info!("interrupted; containers live on"),
        reason = root.wait() => {
            let reason = reason.unwrap_or_else(|| "without a reason".to_string());
            return Err(anyhow!("the node failed beyond what its supervisors heal: {reason}"));
        }
    }
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

/// The names that the client port's certificate is valid for.
fn server_names(config: &Config) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "kubernetes", "kubernetes.default"]
        .map(str::to_string)
        .to_vec();
    names.push("kubernetes.default.svc".to_string());
    names.push("kubernetes.default.svc.cluster.local".to_string());
    names.push(config.name.clone());
    names
}

/// Where the administrator's kubeconfig points: an address of this host that the certificate
/// names and that works from here.
fn server_url(listen: IpAddr, port: u16) -> String {
    match listen {
        ip if ip.is_unspecified() => format!("https://127.0.0.1:{port}"),
        IpAddr::V4(ip) => format!("https://{ip}:{port}"),
        IpAddr::V6(ip) => format!("https://[{ip}]:{port}"),
    }
}

fn welcome(config: &Config, kubeconfig: &std::path::Path) {
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
