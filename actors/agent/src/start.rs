//! Opening a node and putting its actors into a tree.

use crate::config::{AgentConfig, Layout, Reserved};
use crate::cpus::{Cpus, CpusError};
use crate::directory::DirectoryHandle;
use crate::event::EventHandle;
use crate::gate::NodeGate;
use crate::image::ImageHandle;
use crate::lease;
use crate::manager::ManagerHandle;
use crate::metrics::MetricsHandle;
use crate::names::NamesHandle;
use crate::network::PodNetwork;
use crate::node::{self, Machine, ReservedError, Zone};
use crate::peers;
use crate::pod::places;
use crate::pressure::{self, PressureBoard};
use crate::probe::ProbeThread;
use crate::proxy::ProxyHandle;
use crate::room::Room;
use crate::services::{PodEntry, Registry, Services};
use crate::spare::SpareHandle;
use crate::statics::MirrorHandle;
use crate::status::StatusHandle;
use crate::trace::{PodTrace, Traces};
use crate::volume::Objects;
use kabuki_kit::{ChildSpec, Strategy, SupervisorHandle, SupervisorSpec, Tree};
use kabuki_lifecycle::resources::{QosClass, cgroup_parent};
use kabuki_lifecycle::{Host, eviction};
use kabuki_net::NetError;
use kabuki_protocol::NodeHandle;
use kabuki_runtime::image::{ImageError, ImageStore, StoreOptions};
use kabuki_runtime::{CgroupError, Cgroups, ShimLauncher, SwiftMoves, keep_in_memory};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A pod's actors restart on their own account; the group of all of them rarely.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// What is killed at the end of its grace needs a moment more, and so does the word of it.
const SHUTDOWN_SLACK: Duration = Duration::from_secs(2);

