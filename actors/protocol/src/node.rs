//! The control plane, or a client through it, to a node: everything that needs the node itself
//! and not the stored state. Each request opens one stream of chunks in both directions, with
//! bounded channels, so that neither side can flood the other.

use bytes::Bytes;
use futures::future::BoxFuture;
use kabuki_model::StatusError;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A node's side of the conversation.
pub trait Node: Send + Sync + 'static {
    /// Opens a stream. A refusal here means that nothing was started.
    fn open(&self, request: NodeRequest) -> BoxFuture<'_, Result<NodeStream, StatusError>>;
}

/// A shared [`Node`].
pub type NodeHandle = Arc<dyn Node>;

/// The two directions of one stream. Dropping it ends whatever it was for.
pub struct NodeStream {
    /// To the node.
    pub input: mpsc::Sender<ToNode>,
    /// From the node. Ends after [`FromNode::Done`], or when the node is gone.
    pub output: mpsc::Receiver<FromNode>,
}

/// How many chunks a direction of a stream holds before its sender waits.
pub const STREAM_DEPTH: usize = 16;
/// No chunk of a stream is larger, in bytes; senders cut their data.
pub const CHUNK_BYTES: usize = 64 << 10;

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum NodeRequest {
    /// The log of a container, as [`FromNode::Output`].
    Logs(LogRequest),
    /// Runs a command in a container.
    Exec(ExecRequest),
    /// Connects to the main process of a container.
    Attach(AttachRequest),
    /// One TCP connection to a port inside a pod's network: bytes both ways, as
    /// [`ToNode::Input`] and [`FromNode::Output`].
    PortForward {
        /// Which pod.
        pod: PodRef,
        /// Which port.
        port: u16,
    },
    /// The live tree of the node's actors: one [`FromNode::Actors`].
    Actors,
    /// Kills one actor of the tree as if it had crashed; for diagnosis.
    KillActor {
        /// Its path in the tree.
        path: String,
    },
    /// What the host offers: one [`FromNode::Checks`].
    Check,
    /// The images on the node: one [`FromNode::Images`].
    ImageList,
    /// Pulls an image; [`FromNode::Progress`] on the way.
    ImagePull {
        /// The image reference, as in a manifest.
        reference: String,
        /// `user:password` for its registry, when it needs one.
        credentials: Option<(String, String)>,
    },
    /// Loads an OCI or docker archive that follows as [`ToNode::Input`] until
    /// [`ToNode::EndOfInput`]; [`FromNode::Progress`] on the way, then [`FromNode::Images`] with
    /// what was loaded.
    ImageLoad {
        /// The name to give to an archive that names no image.
        name: Option<String>,
    },
    /// Removes an image by reference or id.
    ImageRemove {
        /// Which.
        reference: String,
    },
    /// Looks a name up in the node's name server: one [`FromNode::Name`].
    DnsLookup {
        /// The name.
        name: String,
        /// The type of record: `A`.
        kind: String,
        /// As this pod would, with its search list; it must be on the node.
        from: Option<PodRef>,
    },
    /// Where a connection to a service would go: one [`FromNode::Connection`].
    TraceService {
        /// Where to.
        to: SocketAddr,
        /// `TCP`, `UDP` or `SCTP`
        protocol: String,
        /// Where from; `None` is a pod of the node.
        from: Option<IpAddr>,
    },
    /// What the node, its pods and their containers use: one [`FromNode::Metrics`].
    Metrics,
    /// How the node is set up: one [`FromNode::Settings`].
    Settings,
}

/// A pod by name, and by uid when the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Which part of which log (`v1` `PodLogOptions`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRequest {
    /// Which pod.
    pub pod: PodRef,
    /// Which container; empty when the pod has only one.
    pub container: String,
    /// Go on until the container ends.
    pub follow: bool,
    /// The instance before the present one.
    pub previous: bool,
    /// Only so many of the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines since this time, in nanoseconds since the epoch.
    pub since_ns: Option<i64>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only what the container wrote there.
    pub stream: LogStream,
}

/// What of a container's output a log has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogStream {
    /// All of it, as it came.
    #[default]
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What to run in a container (`v1` `PodExecOptions`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Which pod.
    pub pod: PodRef,
    /// Which container; empty is the first, or the one that the pod's
    /// `kubectl.kubernetes.io/default-container` annotation names.
    pub container: String,
    /// The command and its arguments; no shell is involved.
    pub command: Vec<String>,
    /// Whether input follows.
    pub stdin: bool,
    /// Whether to allocate a terminal; error output then comes with the other output.
    pub tty: bool,
    /// The terminal's size at the start.
    pub size: Option<TerminalSize>,
}

/// How to connect to a container (`v1` `PodAttachOptions`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachRequest {
    /// Which pod.
    pub pod: PodRef,
    /// Which container; empty is the first.
    pub container: String,
    /// Whether input follows; the container must have `stdin: true`.
    pub stdin: bool,
    /// Whether the client has a terminal; the container must have `tty: true`.
    pub tty: bool,
    /// The terminal's size at the start.
    pub size: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A chunk towards the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToNode {
    /// Input for the process, the connection or the archive.
    Input(Bytes),
    /// The input is complete.
    EndOfInput,
    /// The client's terminal changed.
    Resize(TerminalSize),
}

