//! Everything that can fail here. Each variant is one operation and names what it was on.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::plan::{Cidr, InterfaceNameError, PeerProblem, PoolError};

/// A failed network operation.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A namespace file could not be opened.
    #[error("cannot open network namespace {netns}: {source}")]
    OpenNetns {
        /// Path of the namespace.
        netns: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A thread could not enter a namespace.
    #[error("cannot enter network namespace {netns}: {source}")]
    EnterNetns {
        /// Path or description of the namespace.
        netns: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A new namespace could not be made.
    #[error("cannot make a network namespace: {source}")]
    CreateNetns {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The thread for work in a namespace could not start, or ended without a result.
    #[error("the thread for network namespace {netns} failed: {reason}")]
    NetnsThread {
        /// Path or description of the namespace.
        netns: String,
        /// What went wrong.
        reason: String,
    },
    /// A netlink socket could not be opened.
    #[error("cannot open a netlink socket for {purpose}: {source}")]
    Socket {
        /// What the socket is for.
        purpose: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An operation on an interface failed.
    #[error("cannot {operation} interface {interface}: {source}")]
    Interface {
        /// A verb, such as "create".
        operation: &'static str,
        /// The interface's name, with its namespace where that is not the node's own.
        interface: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// An interface that must exist does not.
    #[error("interface {interface} does not exist")]
    NoInterface {
        /// The interface's name.
        interface: String,
    },
    /// The bridge's name belongs to an interface of another kind.
    #[error("interface {interface} exists and is not a {expected}; it is left alone")]
    WrongKind {
        /// The interface's name.
        interface: String,
        /// The kind it should have.
        expected: &'static str,
    },
    /// All names for a pod's interface are in use by other pods.
    #[error("no free interface name for pod {pod_uid}: {interface} belongs to pod {owner}")]
    NameTaken {
        /// The pod to be attached.
        pod_uid: String,
        /// The last name tried.
        interface: String,
        /// The pod that has it.
        owner: String,
    },
    /// An operation on an address failed.
    #[error("cannot {operation} address {address} on interface {interface}: {source}")]
    Address {
        /// A verb, such as "add".
        operation: &'static str,
        /// The address.
        address: IpAddr,
        /// The interface's name, with its namespace where that is not the node's own.
        interface: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// An operation on a route failed.
    #[error("cannot {operation} route to {destination} on interface {interface}: {source}")]
    Route {
        /// A verb, such as "add".
        operation: &'static str,
        /// The route's destination.
        destination: String,
        /// The interface's name, with its namespace where that is not the node's own.
        interface: String,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be read or written.
    #[error("cannot set {key} to {value}: {source}")]
    Sysctl {
        /// The setting's path below `/proc/sys`.
        key: String,
        /// The wanted value.
        value: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The programs of the short way between nodes are not taken.
    #[error("the kernel does not take the programs of the short way between nodes: {source}")]
    ShortWay {
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// A packet filter transaction failed; nothing of it was applied.
    #[error("cannot {operation} nftables table {table}: {source}")]
    Filter {
        /// A verb, such as "write".
        operation: &'static str,
        /// The table's name.
        table: String,
        /// The kernel's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pod was to get an address that is not of this node.
    #[error("address {address} of pod {pod_uid} is not in this node's pod CIDR {block}")]
    AddressOutside {
        /// The pod.
        pod_uid: String,
        /// The refused address.
        address: IpAddr,
        /// The node's block.
        block: Cidr,
    },
    /// The configuration asks for what this version cannot do.
    #[error("pod CIDR {0} is IPv6; pod networks of this version are IPv4")]
    Ipv6PodCidr(Cidr),
    /// The node's block must be part of the cluster's.
    #[error("pod CIDR {pods} is not inside cluster CIDR {cluster}")]
    PodCidrOutsideCluster {
        /// The node's block.
        pods: Cidr,
        /// The cluster's block.
        cluster: Cidr,
    },
    /// The node's address is not one that peers could reach.
    #[error(
        "the address {0} of this node is on none of its interfaces, so no other node's pods can \
         be reached"
    )]
    NodeAddress(IpAddr),
    /// The number of a VXLAN network has 24 bits, and 0 is none.
    #[error("VXLAN network {0} is not possible: it must be from 1 to 16777215")]
    Vni(u32),
    /// The UDP port of VXLAN cannot be 0.
    #[error("UDP port 0 is not possible for VXLAN")]
    VxlanPort,
    /// What is known of a peer does not allow to connect it.
    #[error(transparent)]
    Peer(#[from] PeerProblem),
    /// A pod's uid cannot be recorded on its interface.
    #[error("pod uid \"{0}\" must be 1 to 128 printable characters without spaces")]
    PodUid(String),
    /// A chosen interface name is not possible.
    #[error(transparent)]
    InterfaceName(#[from] InterfaceNameError),
    /// The pod CIDR has no room.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A connection from inside a namespace failed.
    #[error("cannot connect to {address} from network namespace {netns}: {source}")]
    Dial {
        /// Path or description of the namespace.
        netns: String,
        /// The address dialled.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A connection from inside a namespace was not made in time.
    #[error("no answer from {address} in network namespace {netns} within {limit:?}")]
    DialTimeout {
        /// Path or description of the namespace.
        netns: String,
        /// The address dialled.
        address: SocketAddr,
        /// How long was waited.
        limit: Duration,
    },
    /// The thread that removes interfaces has ended.
    #[error("cannot remove interface {interface}: the thread that removes them has ended")]
    RemoverStopped {
        /// The interface.
        interface: String,
    },
    /// Teardown went on past errors; these are all of them.
    #[error("teardown left something behind: {}", join(.0))]
    Teardown(Vec<NetError>),
}

impl NetError {
    /// Whether the kernel said that the thing is not there (any more).
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            Self::NoInterface { .. } => true,
            Self::Interface { source, .. } | Self::Address { source, .. } => matches!(
                source.raw_os_error(),
                Some(libc::ENODEV | libc::ENOENT | libc::EADDRNOTAVAIL | libc::ENXIO)
            ),
            Self::Route { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::ESRCH | libc::ENODEV))
            }
            _ => false,
        }
    }

    /// Whether the kernel said that what was asked makes no sense where it was asked.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Interface { source, .. }
            if source.raw_os_error() == Some(libc::EINVAL))
    }

    /// Whether the kernel said that the interface exists already.
    pub(crate) fn is_present(&self) -> bool {
        matches!(self, Self::Interface { source, .. }
            if source.raw_os_error() == Some(libc::EEXIST))
    }
}

fn join(errors: &[NetError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