/// Why a node cannot run on this machine.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory cannot be made.
    #[error("cannot make directory {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The images cannot be opened.
    #[error("images: {0}")]
    Images(#[from] ImageError),
    /// The pod network cannot be made.
    #[error("pod network: {0}")]
    Network(#[from] NetError),
    /// The cgroups cannot be made.
    #[error("cgroups: {0}")]
    Cgroups(#[from] CgroupError),
    /// Processors cannot be given away as asked.
    #[error("processors: {0}")]
    Cpus(#[from] CpusError),
    /// More is kept from pods than there is.
    #[error(transparent)]
    Reserved(#[from] ReservedError),
    /// The thread of the probes cannot be started.
    #[error("thread of the probes: {0}")]
    Thread(#[source] io::Error),
    /// The work ended before it was done.
    #[error("opening the node was cut short: {0}")]
    CutShort(String),
}

/// A node that is ready to run. Keep it for as long as its actors run.
#[derive(Clone)]
pub struct NodeAgent {
    services: Arc<Services>,
    machine: Machine,
    pods: SupervisorHandle,
    manager: ManagerHandle,
    tree: Tree,
}

impl NodeAgent {
    /// Opens images, network and cgroups. Must be called in the node's network namespace. No
    /// actor runs yet.
    ///
    /// # Errors
    /// Naming what this machine lacks or refuses.
    pub async fn open(config: AgentConfig, tree: &Tree) -> Result<Self, OpenError> {
        let layout = Layout::new(&config.data_dir);
        make_dir(&layout.run, 0o711)?;
        keep_in_memory(&layout.run).map_err(|source| OpenError::Directory {
            path: layout.run.clone(),
            source,
        })?;
        for (dir, mode) in directories(&layout) {
            make_dir(&dir, mode)?;
        }
        if let Some(dir) = &config.static_pods {
            make_dir(dir, 0o755)?;
        }
        places::make(&layout).map_err(|source| OpenError::Directory {
            path: layout.places(),
            source,
        })?;
        // An earlier version let nobody pass.
        let (shims, pass) = (layout.shims(), std::fs::Permissions::from_mode(0o711));
        std::fs::set_permissions(&shims, pass).map_err(|source| OpenError::Directory {
            path: shims,
            source,
        })?;
        let options = StoreOptions {
            registries: config.registries.clone(),
            ca_file: config.registry_ca_file.clone(),
            ..StoreOptions::default()
        };
        let place = layout.images();
        let opened = tokio::task::spawn_blocking(move || ImageStore::open_with(place, options));
        let network = PodNetwork::open(config.network(&layout));
        let moves = tokio::task::spawn_blocking(swift_moves);
        let (store, network, moves) = tokio::join!(opened, network, moves);
        let moves = moves.map_err(|error| OpenError::CutShort(error.to_string()))?;
        let store = store.map_err(|error| OpenError::CutShort(error.to_string()))??;
        let cgroups = Cgroups::detect()?;
        for class in [
            QosClass::Guaranteed,
            QosClass::Burstable,
            QosClass::BestEffort,
        ] {
            cgroups.create(&cgroup_parent(&layout.cgroup, class))?;
        }
        cgroups.create_leaf(&layout.shim_cgroup())?;
        let mut launcher = ShimLauncher::new(layout.shims()).with_cgroup(layout.shim_cgroup());
        if let Some((program, arguments)) = config.shim.clone() {
            launcher = launcher.with_program(program, arguments);
        }
        let machine = Machine::read(&layout.data);
        let (api, traces) = (config.api.clone(), Traces::default());
        let network = network?;
        let directory = DirectoryHandle::new(api.clone(), layout.services());
        let events = EventHandle::new(api.clone(), &config.node_name);
        let names = NamesHandle::new(&config, directory.clone(), network.clone(), events.clone());
        let mut config = config;
        reserve_cpus(&mut config);
        let cpus = Cpus::open(&config, layout.cpus())?;
        let allocatable = node::allocatable(&machine.resources, &config.reserved)?;
        let pods = Registry::default();
        let services = Services {
            host: Host {
                ips: vec![config.node_ip.to_string()],
            },
            capacity: machine.resources.clone(),
            room: Room::new(pods.clone(), &allocatable, cpus.is_static()),
            cpus,
            probes: ProbeThread::start().map_err(OpenError::Thread)?,
            allocatable,
            network,
            directory,
            zone: Zone::new(&config.labels),
            proxy: ProxyHandle::new(),
            names,
            images: ImageHandle::new(store, api.clone()),
            events,
            mirrors: MirrorHandle::new(),
            statuses: StatusHandle::new(api.clone(), traces.clone()),
            spares: SpareHandle::new(launcher.clone(), config.spare_shims),
            launcher,
            traces,
            pods,
            objects: Objects::new(api.clone()),
            cgroups,
            _moves: moves,
            metrics: MetricsHandle::new(),
            pressure: PressureBoard::new(),
            api,
            layout,
            config,
        };
        let pods = SupervisorHandle::new("pods");
        Ok(Self {
            services: Arc::new(services),
            machine,
            manager: ManagerHandle::new(pods.clone()),
            pods,
            tree: tree.clone(),
        })
    }

    /// The node's actors, to be put into a tree.
    pub fn child(&self) -> ChildSpec {
        let own = self.clone();
        ChildSpec::supervisor("agent", move |_| {
            SupervisorSpec::new(Strategy::OneForOne)
                .never_give_up()
                .backoff(BACKOFF.0, BACKOFF.1)
                .child(own.services.images.child())
                .child(own.services.events.child())
                .child(own.services.statuses.child())
                .child(own.services.mirrors.child(&own.services))
                .child(own.services.spares.child())
                .child(node::child(&own.services, &own.machine))
                .child(lease::child(&own.services))
                .child(peers::child(&own.services))
                .child(own.services.directory.child())
                .child(own.services.proxy.child(&own.services))
                .child(own.services.names.child())
                .child(own.services.metrics.child(&own.services))
                .child(pressure::child(&own.services, &own.manager))
                .child(own.keeping())
        })
    }

    /// The manager knows the pods' actors, so it restarts with their supervisor.
    fn keeping(&self) -> ChildSpec {
        let own = self.clone();
        ChildSpec::supervisor("keeping", move |_| {
            let handle = own.pods.clone();
            let pods = ChildSpec::supervisor("pods", move |_| {
                SupervisorSpec::new(Strategy::OneForOne)
                    .never_give_up()
                    .backoff(BACKOFF.0, BACKOFF.1)
                    .handle(&handle)
            });
            SupervisorSpec::new(Strategy::RestForOne)
                .never_give_up()
                .backoff(BACKOFF.0, BACKOFF.1)
                .child(pods)
                .child(own.manager.child(&own.services))
        })
    }

    /// The node as those see it who want logs, terminals and images of it.
    pub fn node(&self) -> NodeHandle {
        Arc::new(NodeGate::new(self.services.clone(), self.tree.clone()))
    }

    /// Ends the pods before the machine goes down, where the settings say so: first all but the
    /// critical ones, then those (Kubernetes, "Graceful node shutdown"). Must be called while the
    /// actors run.
    pub async fn end_pods(&self) {
        let Some((all, critical)) = self.services.config.shutdown else {
            return;
        };
        let entries = self.services.pods.all();
        let (last, first): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| eviction::is_critical(&entry.pod()));
        for (group, grace) in [(first, all.saturating_sub(critical)), (last, critical)] {
            self.end(&group, grace).await;
        }
    }

    async fn end(&self, group: &[Arc<PodEntry>], grace: Duration) {
        let message = "Pod was terminated in response to imminent node shutdown.";
        let grace_s = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        for entry in group {
            self.manager
                .evict(&entry.uid, "Terminated", message, grace_s);
        }
        let ended = async {
            for entry in group {
                let mut changes = entry.changes();
                let over = || entry.state().is_none_or(|s| s.final_phase.is_some());
                while !over() && changes.changed().await.is_ok() {}
                self.services.statuses.flush(&entry.uid).await;
            }
        };
        if tokio::time::timeout(grace + SHUTDOWN_SLACK, ended)
            .await
            .is_err()
        {
            tracing::warn!("not all pods ended before the node");
        }
    }

    /// How long the stages of the latest pods' starts took.
    pub fn traces(&self) -> Vec<PodTrace> {
        self.services.traces.all()
    }

    /// The image store, for images that come with the program.
    pub fn images(&self) -> &ImageStore {
        self.services.images.store()
    }
}

/// Processors that are kept by name are what is kept of them: other figures do not count.
fn reserve_cpus(config: &mut AgentConfig) {
    let Some(cpus) = &config.reserved_cpus else {
        return;
    };
    let count = i64::try_from(cpus.len()).unwrap_or(i64::MAX);
    config.reserved.iter_mut().for_each(|r| r.cpu_milli = 0);
    config.reserved.push(Reserved {
        cpu_milli: count.saturating_mul(1000),
        ..Reserved::default()
    });
}

/// The directories of a node and who may look into them.
fn directories(layout: &Layout) -> Vec<(PathBuf, u32)> {
    vec![
        (layout.data.clone(), 0o755),
        // Those who pass, but do not list: the users of pods that have their own.
        (layout.shims(), 0o711),
        (layout.pods(), 0o700),
        // Secrets, with the modes that their pods see; mounts reach them all the same.
        (layout.memory_volumes(), 0o700),
        (layout.pod_logs(), 0o755),
        (layout.container_logs(), 0o755),
    ]
}

/// Without them everything works, only later.
fn swift_moves() -> Option<SwiftMoves> {
    let moves = SwiftMoves::hold();
    moves
        .inspect_err(|error| tracing::debug!(%error, "moves between cgroups stay slow"))
        .ok()
}

fn make_dir(path: &Path, mode: u32) -> Result<(), OpenError> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path);
    made.map_err(|source| OpenError::Directory {
        path: path.to_path_buf(),
        source,
    })
}