/// A chunk from the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromNode {
    /// Standard output, a log's bytes, or a connection's bytes.
    Output(Bytes),
    /// Standard error.
    Error(Bytes),
    /// How far a long operation has come.
    Progress(Progress),
    /// The images.
    Images(Vec<ImageInfo>),
    /// The actors.
    Actors(Vec<ActorInfo>),
    /// What the host offers.
    Checks(Vec<HostCheck>),
    /// The end: of a process its outcome, of anything else success or why it failed.
    Done(Result<Outcome, StatusError>),
    /// What a lookup found.
    Name(NameAnswer),
    /// Where a connection would go.
    Connection(ConnectionTrace),
    /// What is used.
    Metrics(NodeMetrics),
    /// The settings as JSON, under the names of kubelet's configuration.
    Settings(String),
}

/// Where a connection would go, as the node's packet filter says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTrace {
    /// `namespace/name:port` of the service; empty when there is none.
    pub service: String,
    /// What decides, in order.
    pub steps: Vec<String>,
    /// The end.
    pub fate: ConnectionFate,
}

/// What becomes of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionFate {
    /// No service: it goes to the address itself.
    Untouched,
    /// It is refused at once, for this reason.
    Refused(String),
    /// It is thrown away, for this reason.
    Dropped(String),
    /// It goes to one of these.
    Sent(Vec<EndpointShare>),
    /// The client is remembered, and goes where it went before.
    Again(SocketAddr),
}

/// An endpoint, and how often it is picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointShare {
    /// Where it is.
    pub endpoint: SocketAddr,
    /// Once in so many times.
    pub one_in: u32,
}

/// What a node, its pods and their containers use at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMetrics {
    /// The node.
    pub node: String,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The whole machine.
    pub usage: Usage,
    /// What pods can have of it: thousandths of a processor.
    pub cpu_milli: i64,
    /// What pods can have of it: bytes of memory.
    pub memory_bytes: i64,
    /// The file system of pods.
    pub file_system: FileSystem,
    /// The file system of images.
    pub image_file_system: FileSystem,
    /// The pods that run.
    pub pods: Vec<PodMetrics>,
}

/// What a pod and its containers use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodMetrics {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// All of it.
    pub usage: Usage,
    /// Its containers, by name.
    pub containers: Vec<ContainerMetrics>,
    /// Bytes of its files on the node: writable layers, volumes, logs; counted rarely.
    pub disk_bytes: u64,
    /// Their number.
    pub disk_inodes: u64,
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerMetrics {
    /// Its name.
    pub name: String,
    /// What it uses.
    pub usage: Usage,
}

/// What something uses. What cannot be measured is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Billionths of a processor, over the last seconds.
    pub cpu_nanocores: u64,
    /// CPU time in all, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory without what could be dropped at once.
    pub memory_working_set_bytes: u64,
    /// Memory.
    pub memory_usage_bytes: u64,
    /// Memory that belongs to no file.
    pub memory_rss_bytes: u64,
    /// Bytes received from the network.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// The room on a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// All bytes.
    pub capacity_bytes: u64,
    /// Those that are free for everyone.
    pub available_bytes: u64,
    /// All files that it can take.
    pub inodes: u64,
    /// How many more.
    pub inodes_free: u64,
}

/// How a stream ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All was done.
    Complete,
    /// The process ended with this code (128 + signal when a signal ended it).
    Exited(i32),
}

/// How far one part of a long operation has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which part, for example a layer's short digest.
    pub part: String,
    /// What is being done: `Downloading`, `Unpacking`, `Done`.
    pub doing: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all, when known.
    pub total_bytes: Option<u64>,
}

/// An image on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// The digest of its configuration: `sha256:...`.
    pub id: String,
    /// Its names: tags and digests.
    pub names: Vec<String>,
    /// What it takes on disk, unpacked.
    pub size_bytes: u64,
    /// Whether a container uses it.
    pub in_use: bool,
}

/// One actor of the live tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorInfo {
    /// Where it stands: `node/plane/gateway`.
    pub path: String,
    /// What it is doing: `running`, `idle`, `starting`, `stopping`, `restarting`.
    pub state: String,
    /// Messages that wait.
    pub mailbox: u64,
    /// Messages handled since it started.
    pub handled: u64,
    /// How often its supervisor restarted it.
    pub restarts: u64,
    /// The longest that one message took, in microseconds.
    pub longest_us: u64,
    /// Why it last failed; empty when it never did.
    pub last_failure: String,
}

/// One thing that a host offers or lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostCheck {
    /// What: `cgroup`, `seccomp`, `overlayfs`.
    pub name: String,
    /// Whether it is there.
    pub ok: bool,
    /// Whether nothing works without it.
    pub required: bool,
    /// What was found.
    pub found: String,
    /// What its lack costs; empty when it is there.
    pub cost: String,
}

/// What a lookup of a name found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameAnswer {
    /// The names that were tried, each with the code of its answer: `NXDOMAIN`. The last one
    /// counts.
    pub tried: Vec<(String, String)>,
    /// Its records, as in a zone file.
    pub records: Vec<String>,
    /// Where the answer is from: `zone`, `cache`, `stale cache`, `upstream`, `nobody`.
    pub source: String,
    /// The server that gave it, when it was another one.
    pub server: Option<String>,
    /// How old it is, in seconds: for how long it has been kept, or for how long the service has
    /// been as it is.
    pub age_s: Option<u64>,
}
