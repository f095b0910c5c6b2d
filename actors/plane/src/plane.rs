//! The control plane of one server, as one child of the node's tree.
//!
//! ```text
//! plane (rest-for-one)
//! ├── raft-group (one-for-all)     wal, watch, raft
//! ├── gateway
//! ├── events
//! └── leading (rest-for-one)       offices, tenure
//!     └── offices
//!         └── office-TERM (one-for-one)    on the leader only
//!             ├── controllers (one-for-one)    one child per core in `kabuki_reconcile`
//!             ├── scheduler
//!             ├── liveness
//!             └── membership
//! ```
//!
//! Rest-for-one: what stands on the state starts anew when the state did.

use crate::cluster::{
    Hearing, MemberTransport, Signs, SnapshotSender, StateDirectory, liveness_child,
    membership_child,
};
use crate::controller::controller_child;
use crate::events::EventSink;
use crate::gateway::{GatewayHandle, Others};
use crate::raft::{RaftConfig, RaftHandle};
use crate::raft_group::{RaftGroup, RaftGroupArgs};
use crate::scheduler::scheduler_child;
use crate::tenure::leading_child;
use crate::watch::WatchConfig;
use jiff::SignedDuration;
use kabuki_cluster::members::{MembersArgs, MembersHandle};
use kabuki_cluster::remote::Remote;
use kabuki_cluster::seal::{SealError, Sealer};
use kabuki_cluster::seams::Directory;
use kabuki_cluster::{Credentials, Dialer, Member};
use kabuki_kit::{Bundle, ChildSpec, Strategy, SupervisorSpec};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How this program names itself to others.
const PROGRAM: &str = concat!("kabuki/", env!("CARGO_PKG_VERSION"));

/// What a server's control plane is made of.
pub struct PlaneArgs {
    /// Where the node keeps everything.
    pub data_dir: PathBuf,
    /// Who the node is.
    pub member: Member,
    /// Its part in the consensus.
    pub raft: RaftConfig,
    /// Its certificate.
    pub credentials: Credentials,
    /// A number that no other start of this node had.
    pub boot: u64,
    /// How long a node may be silent; `None` is the default.
    pub node_grace: Option<SignedDuration>,
}

/// The control plane of one server.
pub struct Plane {
    args: RaftGroupArgs,
    group: RaftGroup,
    gateway: GatewayHandle,
    events: EventSink,
    directory: StateDirectory,
    members: MembersHandle,
    remote: Remote,
    signs: Signs,
    own_name: String,
    node_grace: Option<SignedDuration>,
}

impl Plane {
    /// A control plane that keeps its state under the data directory. Nothing runs before its
    /// children do.
    ///
    /// # Errors
    /// The node's key cannot be one.
    pub fn new(args: PlaneArgs) -> Result<Self, SealError> {
        let PlaneArgs {
            data_dir,
            member,
            raft,
            credentials,
            boot,
            node_grace,
        } = args;
        let transport = MemberTransport::default();
        let group_args = RaftGroupArgs {
            directory: state_dir(&data_dir),
            raft,
            watch: WatchConfig::default(),
            transport: Arc::new(transport.clone()),
            bundle: Bundle::new(),
        };
        let group = RaftGroup::new(&group_args);
        let directory = StateDirectory::new(group.raft.clone(), member.servers.clone());
        let shared: Arc<dyn Directory> = Arc::new(directory.clone());
        let remote = Remote::new(credentials.clone(), shared.clone(), PROGRAM);
        let signs = Signs::default();
        let ends = credentials.clone();
        let hearing = Hearing {
            raft: group.raft.clone(),
            directory: directory.clone(),
            signs: signs.clone(),
            remote: remote.clone(),
            certificate_ends_s: Arc::new(move || ends.certificate_ends().as_second()),
        };
        let sealer = Sealer::new(&member.name, boot, member.role, credentials.seal_key())?;
        let members = MembersHandle::new(MembersArgs {
            sealer,
            dial: Arc::new(Dialer::new(credentials.clone())),
            directory: shared.clone(),
            listener: Arc::new(hearing),
            bundle: group_args.bundle.clone(),
        });
        let snapshots = SnapshotSender::new(credentials, directory.clone(), group.raft.clone());
        transport.connect(
            group.raft.clone(),
            directory.clone(),
            members.clone(),
            Arc::new(snapshots),
        );
        let others = Others::new(Arc::new(remote.clone()), shared, signs.clone());
        let gateway = GatewayHandle::new(group.raft.clone(), group.watch.clone(), others);
        Ok(Self {
            args: group_args,
            group,
            gateway,
            events: EventSink::default(),
            directory,
            members,
            remote,
            signs,
            own_name: member.name,
            node_grace,
        })
    }

    /// The door to the state.
    pub fn gateway(&self) -> &GatewayHandle {
        &self.gateway
    }

    /// The consensus.
    pub fn raft(&self) -> &RaftHandle {
        &self.group.raft
    }

    /// The sessions with other members; their child is [`MembersHandle::child`].
    pub fn members(&self) -> &MembersHandle {
        &self.members
    }

    /// Who is who.
    pub fn directory(&self) -> &StateDirectory {
        &self.directory
    }

    /// Sessions with other nodes.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// What a supervisor starts.
    pub fn child(&self) -> ChildSpec {
        let (args, group) = (self.args.clone(), self.group.clone());
        let (gateway, events) = (self.gateway.clone(), self.events.clone());
        let office = self.office();
        let child = ChildSpec::supervisor("plane", move |_place| {
            SupervisorSpec::new(Strategy::RestForOne)
                .intensity(16, Duration::from_secs(30))
                .child(group.child(args.clone()))
                .child(events.child(&gateway))
                .child(leading_child(&group.raft, office.clone()))
        });
        // Opening a large state is slow, and nothing else can start before it.
        child.start_timeout(Duration::from_secs(600))
    }

    /// What this server runs while it leads.
    fn office(&self) -> crate::tenure::Office {
        let (gateway, events) = (self.gateway.clone(), self.events.clone());
        let (raft, directory) = (self.group.raft.clone(), self.directory.clone());
        let (signs, own_name, grace) = (self.signs.clone(), self.own_name.clone(), self.node_grace);
        Arc::new(move |term| {
            let gateway = gateway.in_term(term);
            let (of_controllers, events_of_controllers) = (gateway.clone(), events.clone());
            SupervisorSpec::new(Strategy::OneForOne)
                .intensity(16, Duration::from_secs(30))
                .child(ChildSpec::supervisor("controllers", move |_place| {
                    controllers(&of_controllers, &events_of_controllers)
                }))
                .child(scheduler_child(&gateway, &events))
                .child(liveness_child(&gateway, &signs, &own_name, grace))
                .child(membership_child(&gateway, &raft, &directory, &signs))
        })
    }
}

/// Where a server keeps its state.
pub fn state_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("state")
}

fn controllers(gateway: &GatewayHandle, events: &EventSink) -> SupervisorSpec {
    let spec = SupervisorSpec::new(Strategy::OneForOne)
        .intensity(32, Duration::from_secs(30))
        .backoff(Duration::from_millis(10), Duration::from_secs(10));
    kabuki_reconcile::all()
        .into_iter()
        .fold(spec, |spec, core| {
            spec.child(controller_child(core, gateway, events))
        })
}
