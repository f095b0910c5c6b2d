//! A client to the node's client port: the frames of the native protocol, spoken over TLS when
//! both sides chose the protocol name [`ALPN`]. Many calls, watches and streams run on one
//! connection; each has an id that the client chose and that is not reused while it lives.
//!
//! Flow control: what the server sends on a watch or stream costs credit, one for each frame.
//! A call begins with [`INITIAL_CREDIT`]; the client grants more as it consumes. What the client
//! sends on a stream is limited the same way by [`ServerFrame::Credit`]. A side that runs out of
//! credit and sends all the same is disconnected.

use crate::join::{JoinRefusal, JoinRequest, Joined, Role};
use crate::node::{FromNode, NodeRequest, ToNode};
use bytes::Bytes;
use kabuki_model::StatusError;
use kabuki_model::identity::Identity;
use kabuki_model::request::{Answer, Request};
use kabuki_model::watch::{WatchEvent, WatchRequest};
use serde::{Deserialize, Serialize};

/// The protocol name that both sides choose in the TLS handshake.
pub const ALPN: &[u8] = b"kabuki/1";
/// The version of these messages; both sides must have the same.
pub const VERSION: u32 = 5;
/// Frames that a side may send on a watch or stream before the other grants more.
pub const INITIAL_CREDIT: u32 = 32;
/// No frame is larger, in bytes. An object may have 1.5 MiB, a list is cut into several frames.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Calls that may be open at once on one connection.
pub const MAX_OPEN_CALLS: usize = 1024;

/// From the client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientFrame {
    /// The first frame.
    Hello {
        /// The client's [`VERSION`].
        version: u32,
        /// Who speaks, for logs: `kabuki/0.1.0`.
        agent: String,
    },
    /// Begins a call, watch or stream.
    Call {
        /// The id of the new call.
        id: u32,
        /// What is asked.
        call: Call,
    },
    /// Input of a stream.
    Input {
        /// Which stream.
        id: u32,
        /// The chunk.
        chunk: ToNode,
    },
    /// Grants the server more frames.
    Credit {
        /// Which watch or stream.
        id: u32,
        /// How many more.
        frames: u32,
    },
    /// Ends a call, watch or stream; the server stops all that it did for it.
    Cancel {
        /// Which.
        id: u32,
    },
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Call {
    /// A request on objects: frames [`Reply::Answer`], the last of which ends it. A long list is
    /// cut: every frame but the last has [`ServerFrame::Reply::more`].
    Api(Request),
    /// A watch: frames [`Reply::Events`] until it is cancelled or ends.
    Watch(WatchRequest),
    /// A stream with a node; `None` is the node that the session is with.
    Node {
        /// Which node.
        node: Option<String>,
        /// What for.
        request: NodeRequest,
    },
    /// Who serves: one [`Reply::Version`].
    Version,
    /// Who asks, as the server sees it: one [`Reply::WhoAmI`].
    WhoAmI,
    /// A read that any server answers from what it has, if that is fresh enough.
    Stale {
        /// A `Get` or `List`.
        request: Request,
        /// How long the server may have been without news of the leader, in milliseconds;
        /// `None` takes any state.
        max_staleness_ms: Option<u64>,
    },
    /// A request that another server's client made; only servers may ask this.
    Forward {
        /// Who asked.
        who: Identity,
        /// What for.
        request: Request,
    },
    /// A node's certificate anew, for the key of this request (PEM); only the node itself may ask.
    Certify {
        /// The certificate request.
        csr_pem: String,
    },
    /// The members of the cluster: one [`Reply::Members`].
    Members,
    /// Joining, handed on by the server that was asked; only servers may ask this.
    Join(Box<JoinRequest>),
    /// One consistent snapshot of the whole state: frames [`Reply::Bytes`]; administrators only.
    Backup,
}

/// A member as `kabuki members` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// The node's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its port.
    pub address: String,
    /// Among servers: `leader`, `voter`, `learner`, or empty when it takes no part yet.
    pub vote: String,
    /// How many entries of the log it is behind the leader; `None` for workers, or when unknown.
    pub lag: Option<u64>,
    /// The session of the leader with it: `connected`, `connecting`, `lost`, `self`.
    pub session: String,
    /// Milliseconds since the leader last heard of it.
    pub heard_ms: Option<u64>,
    /// When its certificate ends: seconds since the epoch.
    pub certificate_ends_s: Option<i64>,
    /// The program's version.
    pub program: String,
}

/// From the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerFrame {
    /// The answer to the client's first frame.
    Welcome {
        /// The server's [`VERSION`].
        version: u32,
        /// The node that serves.
        node: String,
    },
    /// Something of a call.
    Reply {
        /// Which call.
        id: u32,
        /// Whether more follows; when not, the id is free again.
        more: bool,
        /// What.
        reply: Result<Reply, StatusError>,
    },
    /// Grants the client more input on a stream.
    Credit {
        /// Which stream.
        id: u32,
        /// How many more frames.
        frames: u32,
    },
    /// The connection ends, and why.
    Goodbye {
        /// For people.
        reason: String,
    },
}

/// What a call yields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Of [`Call::Api`].
    Answer(Answer),
    /// Of [`Call::Watch`].
    Events(Vec<WatchEvent>),
    /// Of [`Call::Node`].
    Chunk(FromNode),
    /// Of [`Call::Version`].
    Version(VersionInfo),
    /// Of [`Call::WhoAmI`].
    WhoAmI(Identity),
    /// Of [`Call::Certify`].
    Certificate {
        /// The certificate, in PEM.
        certificate_pem: String,
        /// Every CA that the cluster trusts, in PEM.
        bundle_pem: String,
    },
    /// Of [`Call::Members`].
    Members(Vec<MemberInfo>),
    /// Of [`Call::Join`].
    Joined(Box<Result<Joined, JoinRefusal>>),
    /// Of [`Call::Backup`]: a part of the file.
    Bytes(Bytes),
}

/// Who serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The version of the program.
    pub kabuki: String,
    /// The Kubernetes minor version whose API is served, for example `v1.37`.
    pub kubernetes: String,
    /// The node that serves.
    pub node: String,
    /// `linux/amd64`
    pub platform: String,
}
